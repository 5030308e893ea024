"""NNConv: messages whose matrix is made by a network from the bond (Gilmer et al., arXiv 1704.01212), with
Set2Set (Vinyals et al., arXiv 1511.06391) as the sum over a molecule.

The matrix of a bond is linear in what the network's hidden layer makes of it. So neighbours are summed first,
as one matrix product an atom, and the large layer is applied to atoms rather than to bonds: no bond's
64 × 64 matrix is ever formed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.workloads.base import Split
from wattlaw.workloads.data_options import skipped_records
from wattlaw.workloads.molecules.graphs.bonds import (
    ATOM_FEATURES,
    BOND_FEATURES,
    Bonded,
    BondedMolecules,
    batch_bonded,
)
from wattlaw.workloads.molecules.graphs.formulas import BondedFormulas
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.graphs.products import Linear, linear
from wattlaw.workloads.molecules.graphs.slots import uncompiled
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression
from wattlaw.workloads.molecules.sources.smiles_table import is_table, read_table
from wattlaw.workloads.molecules.sources.targets import splits, standardised

VERSION = 2
NAMES = {"nnconv": "NNConvQM9"}

STEPS = 3
"""Rounds of messages, and of Set2Set."""


class Size(NamedTuple):
    """Width of atoms, of the bond network's hidden layer, and how many molecules of QM9 (None: all)."""

    width: int
    bond: int
    molecules: int | None = None


SIZES = {"tiny": Size(16, 32, 1024), "base": Size(64, 128)}


class Messages(nn.Module):
    """The mean over neighbours of their features times the bond's matrix, plus the atom's own times another."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.width = size.width
        self.bias = nn.Parameter(torch.zeros(size.width))
        self.bond_in = Linear(BOND_FEATURES, size.bond)
        self.bond_out = Linear(size.bond, size.width * size.width)
        self.own = Linear(size.width, size.width, bias=False)

    def bonds(self, graph: Graph) -> Tensor:
        """Return what the hidden layer makes of the bond in each slot, (2P, bond)."""
        assert graph.slots is not None, "batch the molecules with slots"
        return F.relu(self.bond_in(graph.bonds)).index_select(0, graph.slots.pair)

    def forward(self, atoms: Tensor, bonds: Tensor, graph: Graph) -> Tensor:
        """Return (A, width) from atoms (A, width) and the bonds of all slots."""
        width = self.width
        mixed, sums, order = neighbours_sums(atoms, bonds, graph)
        matrix = self.bond_out.weight.view(width, width, -1).permute(2, 0, 1).reshape(-1, width)
        heard = linear(mixed, matrix.T) + linear(sums, self.bond_out.bias.view(width, width).T)
        own: Tensor = self.own(atoms) + self.bias
        return own + torch.zeros_like(own).index_copy(0, order, heard.to(own.dtype))


@uncompiled
def neighbours_sums(atoms: Tensor, bonds: Tensor, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Return means over the neighbours of each atom that has some, and the atoms in their order (A',).

    The means are of bond ⊗ neighbour, (A', bond·width), and of the neighbours, (A', width).
    """
    slots, width = graph.slots, atoms.shape[1]
    assert slots is not None, "batch the molecules with slots"
    starts = torch.cat([graph.second, graph.first])[slots.arriving]
    centres = torch.cat([graph.first, graph.second])[slots.arriving]
    near = atoms.index_select(0, starts)
    mixed, sums, order = [], [], []
    for group in slots.groups:
        around = near[group.slots].view(group.atoms, group.neighbours, width)
        with_bond = bonds[group.slots].view(group.atoms, group.neighbours, -1)
        mixed.append(torch.bmm(with_bond.transpose(1, 2), around).flatten(1) / group.neighbours)
        sums.append(around.mean(1))
        order.append(centres[group.slots][:: group.neighbours])
    return torch.cat(mixed), torch.cat(sums), torch.cat(order)


class Set2Set(nn.Module):
    """A sum over a molecule that looks at its atoms several times: (A, width) -> (B, 2·width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.memory = nn.LSTMCell(2 * width, width)

    def forward(self, atoms: Tensor, graph: Graph) -> Tensor:
        """Return the query and the weighted sum of the last round."""
        molecules = len(graph)
        padded, real = padded_atoms(atoms, graph)
        found = atoms.new_zeros(molecules, 2 * self.width)
        state = (atoms.new_zeros(molecules, self.width), atoms.new_zeros(molecules, self.width))
        for _ in range(STEPS):
            state = self.memory(found, state)
            query = state[0]
            weights = (
                torch.einsum("bnd,bd->bn", padded, query).masked_fill(~real, -torch.inf).softmax(1)
            )
            found = torch.cat([query, torch.einsum("bn,bnd->bd", weights, padded)], 1)
        return found


def padded_atoms(atoms: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the atoms of each molecule as a row, (B, N, width), and which of them are real, (B, N)."""
    sizes = graph.starts.diff()
    place = torch.arange(graph.largest, device=atoms.device)
    real = place < sizes[:, None]
    index = torch.where(real, graph.starts[:-1, None] + place, 0)
    return atoms[index], real


class NNConv(nn.Module):
    """The network of the MPNN paper as torch-geometric's example has it: one number a molecule."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.start = Linear(ATOM_FEATURES, size.width)
        self.messages = Messages(size)
        self.memory = nn.GRUCell(size.width, size.width)
        # torch-geometric's are layers over a sequence; two cells have the same weights
        self.sum = Set2Set(size.width)
        self.head_in = Linear(2 * size.width, size.width)
        self.head_out = Linear(size.width, 1)

    def forward(self, graph: Graph) -> Tensor:
        """Return one number a molecule, (B,)."""
        atoms = F.relu(self.start(graph.atoms))
        bonds = self.messages.bonds(graph)
        for _ in range(STEPS):
            atoms = self.memory(F.relu(self.messages(atoms, bonds, graph)), atoms)
        out: Tensor = self.head_out(F.relu(self.head_in(self.sum(atoms, graph))))
        return out.squeeze(1)


class NNConvQM9(QM9Regression):
    """NNConv learns a property of QM9's molecules, every atom a neighbour of every other.

    ``data`` may also be a table such as ZINC's, whose column ``target`` is learnt: neighbours are then bonds alone.
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 32, "base": 32}
    cutoff = 100.0
    is_sharded_whole = True

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]
        self.molecules = self.size.molecules

    def model(self) -> nn.Module:
        return NNConv(self.size)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        # one layer, used in every round
        assert isinstance(model, NNConv)
        return [model.messages]

    def data(self, split: Split) -> Dataset[Bonded]:
        if self.data_options.path is not None and is_table(self.data_options.path):
            return self._of_table(self.data_options.path, split)
        part = self.part(split, with_bonds=True)
        return BondedMolecules(part.molecules, part.bonds)

    def _of_table(self, path: Path, split: Split) -> Dataset[Bonded]:
        found = read_table(path, str(self.chosen["target"]), self.data_options.on_bad)
        self.notes = skipped_records(path, found.skipped, len(found.formulas), found.first_fault)
        chosen = splits(len(found.formulas))
        self.targets = standardised(found.values, chosen["train"], str(self.chosen["target"]))
        return BondedFormulas(
            [found.formulas[k] for k in chosen[split]], self.targets.values[chosen[split]]
        )

    def collate(self, samples: Sequence[Bonded]) -> Graph:
        return batch_bonded(samples, self.cutoff)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        # so small a network takes, and needs, longer steps
        return torch.optim.Adam(parameters, lr=1e-2 if self.preset == "tiny" else 1e-3)
