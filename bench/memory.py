"""Memory of a training step, ours against the reference's, with the same model and batch.

``kept_bytes`` is the memory that autograd keeps until the backward pass: activations, and the
parameters that it needs, each storage once. ``peak_bytes`` is the growth of a fresh process over
two steps, after a small step has loaded the libraries; it depends on the allocator. Each ``ratio``
is ours over the reference's, and the overall ``ratio`` is the largest.
Run with `make bench NAME=memory`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dimenet
import forces
import library_models
import schnet
from _side_by_side import grown, printed
from wattlaw.workloads.molecules.graphs.batches import Molecules, batch_molecules
from wattlaw.workloads.molecules.graphs.bonds import BondedMolecules, batch_bonded
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.nnconv import SIZES as NNCONV
from wattlaw.workloads.molecules.models.nnconv import NNConv
from wattlaw.workloads.molecules.models.pna import PNA, PNAMolecules
from wattlaw.workloads.molecules.models.pna import SIZES as PNAS
from wattlaw.workloads.molecules.sources.qm9 import qm9

Steps = dict[str, Callable[[], None]]
BATCH = 32


def main() -> dict[str, Any]:
    """Return bytes and ratios of every case, and the largest ratio."""
    found: dict[str, Any] = {}
    for name in CASES:
        ours = printed(__file__, "peak", name, "ours").split()
        theirs = printed(__file__, "peak", name, "reference").split()
        for index, measure in enumerate(("kept", "peak")):
            pair = {"ours": int(ours[index]), "reference": int(theirs[index])}
            share = round(pair["ours"] / pair["reference"], 2)
            found[f"{name} {measure}"] = {**pair, "ratio": share}
    return {"ratio": max(each["ratio"] for each in found.values()), **found}


def for_schnet(count: int) -> Steps:
    data = schnet.molecules()
    graph = batch_molecules(
        [data[k] for k in range(count)], schnet.SIZE.cutoff, schnet.FILTER_POINTS
    )
    return {"ours": schnet.step(graph), "reference": schnet.reference_step(graph)}


def for_forces(count: int) -> Steps:
    graph = forces.batch_of(count)
    return {"ours": forces.step(graph), "reference": forces.reference_step(graph)}


def for_dimenet(count: int) -> Steps:
    graph = dimenet.batch_of(count)
    return {"ours": dimenet.step(graph, True), "reference": dimenet.reference_step(graph, True)}


def for_nnconv(count: int) -> Steps:
    table = qm9(count)
    data = BondedMolecules(
        Molecules(table.numbers, table.positions, table.atoms, table.properties[:, 0], 100.0)
    )
    graph = batch_bonded([data[k] for k in range(count)], 100.0)
    ours, theirs = NNConv(NNCONV["base"]), PlainNNConv(64, 128)
    return {"ours": both(ours, graph), "reference": both(theirs, graph)}


def for_pna(count: int) -> Steps:
    workload = PNAMolecules("base")
    data = workload.data("train")
    graph = workload.collate([data[k] for k in range(count)])
    return {"ours": both(PNA(PNAS["base"]), graph), "reference": both(PlainPNA(), graph)}


def both(model: nn.Module, graph: Graph) -> Callable[[], None]:
    train = schnet.training(model, model)
    return lambda: train(graph, graph.target)


class PlainNNConv(nn.Module):
    """The QM9 example of torch-geometric."""

    def __init__(self, width: int, bond: int) -> None:
        super().__init__()
        from torch_geometric.nn import NNConv as Layer
        from torch_geometric.nn import Set2Set

        self.start = nn.Linear(11, width)
        network = nn.Sequential(nn.Linear(5, bond), nn.ReLU(), nn.Linear(bond, width * width))
        self.conv = Layer(width, width, network, aggr="mean")
        self.gru = nn.GRU(width, width)
        self.sum = Set2Set(width, processing_steps=3)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, graph: Graph) -> Tensor:
        out = torch.relu(self.start(graph.atoms))
        hidden = out[None]
        for _ in range(3):
            bonds = torch.cat([graph.bonds, graph.bonds])
            messages = torch.relu(self.conv(out, edges(graph), bonds))
            out, hidden = self.gru(messages[None], hidden)
            out = out[0]
        return self.head(self.sum(out, graph.molecule)).squeeze(1)


class PlainPNA(nn.Module):
    """The ZINC example of torch-geometric, with our numbers of atom and bond types."""

    def __init__(self) -> None:
        super().__init__()
        from torch_geometric.nn import BatchNorm, PNAConv

        size = PNAS["base"]
        ways = (["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"])
        degree = torch.tensor([3, 100, 180, 90, 30])
        self.atoms, self.bonds = nn.Embedding(128, size.width), nn.Embedding(4, size.bond)
        self.convs = nn.ModuleList(
            PNAConv(size.width, size.width, *ways, degree, size.bond, size.towers)
            for _ in range(size.layers)
        )
        self.norms = nn.ModuleList(BatchNorm(size.width) for _ in range(size.layers))
        self.head = nn.Sequential(
            nn.Linear(75, 50), nn.ReLU(), nn.Linear(50, 25), nn.ReLU(), nn.Linear(25, 1)
        )

    def forward(self, graph: Graph) -> Tensor:
        from torch_geometric.nn import global_add_pool

        index, bonds = edges(graph), self.bonds(torch.cat([graph.bonds, graph.bonds]))
        atoms = self.atoms(graph.numbers)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            atoms = F.relu(norm(conv(atoms, index, bonds)))
        return self.head(global_add_pool(atoms, graph.molecule)).squeeze(1)


def edges(graph: Graph) -> Tensor:
    return torch.stack(
        [torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])]
    )


def size(count: int) -> int:
    return max(1, count * library_models.BATCH // BATCH)


CASES: dict[str, Callable[[int], Steps]] = {
    "schnet": for_schnet,
    "schnet-forces": for_forces,
    "dimenet++": for_dimenet,
    "nnconv": for_nnconv,
    "pna": for_pna,
    "resnet50-v1.5": lambda count: library_models.resnet(size(count)),
    "bert": lambda count: library_models.bert(size(count)),
    "gpt2": lambda count: library_models.gpt2(size(count)),
}
"""Both implementations of a step on a number of molecules, or a quarter as many other samples."""


def kept(work: Callable[[], None]) -> int:
    """Return the bytes that autograd keeps for the backward pass."""
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(s.nbytes() for s in storages.values())


def peak(name: str, way: str) -> None:
    torch.set_num_threads(1)
    CASES[name](2)[way]()
    work = CASES[name](BATCH)[way]
    most = grown(lambda: [work() for _ in range(2)])
    print(kept(work), most)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        peak(sys.argv[2], sys.argv[3])
    else:
        print(main())
