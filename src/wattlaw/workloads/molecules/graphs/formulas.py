"""Molecules as graphs of atoms and bonds, without places: QM9's own SMILES, or a table such as ZINC's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.workloads.molecules.graphs.batches import Joined, Molecule, Picked, rows_of, taken
from wattlaw.workloads.molecules.graphs.bonds import (
    AROMATIC,
    Bonded,
    JoinedBonds,
    atom_features,
    bond_kinds,
)
from wattlaw.workloads.molecules.sources.elements import NUMBERS, SYMBOLS
from wattlaw.workloads.molecules.sources.smiles import ORDER_CODES, Atom, Formula

Array = np.ndarray[Any, Any]

ATOM_KINDS = ("C", "N", "O", "F", "S", "Cl", "Br", "I", "P", "B", "H")
"""Elements by their number in a graph; aromatic ones follow from len(ATOM_KINDS) on, others are OTHER."""

OTHER = 2 * len(ATOM_KINDS)
KINDS = OTHER + 1

HYDROGEN = 1
_ORDERS = {code: order for order, code in reversed(ORDER_CODES.items())}


class Formulas(Dataset[Bonded]):
    """Molecules of heavy atoms with a target (M,) each. Pairs are bonds, so every distance is 1 bond."""

    def __init__(self, formulas: Sequence[Formula], target: Array) -> None:
        self.target = torch.from_numpy(target.astype(np.float32))
        self.kinds = torch.tensor(
            [kind_of(f, k) for f in formulas for k in range(len(f.atoms))], dtype=torch.uint8
        )
        ends = np.array(
            [sorted((a, b)) for f in formulas for a, b, _ in f.bonds], np.int16
        ).reshape(-1, 2)
        self.first, self.second = (
            torch.from_numpy(ends[:, 0].copy()),
            torch.from_numpy(ends[:, 1].copy()),
        )
        self.bonds = torch.tensor(
            [ORDER_CODES[o] for f in formulas for *_, o in f.bonds], dtype=torch.uint8
        )
        self.features = torch.empty(len(self.kinds), 0)
        self.steps = torch.ones(len(self.bonds))
        self.atom_starts = np.cumsum([0, *(len(f.atoms) for f in formulas)])
        self.bond_starts = np.cumsum([0, *(len(f.bonds) for f in formulas)])

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> Bonded:
        atoms = slice(self.atom_starts[index], self.atom_starts[index + 1])
        bonds = slice(self.bond_starts[index], self.bond_starts[index + 1])
        kinds = self.kinds[atoms]
        ends = self.first[bonds], self.second[bonds]
        molecule = Molecule(
            kinds, torch.empty(len(kinds), 0), *ends, self.steps[bonds], self.target[index]
        )
        return Bonded(molecule, self.features[atoms], self.bonds[bonds])

    def __getitems__(self, indices: Sequence[int]) -> Picked:
        return Picked(self, indices)

    def joined(self, indices: Array) -> JoinedBonds:
        """Return some molecules (M,) one after another."""
        atoms, sizes = rows_of(self.atom_starts, indices)
        pairs, counts = rows_of(self.bond_starts, indices)
        first, second, steps = (
            taken(table, pairs) for table in (self.first, self.second, self.steps)
        )
        kinds, target = taken(self.kinds, atoms), taken(self.target, indices)
        whole = Molecule(kinds, torch.empty(len(atoms), 0), first, second, steps, target)
        return JoinedBonds(
            Joined(whole, sizes, counts), taken(self.features, atoms), taken(self.bonds, pairs)
        )


class BondedFormulas(Formulas):
    """The same with the features that ``bonds`` gives to atoms of a geometry; hydrogens are counted, not drawn."""

    def __init__(self, formulas: Sequence[Formula], target: Array) -> None:
        super().__init__(formulas, target)
        self.kinds = torch.tensor(
            [NUMBERS[a.symbol] for f in formulas for a in f.atoms], dtype=torch.uint8
        )
        owner = np.repeat(self.atom_starts[:-1], np.diff(self.bond_starts))
        ends = self.first.numpy() + owner, self.second.numpy() + owner
        hydrogens = np.array([h for f in formulas for h in f.hydrogens()])
        self.features = torch.from_numpy(
            atom_features(self.kinds.numpy(), *ends, self.bonds.numpy(), hydrogens)
        )


def kind_of(formula: Formula, atom: int) -> int:
    """Return the number of an atom's kind, below KINDS."""
    known = formula.atoms[atom]
    if known.symbol not in ATOM_KINDS:
        return OTHER
    return ATOM_KINDS.index(known.symbol) + len(ATOM_KINDS) * known.aromatic


def formula_of(numbers: Array, positions: Array, bonds: Array | None) -> Formula:
    """Return the heavy atoms of a geometry and their bonds, as its SMILES would have them.

    numbers (N,); positions (N, 3), Å. Bonds (K, 3) that are not given are estimated from distances. Hydrogen stays
    where there is nothing else.
    """
    if bonds is None:
        first, second = np.triu_indices(len(numbers), 1)
        apart = np.linalg.norm(positions[first] - positions[second], axis=1)
        kinds = bond_kinds(numbers[first], numbers[second], apart)
        bonds = np.stack([first, second, kinds], 1)[kinds > 0]
    heavy = (
        np.flatnonzero(numbers != HYDROGEN)
        if (numbers != HYDROGEN).any()
        else np.arange(len(numbers))
    )
    place = {int(atom): k for k, atom in enumerate(heavy)}
    kept = [
        (place[a], place[b], _ORDERS[kind])
        for a, b, kind in bonds.tolist()
        if a in place and b in place
    ]
    aromatic = {atom for *ends, order in kept if order == _ORDERS[AROMATIC] for atom in ends}
    atoms = tuple(
        Atom(SYMBOLS[int(numbers[a])], k in aromatic, 0, None) for k, a in enumerate(heavy)
    )
    return Formula(atoms, tuple(kept))


def degrees(formulas: Iterable[Formula]) -> Array:
    """Return how many atoms have 0, 1, 2, … bonds."""
    found = [
        np.bincount(np.array([e for b in f.bonds for e in b[:2]], int), minlength=len(f.atoms))
        for f in formulas
    ]
    return np.bincount(np.concatenate(found))
