"""Bonds, and features of atoms, in the layout of the usual QM9 features.

Kinds of bonds are RDKit's if the source has bonds: SMILES of QM9 and of tables, SDF. Elsewhere
they are estimated from distances: the columns are the same, single entries may differ. RDKit's own
estimate (``rdDetermineBonds``) needs the charge of each molecule, refuses 4 % of QM9's and takes
0.4 ms each. Hybridisation follows from the bonds by simple rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.graphs.batches import (
    ConcatenatedMolecules,
    Molecule,
    Molecules,
    SelectedSamples,
    batch_molecules,
    concatenate,
    rows_of,
    take_rows,
)
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.sources.qm9 import ELEMENTS
from wattlaw.workloads.molecules.sources.smiles import AROMATIC, DOUBLE, SINGLE, TRIPLE

ATOM_FEATURES = 11
"""H, C, N, O, F, atomic number, aromatic, sp, sp2, sp3, number of hydrogens."""

BOND_FEATURES = 5
"""Single, double, triple, aromatic bond, and the distance in Å; a pair without a bond has 0 in the
first four.
"""

STRETCH = 1.25
"""Atoms up to this many times the sum of their covalent radii apart are bonded."""

LENGTHS = {
    (6, 6): (1.27, 1.37, 1.43),
    (6, 7): (1.22, 1.31, 1.39),
    (6, 8): (0.0, 1.28, 1.28),
    (7, 7): (1.17, 1.27, 1.38),
    (7, 8): (0.0, 1.25, 1.25),
}
"""Longest triple, double and aromatic bond between two elements, Å: halfway between usual lengths
(our choice).
"""

_ELEMENTS_BY_LONE_PAIRS = {1: (7, 15), 2: (8, 16), 3: (9, 17, 35, 53)}


class BondedMolecule(NamedTuple):
    """A sample: the molecule, its atoms' features (N, 11), the kind of bond of each pair (P,)."""

    molecule: Molecule
    features: Tensor
    bonds: Tensor


class ConcatenatedBonds(NamedTuple):
    """Concatenated samples: molecules, features of all atoms (A, 11), kinds of bonds (P,)."""

    molecules: ConcatenatedMolecules
    features: Tensor
    bonds: Tensor


class BondedMolecules(Dataset[BondedMolecule]):
    """Molecules with bonds and features, found once.

    ``known`` are the bonds (K, 3) of each molecule, None for those to be estimated; ``estimated``
    is how many these are. Raises DataError if bonds of an element cannot be estimated.
    """

    def __init__(self, molecules: Molecules, known: Sequence[Array | None] | None = None) -> None:
        self.molecules = molecules
        known = known or [None] * len(molecules)
        is_unknown = np.array([bonds is None for bonds in known])
        self.estimated = int(is_unknown.sum())
        owner = np.repeat(np.arange(len(molecules)), np.diff(molecules.pair_starts))
        begin = molecules.atom_starts[owner]
        first, second = molecules.first.numpy() + begin, molecules.second.numpy() + begin
        numbers = molecules.numbers.numpy()
        kinds = np.zeros(len(first), np.uint8)
        pairs = is_unknown[owner]
        if pairs.any():
            distance = molecules.distance.numpy()[pairs]
            kinds[pairs] = estimate_bond_kinds(
                numbers[first[pairs]], numbers[second[pairs]], distance
            )
        for index, bonds in enumerate(known):
            if bonds is not None:
                own = slice(molecules.pair_starts[index], molecules.pair_starts[index + 1])
                ends = molecules.first[own].numpy(), molecules.second[own].numpy()
                kinds[own] = kinds_of_pairs(*ends, bonds)
        self.bonds = torch.from_numpy(kinds)
        self.features = torch.from_numpy(atom_features(numbers, first, second, kinds))

    def __len__(self) -> int:
        return len(self.molecules)

    def __getitem__(self, index: int) -> BondedMolecule:
        starts, pairs = self.molecules.atom_starts, self.molecules.pair_starts
        return BondedMolecule(
            self.molecules[index],
            self.features[starts[index] : starts[index + 1]],
            self.bonds[pairs[index] : pairs[index + 1]],
        )

    def __getitems__(self, indices: Sequence[int]) -> SelectedSamples:
        return SelectedSamples(self, indices)

    def concatenated(self, indices: Array) -> ConcatenatedBonds:
        """Return some molecules (M,), concatenated."""
        atoms, _ = rows_of(self.molecules.atom_starts, indices)
        pairs, _ = rows_of(self.molecules.pair_starts, indices)
        return ConcatenatedBonds(
            self.molecules.concatenated(indices),
            take_rows(self.features, atoms),
            take_rows(self.bonds, pairs),
        )


def estimate_bond_kinds(first: Array, second: Array, distance: Array) -> Array:
    """Return the kind of bond (P,) between elements ``first`` and ``second`` (P,) from distances.

    distance (P,), Å. Raises DataError for an element whose covalent radius is unknown.
    """
    data = need("ase.data", "estimating bonds")
    radii = data.covalent_radii
    low, high = np.minimum(first, second).astype(int), np.maximum(first, second).astype(int)
    unknown = high[radii[high] == data.missing]
    if len(unknown):
        raise DataError(
            f"bonds of {data.chemical_symbols[unknown[0]]} cannot be estimated from distances; "
            "use a file with bonds, such as an SDF"
        )
    is_bonded = distance < STRETCH * (radii[low] + radii[high])
    kinds = np.where(is_bonded, SINGLE, 0).astype(np.uint8)
    for (a, b), (triple, double, aromatic) in LENGTHS.items():
        these = is_bonded & (low == a) & (high == b)
        for limit, kind in ((aromatic, AROMATIC), (double, DOUBLE), (triple, TRIPLE)):
            kinds[these & (distance < limit)] = kind
    return kinds


def kinds_of_pairs(first: Array, second: Array, bonds: Array) -> Array:
    """Return the kind of bond (P,) of the pairs of one molecule from its bonds (K, 3)."""
    size = 1 + int(max(second.max(initial=0), bonds[:, :2].max(initial=0)))
    kinds = np.zeros((size, size), np.uint8)
    kinds[bonds[:, 0], bonds[:, 1]] = bonds[:, 2]
    kinds[bonds[:, 1], bonds[:, 0]] = bonds[:, 2]
    return np.asarray(kinds[first, second])


def atom_features(
    numbers: Array, first: Array, second: Array, kinds: Array, hydrogens: Array | int = 0
) -> Array:
    """Return features (A, 11) float32 of atoms from the pairs (P,) with their kinds of bond.

    ``hydrogens`` (A,) are those that are not atoms of their own.
    """
    is_bonded = kinds > 0
    ends = np.concatenate([first[is_bonded], second[is_bonded]])
    others = np.concatenate([second[is_bonded], first[is_bonded]])
    size = len(numbers)
    neighbours = np.bincount(ends, minlength=size) + hydrogens
    bonded_hydrogens = np.bincount(ends[numbers[others] == 1], minlength=size) + hydrogens
    is_aromatic = kinds == AROMATIC
    aromatic_ends = np.concatenate([first[is_aromatic], second[is_aromatic]])
    in_ring = np.bincount(aromatic_ends, minlength=size) > 0
    # lone pairs take a place as bonds do
    groups = [np.isin(numbers, group) for group in _ELEMENTS_BY_LONE_PAIRS.values()]
    lone_pairs = np.select(groups, list(_ELEMENTS_BY_LONE_PAIRS), 0)
    places = np.where(numbers == 1, 0, neighbours + lone_pairs)
    columns = [numbers == element for element in ELEMENTS.values()]
    columns += [numbers, in_ring, places == 2, places == 3, places >= 4, bonded_hydrogens]
    return np.stack(columns, 1).astype(np.float32)


def concatenate_bonded(samples: Sequence[BondedMolecule]) -> ConcatenatedBonds:
    """Return concatenated samples."""
    if isinstance(samples, SelectedSamples):
        selected: ConcatenatedBonds = samples.concatenated()
        return selected
    molecules, features, bonds = zip(*samples, strict=True)
    return ConcatenatedBonds(concatenate(molecules), torch.cat(features), torch.cat(bonds))


def batch_bonded(samples: Sequence[BondedMolecule], cutoff: float) -> Graph:
    """Return samples as one graph with slots, ``atoms`` (A, 11) and ``bonds`` (P, 5)."""
    molecules, features, kinds = concatenate_bonded(samples)
    graph = batch_molecules(molecules, cutoff, slots=True)
    one_hot = torch.nn.functional.one_hot(kinds.long(), BOND_FEATURES)[:, 1:]
    return graph.with_features(features, torch.cat([one_hot, graph.distance[:, None]], 1))
