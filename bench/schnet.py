"""Step time of SchNet (128 × 6, 10 Å) against torch-geometric's.

A step is the forward pass, the backward pass and Adam's update on 32 molecules of QM9. ``ratio`` is
the reference's time over ours with the same batch, edges and distances. ``end_to_end`` includes
making batches from molecules whose edges are known. ``exact`` is ours without interpolated filters.
``matrix_products_alone_s`` is a lower bound: the floating-point operations of a step at the rate of
one matrix product on this machine. Run with `make bench NAME=schnet`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from _side_by_side import alternate, grown, peak_bytes, ratio
from wattlaw.workloads.make_counts import count
from wattlaw.workloads.molecules.graphs.batches import Molecules, batch_molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.schnet import FILTER_POINTS, SIZES, SchNet, SchNetQM9
from wattlaw.workloads.molecules.sources.qm9 import qm9

BATCH = 32
MOLECULES = 640
SIZE = SIZES["base"]


def main(rounds: int = 20, threads: int = 1) -> dict[str, Any]:
    """Return the ratios with their spread, peak memory, and the bound."""
    torch.set_num_threads(threads)
    data = molecules()
    batch = [data[k] for k in range(BATCH)]
    graph = batch_molecules(batch, SIZE.cutoff, FILTER_POINTS)
    exact = batch_molecules(batch, SIZE.cutoff, 0)
    took = alternate(
        {"reference": reference_step(graph), "ours": step(graph), "exact": step(exact)}, rounds
    )
    whole = alternate({"reference": reference_loop(data), "ours": loop(data)}, rounds)
    flop = count(SchNetQM9("base")).flop_per_step
    bound = flop / rate()
    return {
        **ratio(took["reference"], took["ours"]),
        "exact": ratio(took["reference"], took["exact"]),
        "end_to_end": ratio(whole["reference"], whole["ours"]),
        "threads": threads,
        "edges": 2 * len(graph.first),
        "peak_bytes": {way: peak_bytes(__file__, way) for way in ("reference", "ours")},
        "matrix_products_alone_s": round(bound, 4),
    }


def molecules() -> Molecules:
    table = qm9(MOLECULES)
    target = table.properties[:, 4] - table.properties[:, 4].mean()
    return Molecules(table.numbers, table.positions, table.atoms, target, SIZE.cutoff)


def rate() -> float:
    """Return the floating-point rate of a matrix product of the size of a filter, flop/s."""
    a, b = torch.randn(FILTER_POINTS, 128), torch.randn(128, 128)
    took = alternate({"product": lambda: a @ b}, 200)["product"].wall_s
    return 2 * FILTER_POINTS * 128 * 128 / sorted(took)[len(took) // 2]


def training(model: torch.nn.Module, run: Callable[[Any], Tensor]) -> Callable[[Any, Tensor], None]:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def train(inputs: Any, target: Tensor) -> None:
        optimiser.zero_grad()
        F.mse_loss(run(inputs), target).backward()
        optimiser.step()

    return train


def step(graph: Graph) -> Callable[[], None]:
    torch.manual_seed(0)
    model = SchNet(SIZE)
    train = training(model, model)
    return lambda: train(graph, graph.target)


def loop(data: Molecules) -> Callable[[], None]:
    torch.manual_seed(0)
    model = SchNet(SIZE)
    train = training(model, model)
    batches = forever(
        torch.utils.data.DataLoader(data, BATCH, shuffle=True, drop_last=True, collate_fn=collate)
    )

    def turn() -> None:
        graph = next(batches)
        train(graph, graph.target)

    return turn


def collate(samples: Any) -> Graph:
    return batch_molecules(samples, SIZE.cutoff, FILTER_POINTS)


def reference_model(edges: dict[str, Tensor]) -> torch.nn.Module:
    from torch_geometric.nn import SchNet as Reference

    torch.manual_seed(0)

    def interaction_graph(pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        return edges["index"], edges["away"]

    return Reference(128, 128, 6, 50, SIZE.cutoff, interaction_graph=interaction_graph)


def reference_step(graph: Graph) -> Callable[[], None]:
    index = torch.stack(
        [torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])]
    )
    edges = {"index": index, "away": torch.cat([graph.distance, graph.distance])}
    model = reference_model(edges)
    train = training(model, lambda g: model(g.numbers, g.positions, g.molecule).squeeze(1))
    return lambda: train(graph, graph.target)


def reference_loop(data: Molecules) -> Callable[[], None]:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader

    samples = []
    for m in (data[k] for k in range(len(data))):
        first, second = m.first.long(), m.second.long()
        index = torch.stack([torch.cat([second, first]), torch.cat([first, second])])
        away = torch.cat([m.distance, m.distance])
        samples.append(
            Data(z=m.numbers.long(), pos=m.positions, edge_index=index, away=away, y=m.target[None])
        )
    edges: dict[str, Tensor] = {}
    model = reference_model(edges)
    train = training(model, lambda g: model(g.z, g.pos, g.batch).squeeze(1))
    batches = forever(DataLoader(samples, BATCH, shuffle=True, drop_last=True))

    def turn() -> None:
        batch = next(batches)
        edges.update(index=batch.edge_index, away=batch.away)
        train(batch, batch.y)

    return turn


def forever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def peak(way: str) -> None:
    torch.set_num_threads(1)
    data = molecules()
    graph = batch_molecules([data[k] for k in range(BATCH)], SIZE.cutoff, FILTER_POINTS)
    # a small step first loads the libraries, so that only the memory of the step is counted
    small = batch_molecules([data[0]], SIZE.cutoff, 0)
    make = reference_step if way == "reference" else step
    make(small)()
    work = make(graph)
    print(grown(lambda: [work() for _ in range(3)]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        peak(sys.argv[2])
    else:
        print(main())
