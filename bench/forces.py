"""Step time of SchNet (128 × 6, 10 Å) with energies and forces against torch-geometric's.

A step is the forward pass, the forces, the backward pass through both and Adam's update on 32
molecules of QM9 with the same edges. The reference computes forces with autograd. ``ratio`` is the
reference's time over ours. Run with `make bench NAME=forces`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from _side_by_side import alternate, grown, peak_bytes, ratio
from schnet import BATCH, SIZE, molecules
from wattlaw.workloads.molecules.graphs.batches import batch_molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.force_fields import EnergyAndForces
from wattlaw.workloads.molecules.models.schnet import SchNet


def main(rounds: int = 12, threads: int = 1) -> dict[str, Any]:
    """Return the ratio with its spread, and peak memory."""
    torch.set_num_threads(threads)
    graph = batch_of(BATCH)
    took = alternate({"reference": reference_step(graph), "ours": step(graph)}, rounds)
    return {
        **ratio(took["reference"], took["ours"]),
        "threads": threads,
        "edges": 2 * len(graph.first),
        "peak_bytes": {way: peak_bytes(__file__, way) for way in ("reference", "ours")},
    }


def batch_of(count: int) -> Graph:
    data = molecules()
    graph = batch_molecules([data[k] for k in range(count)], SIZE.cutoff)
    forces = torch.randn(graph.positions.shape, generator=torch.Generator().manual_seed(0))
    return graph.with_features(forces, graph.bonds)


def training(
    model: torch.nn.Module, run: Callable[[Graph], tuple[Tensor, Tensor]], graph: Graph
) -> Callable[[], None]:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def train() -> None:
        optimiser.zero_grad()
        energy, forces = run(graph)
        loss = (
            0.05 * (energy - graph.target).square().mean()
            + 0.95 * (forces - graph.atoms).square().mean()
        )
        loss.backward()
        optimiser.step()

    return train


def step(graph: Graph) -> Callable[[], None]:
    torch.manual_seed(0)
    model = EnergyAndForces(SchNet(SIZE))
    return training(model, model, graph)


def reference_step(graph: Graph) -> Callable[[], None]:
    from torch_geometric.nn import SchNet as Reference

    index = torch.stack(
        [torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])]
    )
    away: dict[str, Tensor] = {}
    torch.manual_seed(0)
    model = Reference(
        128, 128, 6, 50, SIZE.cutoff, interaction_graph=lambda pos, batch: (index, away["now"])
    )

    def run(graph: Graph) -> tuple[Tensor, Tensor]:
        places = graph.positions.detach().requires_grad_()
        away["now"] = (places[index[0]] - places[index[1]]).norm(dim=1)
        energy = model(graph.numbers, places, graph.molecule).squeeze(1)
        (slope,) = torch.autograd.grad(energy.sum(), places, create_graph=True)
        return energy, -slope

    return training(model, run, graph)


def peak(way: str) -> None:
    torch.set_num_threads(1)
    make = reference_step if way == "reference" else step
    make(batch_of(1))()
    work = make(batch_of(BATCH))
    print(grown(lambda: [work() for _ in range(2)]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        peak(sys.argv[2])
    else:
        print(main())
