"""Step time of DimeNet++ and DimeNet against torch-geometric's.

A step is the forward pass, the backward pass and Adam's update on 32 molecules of QM9. Both
implementations get the same batch and its edges up to 5 Å. torch-geometric also gets the triplets,
which ours does not need. The reference's basis is built with sympy, as published. DimeNet takes
seconds per step and runs a third of the rounds. ``ratio`` is the reference's time over ours.
Run with `make bench NAME=dimenet`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from _side_by_side import alternate, grown, peak_bytes, ratio
from schnet import training
from wattlaw.workloads.molecules.graphs.batches import Molecules, batch_molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.dimenet import DimeNet, DimeNetPlusQM9, DimeNetQM9
from wattlaw.workloads.molecules.sources.qm9 import qm9

BATCH = 32


def main(rounds: int = 8, threads: int = 1) -> dict[str, Any]:
    """Return the ratios with their spread, and peak memory."""
    torch.set_num_threads(threads)
    graph = batch_of(BATCH)
    found: dict[str, Any] = {"threads": threads, "messages": 2 * len(graph.first)}
    found["triplets"] = len(triplets(graph)[0])
    for plus, times in ((True, rounds), (False, max(2, rounds // 3))):
        took = alternate(
            {"reference": reference_step(graph, plus), "ours": step(graph, plus)}, times, warmup=1
        )
        result = ratio(took["reference"], took["ours"])
        found |= result if plus else {"dimenet": result}
    found["peak_bytes"] = {way: peak_bytes(__file__, way) for way in ("reference", "ours")}
    return found


def batch_of(count: int) -> Graph:
    table = qm9(count)
    target = table.properties[:, 4] - table.properties[:, 4].mean()
    data = Molecules(table.numbers, table.positions, table.atoms, target, 5.0)
    return batch_molecules([data[k] for k in range(count)], 5.0, slots=True)


def step(graph: Graph, plus: bool) -> Callable[[], None]:
    torch.manual_seed(0)
    workload = DimeNetPlusQM9() if plus else DimeNetQM9()
    model = DimeNet(workload.size, plus)
    train = training(model, model)
    return lambda: train(graph, graph.target)


def triplets(graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the indices of the messages k → j and j → i of every triplet."""
    ends = torch.cat([graph.first, graph.second])
    counts = torch.bincount(ends, minlength=len(graph.numbers))
    starts = torch.cat([graph.second, graph.first])
    into = counts[starts]
    leaving = torch.arange(len(ends)).repeat_interleave(into)
    offset = torch.arange(len(leaving)) - (into.cumsum(0) - into).repeat_interleave(into)
    arriving = graph.rows[graph.row_starts[starts[leaving]] + offset]
    keep = starts[arriving] != ends[leaving]
    return arriving[keep], leaving[keep]


def reference_step(graph: Graph, plus: bool) -> Callable[[], None]:
    import torch_geometric.nn.models.dimenet as module

    ends, starts = torch.cat([graph.first, graph.second]), torch.cat([graph.second, graph.first])
    arriving, leaving = triplets(graph)
    known = (ends, starts, ends[leaving], starts[leaving], starts[arriving], arriving, leaving)
    # both functions need a compiled package that no index has, so return their results
    module.radius_graph = lambda *args, **kwargs: torch.stack([starts, ends])
    module.triplets = lambda edge_index, num_nodes: known
    torch.manual_seed(0)
    if plus:
        model = module.DimeNetPlusPlus(128, 1, 4, 64, 8, 256, 7, 6)
    else:
        model = module.DimeNet(128, 1, 6, 8, 7, 6)
    train = training(model, lambda g: model(g.numbers, g.positions, g.molecule).squeeze(1))
    return lambda: train(graph, graph.target)


def peak(way: str) -> None:
    torch.set_num_threads(1)
    make = reference_step if way == "reference" else step
    make(batch_of(1), True)()
    work = make(batch_of(BATCH), True)
    print(grown(lambda: [work() for _ in range(2)]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        peak(sys.argv[2])
    else:
        print(main())
