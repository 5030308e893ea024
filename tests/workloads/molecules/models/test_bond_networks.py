"""Networks on bonds: NNConv and PNA equal torch-geometric's; bonds are found from a geometry."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.molecules.graphs.batches import Molecules
from wattlaw.workloads.molecules.graphs.bonds import BondedMolecules, batch_bonded
from wattlaw.workloads.molecules.graphs.molecular_graphs import degree_histogram
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.nnconv import NNConv, NNConvQM9, NNConvSize
from wattlaw.workloads.molecules.models.pna import AVERAGE_LOG, SIZES, PNALayer, PNAMolecules
from wattlaw.workloads.molecules.sources.qm9 import QM9Table, qm9, qm9_smiles
from wattlaw.workloads.molecules.sources.smiles import read_smiles
from wattlaw.workloads.molecules.sources.smiles_table import read_column


def bonded(table: QM9Table) -> BondedMolecules:
    return BondedMolecules(
        Molecules(table.numbers, table.positions, table.atoms, table.properties[:, 0], 100.0)
    )


def graph_of(count: int) -> Graph:
    data = bonded(qm9(count))
    graph = batch_bonded([data[k] for k in range(count)], 100.0)
    return dataclasses.replace(graph.with_features(graph.atoms.double(), graph.bonds.double()))


class Reference(nn.Module):
    """The QM9 example of torch-geometric, with its layers in our order."""

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
        edges = torch.stack(
            [torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])]
        )
        out = torch.relu(self.start(graph.atoms))
        hidden = out[None]
        for _ in range(3):
            messages = torch.relu(self.conv(out, edges, torch.cat([graph.bonds, graph.bonds])))
            out, hidden = self.gru(messages[None], hidden)
            out = out[0]
        return self.head(self.sum(out, graph.molecule)).squeeze(1)


def test_nnconv_equals_torch_geometric_with_the_same_weights():
    pytest.importorskip("torch_geometric")
    torch.manual_seed(0)
    graph = graph_of(4)
    theirs, ours = Reference(16, 24).double(), NNConv(NNConvSize(16, 24)).double()
    with torch.no_grad():
        for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
            assert mine.shape == other.shape, name
            mine.copy_(other)
    out, expected = ours(graph), theirs(graph)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    for result in (out, expected):
        (result - graph.target).square().mean().backward()
    for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, other.grad, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_bonds_found_from_the_geometry_give_atoms_their_usual_valence():
    data = bonded(qm9(128))
    valence = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}
    right = total = 0
    for molecule, features, bonds in (data[k] for k in range(len(data))):
        order = torch.tensor([0.0, 1.0, 2.0, 3.0, 1.5])[bonds.long()]
        found = torch.zeros(len(features))
        found.index_add_(0, molecule.first.long(), order).index_add_(
            0, molecule.second.long(), order
        )
        for z, bound in zip(molecule.numbers.tolist(), found.tolist(), strict=True):
            total += 1
            right += abs(bound - valence[z]) <= 0.5
    # bonds are estimated from distances, and QM9 has charged and strained molecules
    assert right / total > 0.95


def test_hydrogens_are_counted_at_the_atom_that_they_are_bonded_to():
    table = qm9(64)
    data = bonded(table)
    held = sum(float(data[k].features[:, 10].sum()) for k in range(64))
    assert held == int((table.numbers == 1).sum())


def test_hydrogens_implied_by_a_smiles_equal_those_of_the_geometry():
    count = 512
    texts, _ = qm9_smiles(count)
    table = qm9(count)
    ends = np.cumsum(table.atoms)
    right = 0
    for graph, end, size in zip(read_smiles(*texts), ends, table.atoms, strict=True):
        numbers = sorted(table.numbers[end - size : end].tolist())
        hydrogens = [1] * int(graph.hydrogens.sum())
        right += sorted(graph.numbers.tolist() + hydrogens) == numbers
    assert right == count


@pytest.mark.parametrize(
    ("text", "fault"), [("C1CC", "unclosed ring"), ("C(C", "extra open parentheses"), ("C)C", "extra close parentheses"),
                        ("C?C", "syntax error"), ("[Qqq]", "syntax error"), ("", "no atoms"),
                        ("CC(C)(C)(C)C", "greater than permitted"), ("*C", "unknown element")]
)  # fmt: skip
def test_an_invalid_smiles_is_refused_with_its_fault(text, fault):
    with pytest.raises(DataError, match=fault):
        read_smiles(text)


def test_a_table_in_the_layout_of_zinc_is_read_and_bad_rows_are_named_or_counted(tmp_path):
    path = tmp_path / "zinc.csv"
    path.write_text(
        "smiles,logP,qed\nc1ccccc1O,1.4,0.5\nCC(=O)[O-],nan,0.4\nC1CC,1.0,0.2\n[NH3+]CC(F)Cl,0.3,0.1\n"
    )
    with pytest.raises(DataError, match=r"zinc.csv:3: logP is 'nan'"):
        read_column(path, "logP")
    found = read_column(path, "logP", "skip")
    assert [len(graph.numbers) for graph in found.molecules] == [7, 5]
    assert (found.values.tolist(), found.skipped) == ([1.4, 0.3], 2)
    with pytest.raises(UnknownNameError, match="did you mean 'logP'"):
        read_column(path, "logp")


def test_pna_equals_torch_geometric_with_the_same_weights():
    geometric = pytest.importorskip("torch_geometric.nn")
    size = SIZES["tiny"]
    workload = PNAMolecules("tiny")
    data = workload.data("train")
    graph = workload.collate([data[k] for k in range(12)])
    torch.manual_seed(0)
    ours = PNALayer(size).double()
    degree = torch.tensor([3, 100, 180, 90, 30])
    theirs = geometric.PNAConv(
        20, 20, ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"], degree,
        edge_dim=10, towers=5, pre_layers=1, post_layers=1,
    ).double()  # fmt: skip
    theirs.aggr_module.avg_deg_log.fill_(AVERAGE_LOG)
    with torch.no_grad():
        for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
            assert mine.shape == other.shape, name
            mine.copy_(other)
    atoms = torch.randn(len(graph.numbers), 20, dtype=torch.float64)
    kinds = torch.randn(4, 10, dtype=torch.float64)
    edges = torch.stack(
        [torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])]
    )
    out = ours(atoms, kinds, graph)
    expected = theirs(atoms, edges, kinds[torch.cat([graph.bonds, graph.bonds])])
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    for result in (out, expected):
        result.square().sum().backward()
    for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, other.grad, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_mean_degree_is_that_of_qm9():
    found = degree_histogram(read_smiles(*qm9_smiles(2048)[0]))
    average = (found * np.log(np.arange(len(found)) + 1)).sum() / found.sum()
    assert average == pytest.approx(AVERAGE_LOG, rel=0.02)


def test_nnconv_trains_on_a_column_of_a_table_in_the_layout_of_zinc(tmp_path):
    path = tmp_path / "zinc.csv"
    path.write_text("smiles,logP\nC=O,1.0\nCC#N,2.0\nc1ccccc1,3.0\nCCS,0.5\nCCBr,0.1\n")
    workload = NNConvQM9("tiny", {"data": str(path), "target": "logP"})
    data = [
        workload.data(split)[k]
        for split in ("train", "valid", "test")
        for k in range(len(workload.data(split)))
    ]
    by_size = {tuple(sample.molecule.numbers.tolist()): sample for sample in data}
    assert by_size[(6, 8)].bonds.tolist() == [2]
    assert by_size[(6, 6, 7)].bonds.tolist() == [1, 3]
    assert by_size[(6,) * 6].bonds.tolist() == [4] * 6
    # the C of C=O is an sp2 carbon with two hydrogens
    assert by_size[(6, 8)].features[0].tolist() == [0, 1, 0, 0, 0, 6, 0, 0, 1, 0, 2]
    assert workload.notes == []
    graph = workload.collate(data)
    assert torch.isfinite(workload.loss(workload.model(), graph))
