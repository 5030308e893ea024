"""NNConv: messages by a matrix that a network makes of each bond (arXiv 1704.01212).

Molecules are pooled by Set2Set (Vinyals et al., arXiv 1511.06391). The matrix of a bond is linear
in the network's hidden layer. So neighbours are summed first, as one matrix product per atom, and
the large layer is applied to atoms rather than to bonds: no 64 × 64 matrix of a bond is ever
formed.

Shapes: A atoms, B molecules, P pairs, C hidden channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.workloads.base import Options, Split
from wattlaw.workloads.data_options import skipped_records
from wattlaw.workloads.molecules.graphs.bonds import (
    ATOM_FEATURES,
    BOND_FEATURES,
    BondedMolecule,
    BondedMolecules,
    batch_bonded,
)
from wattlaw.workloads.molecules.graphs.molecular_graphs import FeaturisedGraphs
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.graphs.products import Linear, linear
from wattlaw.workloads.molecules.graphs.slots import uncompiled
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression
from wattlaw.workloads.molecules.sources.smiles_table import is_table, read_column
from wattlaw.workloads.molecules.sources.targets import split_indices, standardise

VERSION = 3
NAMES = {"nnconv": "NNConvQM9"}

STEPS = 3
"""Rounds of message passing, and of Set2Set."""


class NNConvSize(NamedTuple):
    """Channels of atoms, channels of the bond network's hidden layer, and how many molecules of QM9
    it is trained on (None: all).
    """

    hidden_channels: int
    bond_channels: int
    molecules: int | None = None


SIZES = {"tiny": NNConvSize(16, 32, 1024), "base": NNConvSize(64, 128)}


class NNConvMessages(nn.Module):
    """The mean over neighbours of features times the bond's matrix, plus a root weight."""

    def __init__(self, size: NNConvSize) -> None:
        super().__init__()
        channels = size.hidden_channels
        self.hidden_channels = channels
        self.bias = nn.Parameter(torch.zeros(channels))
        self.bond_in = Linear(BOND_FEATURES, size.bond_channels)
        self.bond_out = Linear(size.bond_channels, channels * channels)
        self.own = Linear(channels, channels, bias=False)

    def bonds(self, graph: Graph) -> Tensor:
        """Return the hidden layer of the bond in each slot, (2P, bond_channels)."""
        assert graph.slots is not None, "batch the molecules with slots"
        return F.relu(self.bond_in(graph.bonds)).index_select(0, graph.slots.pair)

    def forward(self, atoms: Tensor, bonds: Tensor, graph: Graph) -> Tensor:
        """Return (A, C) from atoms (A, C) and the bonds of all slots."""
        C = self.hidden_channels
        mixed, means, order = neighbour_means(atoms, bonds, graph)
        matrix = self.bond_out.weight.view(C, C, -1).permute(2, 0, 1).reshape(-1, C)
        messages = linear(mixed, matrix.T) + linear(means, self.bond_out.bias.view(C, C).T)
        own: Tensor = self.own(atoms) + self.bias
        return own + torch.zeros_like(own).index_copy(0, order, messages.to(own.dtype))


@uncompiled
def neighbour_means(atoms: Tensor, bonds: Tensor, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Return means over the neighbours of each atom that has any, and the order of the atoms.

    The means are of bond ⊗ neighbour, (A', bond_channels·C), and of neighbours, (A', C).
    """
    slots, channels = graph.slots, atoms.shape[1]
    assert slots is not None, "batch the molecules with slots"
    starts = torch.cat([graph.second, graph.first])[slots.arriving]
    centres = torch.cat([graph.first, graph.second])[slots.arriving]
    near = atoms.index_select(0, starts)
    mixed, means, order = [], [], []
    for group in slots.groups:
        around = near[group.slots].view(group.atoms, group.neighbours, channels)
        with_bond = bonds[group.slots].view(group.atoms, group.neighbours, -1)
        mixed.append(torch.bmm(with_bond.transpose(1, 2), around).flatten(1) / group.neighbours)
        means.append(around.mean(1))
        order.append(centres[group.slots][:: group.neighbours])
    return torch.cat(mixed), torch.cat(means), torch.cat(order)


class Set2Set(nn.Module):
    """Pools the atoms of a molecule by attention, in STEPS rounds: (A, C) -> (B, 2·C)."""

    def __init__(self, hidden_channels: int) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.memory = nn.LSTMCell(2 * hidden_channels, hidden_channels)

    def forward(self, atoms: Tensor, graph: Graph) -> Tensor:
        """Return the query and the weighted sum of the last round."""
        shape = (len(graph), self.hidden_channels)
        padded, is_atom = padded_atoms(atoms, graph)
        out = atoms.new_zeros(len(graph), 2 * self.hidden_channels)
        state = (atoms.new_zeros(shape), atoms.new_zeros(shape))
        for _ in range(STEPS):
            state = self.memory(out, state)
            query = state[0]
            scores = torch.einsum("bnd,bd->bn", padded, query)
            weights = scores.masked_fill(~is_atom, -torch.inf).softmax(1)
            out = torch.cat([query, torch.einsum("bn,bnd->bd", weights, padded)], 1)
        return out


def padded_atoms(atoms: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the atoms of each molecule, padded, (B, N, C), and which of them are atoms, (B, N)."""
    sizes = graph.starts.diff()
    place = torch.arange(graph.largest, device=atoms.device)
    is_atom = place < sizes[:, None]
    index = torch.where(is_atom, graph.starts[:-1, None] + place, 0)
    return atoms[index], is_atom


class NNConv(nn.Module):
    """The network of the MPNN paper, as in torch-geometric's example: one value per molecule."""

    def __init__(self, size: NNConvSize) -> None:
        super().__init__()
        channels = size.hidden_channels
        self.start = Linear(ATOM_FEATURES, channels)
        self.messages = NNConvMessages(size)
        # torch-geometric's GRU and LSTM run over a sequence; cells have the same weights
        self.memory = nn.GRUCell(channels, channels)
        self.sum = Set2Set(channels)
        self.head_in = Linear(2 * channels, channels)
        self.head_out = Linear(channels, 1)

    def forward(self, graph: Graph) -> Tensor:
        """Return one value per molecule, (B,)."""
        atoms = F.relu(self.start(graph.atoms))
        bonds = self.messages.bonds(graph)
        for _ in range(STEPS):
            atoms = self.memory(F.relu(self.messages(atoms, bonds, graph)), atoms)
        out: Tensor = self.head_out(F.relu(self.head_in(self.sum(atoms, graph))))
        return out.squeeze(1)


class NNConvQM9(QM9Regression):
    """NNConv on a property of QM9's molecules, in which all atoms are neighbours.

    ``data`` may also be a table of SMILES such as ZINC's, with a column ``target``; then only
    bonded atoms are neighbours.
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 32, "base": 32}
    cutoff = 100.0
    is_sharded_whole = True

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]
        self.molecules = self.size.molecules

    def model(self) -> nn.Module:
        return NNConv(self.size)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        # one layer, which every round uses
        assert isinstance(model, NNConv)
        return [model.messages]

    def data(self, split: Split) -> Dataset[BondedMolecule]:
        if self.data_options.path is not None and is_table(self.data_options.path):
            return self._of_table(self.data_options.path, split)
        part = self.part(split, with_bonds=True)
        return BondedMolecules(part.molecules, part.bonds)

    def _of_table(self, path: Path, split: Split) -> Dataset[BondedMolecule]:
        column = str(self.chosen["target"])
        found = read_column(path, column, self.data_options.on_bad)
        size = len(found.molecules)
        skipped = skipped_records(path, found.skipped, size, found.first_fault)
        self.notes = [*skipped, *found.notes]
        parts = split_indices(size)
        self.targets = standardise(found.values, parts["train"], column)
        chosen = parts[split]
        return FeaturisedGraphs([found.molecules[k] for k in chosen], self.targets.values[chosen])

    def collate(self, samples: Sequence[BondedMolecule]) -> Graph:
        return batch_bonded(samples, self.cutoff)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        # so small a network tolerates, and needs, longer steps
        return torch.optim.Adam(parameters, lr=1e-2 if self.preset == "tiny" else 1e-3)
