"""Molecules as graphs of atoms and bonds, without positions: from SMILES, or from a geometry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.graphs.batches import (
    ConcatenatedMolecules,
    Molecule,
    SelectedSamples,
    rows_of,
    take_rows,
)
from wattlaw.workloads.molecules.graphs.bonds import (
    BondedMolecule,
    ConcatenatedBonds,
    atom_features,
    estimate_bond_kinds,
)
from wattlaw.workloads.molecules.sources.smiles import AROMATIC, MolecularGraph

ELEMENT_KINDS = (6, 7, 8, 9, 16, 17, 35, 53, 15, 5, 1)
"""Atomic numbers by the kind of an atom: C, N, O, F, S, Cl, Br, I, P, B, H. The kinds of aromatic
atoms follow, in the same order; all other elements are of kind OTHER.
"""

OTHER = 2 * len(ELEMENT_KINDS)
KINDS = OTHER + 1

HYDROGEN = 1


class MolecularGraphs(Dataset[BondedMolecule]):
    """Molecules of heavy atoms with a target (M,) each. Pairs are bonds, at a distance of 1."""

    def __init__(self, graphs: Sequence[MolecularGraph], target: Array) -> None:
        self.target = torch.from_numpy(target.astype(np.float32))
        self.kinds = torch.from_numpy(np.concatenate([atom_kinds(graph) for graph in graphs]))
        bonds = np.concatenate([graph.bonds for graph in graphs])
        self.first = torch.from_numpy(bonds[:, 0].astype(np.int16))
        self.second = torch.from_numpy(bonds[:, 1].astype(np.int16))
        self.bonds = torch.from_numpy(bonds[:, 2].astype(np.uint8))
        self.features = torch.empty(len(self.kinds), 0)
        self.distance = torch.ones(len(self.bonds))
        self.atom_starts = np.cumsum([0, *(len(graph.numbers) for graph in graphs)])
        self.bond_starts = np.cumsum([0, *(len(graph.bonds) for graph in graphs)])

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> BondedMolecule:
        atoms = slice(self.atom_starts[index], self.atom_starts[index + 1])
        bonds = slice(self.bond_starts[index], self.bond_starts[index + 1])
        kinds = self.kinds[atoms]
        molecule = Molecule(
            numbers=kinds,
            positions=torch.empty(len(kinds), 0),
            first=self.first[bonds],
            second=self.second[bonds],
            distance=self.distance[bonds],
            target=self.target[index],
        )
        return BondedMolecule(molecule, self.features[atoms], self.bonds[bonds])

    def __getitems__(self, indices: Sequence[int]) -> SelectedSamples:
        return SelectedSamples(self, indices)

    def concatenated(self, indices: Array) -> ConcatenatedBonds:
        """Return some molecules (M,), concatenated."""
        atoms, sizes = rows_of(self.atom_starts, indices)
        pairs, counts = rows_of(self.bond_starts, indices)
        molecule = Molecule(
            numbers=take_rows(self.kinds, atoms),
            positions=torch.empty(len(atoms), 0),
            first=take_rows(self.first, pairs),
            second=take_rows(self.second, pairs),
            distance=take_rows(self.distance, pairs),
            target=take_rows(self.target, indices),
        )
        return ConcatenatedBonds(
            ConcatenatedMolecules(molecule, sizes, counts),
            take_rows(self.features, atoms),
            take_rows(self.bonds, pairs),
        )


class FeaturisedGraphs(MolecularGraphs):
    """Molecules of heavy atoms with atomic numbers and the atom features of ``bonds``.

    Hydrogens are counted at their atom.
    """

    def __init__(self, graphs: Sequence[MolecularGraph], target: Array) -> None:
        super().__init__(graphs, target)
        numbers = np.concatenate([graph.numbers for graph in graphs])
        self.kinds = torch.from_numpy(numbers)
        owner = np.repeat(self.atom_starts[:-1], np.diff(self.bond_starts))
        first, second = self.first.numpy() + owner, self.second.numpy() + owner
        hydrogens = np.concatenate([graph.hydrogens for graph in graphs])
        features = atom_features(numbers, first, second, self.bonds.numpy(), hydrogens)
        self.features = torch.from_numpy(features)


def atom_kinds(graph: MolecularGraph) -> Array:
    """Return the kind of each atom, (N,) uint8, below KINDS."""
    kinds = np.full(len(graph.numbers), OTHER, np.uint8)
    for kind, number in enumerate(ELEMENT_KINDS):
        kinds[graph.numbers == number] = kind
    return kinds + np.where(graph.aromatic & (kinds != OTHER), len(ELEMENT_KINDS), 0).astype(
        np.uint8
    )


def graph_of_geometry(numbers: Array, positions: Array, bonds: Array | None) -> MolecularGraph:
    """Return the heavy atoms of a geometry and their bonds, as its SMILES would have them.

    numbers (N,); positions (N, 3), Å; bonds (K, 3), estimated from distances if None. Hydrogens
    are atoms only if there are no others.
    """
    if bonds is None:
        first, second = np.triu_indices(len(numbers), 1)
        distances = np.linalg.norm(positions[first] - positions[second], axis=1)
        kinds = estimate_bond_kinds(numbers[first], numbers[second], distances)
        bonds = np.stack([first, second, kinds], 1)[kinds > 0]
    bonds = bonds.astype(np.int64)
    is_atom = numbers != HYDROGEN
    if not is_atom.any():
        is_atom = np.ones(len(numbers), bool)
    both = is_atom[bonds[:, 0]] & is_atom[bonds[:, 1]]
    one = is_atom[bonds[:, 0]] ^ is_atom[bonds[:, 1]]
    place = np.cumsum(is_atom) - 1
    kept = np.column_stack([place[bonds[both, :2]], bonds[both, 2]])
    is_first = is_atom[bonds[one, 0]]
    carriers = place[np.where(is_first, bonds[one, 0], bonds[one, 1])]
    aromatic = np.zeros(int(is_atom.sum()), bool)
    aromatic[kept[kept[:, 2] == AROMATIC, :2].ravel()] = True
    return MolecularGraph(
        numbers=numbers[is_atom].astype(np.uint8),
        aromatic=aromatic,
        hydrogens=np.bincount(carriers, minlength=len(aromatic)),
        bonds=kept,
    )


def degree_histogram(graphs: Iterable[MolecularGraph]) -> Array:
    """Return how many atoms have 0, 1, 2, … bonds."""
    degrees = [
        np.bincount(graph.bonds[:, :2].ravel(), minlength=len(graph.numbers)) for graph in graphs
    ]
    return np.bincount(np.concatenate(degrees))
