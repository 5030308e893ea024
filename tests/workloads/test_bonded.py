"""Networks on bonds: NNConv equals torch-geometric's layers; bonds read off a geometry are chemistry."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from wattlaw.workloads.molecules.bonds import BondedMolecules, batch_bonded
from wattlaw.workloads.molecules.data import Molecules
from wattlaw.workloads.molecules.nnconv import NNConv, Size
from wattlaw.workloads.molecules.pairs import Graph
from wattlaw.workloads.molecules.qm9 import Table, qm9


def bonded(table: Table) -> BondedMolecules:
    return BondedMolecules(Molecules(table.numbers, table.positions, table.atoms, table.properties[:, 0], 100.0))


def graph_of(count: int) -> Graph:
    data = bonded(qm9(count))
    graph = batch_bonded([data[k] for k in range(count)], 100.0)
    return dataclasses.replace(graph.with_features(graph.atoms.double(), graph.bonds.double()))


class Reference(nn.Module):
    """torch-geometric's example for QM9, its layers in the order of ours."""

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

    def forward(self, graph: Graph) -> torch.Tensor:
        edges = torch.stack([torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])])
        out = torch.relu(self.start(graph.atoms))
        hidden = out[None]
        for _ in range(3):
            heard = torch.relu(self.conv(out, edges, torch.cat([graph.bonds, graph.bonds])))
            out, hidden = self.gru(heard[None], hidden)
            out = out[0]
        return self.head(self.sum(out, graph.molecule)).squeeze(1)


def test_nnconv_equals_torch_geometric_with_the_same_weights():
    pytest.importorskip("torch_geometric")
    torch.manual_seed(0)
    graph = graph_of(4)
    theirs, ours = Reference(16, 24).double(), NNConv(Size(16, 24)).double()
    with torch.no_grad():
        for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
            assert mine.shape == other.shape, name
            mine.copy_(other)
    out, expected = ours(graph), theirs(graph)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    for result in (out, expected):
        (result - graph.target).square().mean().backward()
    for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def test_bonds_read_off_the_geometry_give_atoms_their_usual_valence():
    data = bonded(qm9(128))
    valence = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}
    right = total = 0
    for molecule, features, bonds in (data[k] for k in range(len(data))):
        order = torch.tensor([0.0, 1.0, 2.0, 3.0, 1.5])[bonds.long()]
        found = torch.zeros(len(features))
        found.index_add_(0, molecule.first.long(), order).index_add_(0, molecule.second.long(), order)
        for z, bound in zip(molecule.numbers.tolist(), found.tolist(), strict=True):
            total += 1
            right += abs(bound - valence[z]) <= 0.5
    # an estimate from distances alone; charged and strained molecules are in QM9
    assert right / total > 0.95


def test_hydrogens_are_counted_at_the_atom_that_holds_them():
    table = qm9(64)
    data = bonded(table)
    held = sum(float(data[k].features[:, 10].sum()) for k in range(64))
    assert held == int((table.numbers == 1).sum())
