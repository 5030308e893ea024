"""Bonds and atoms' surroundings in the layout of the usual QM9 features.

Orders of bonds are the source's own where it has them: QM9's SMILES, an SDF, ZINC's SMILES. Elsewhere they are
estimated from distances alone: the columns are the same, single entries may differ. Hybridisation and aromatic
atoms follow from the bonds by simple rules, where a chemistry toolkit knows more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.graphs.batches import (
    Joined,
    Molecule,
    Molecules,
    Picked,
    batch_molecules,
    join,
    rows_of,
    taken,
)
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.sources.elements import RADII, SYMBOLS
from wattlaw.workloads.molecules.sources.qm9 import ELEMENTS

Array = np.ndarray[Any, Any]

ATOM_FEATURES = 11
"""H, C, N, O, F, atomic number, aromatic, sp, sp2, sp3, hydrogens bound."""

BOND_FEATURES = 5
"""Single, double, triple, aromatic bond, and the distance in Å; a pair without a bond has 0 in the first four."""

STRETCH = 1.25
"""Atoms are bound up to so many times the sum of their radii."""

LENGTHS = {
    (6, 6): (1.27, 1.37, 1.43),
    (6, 7): (1.22, 1.31, 1.39),
    (6, 8): (0.0, 1.28, 1.28),
    (7, 7): (1.17, 1.27, 1.38),
    (7, 8): (0.0, 1.25, 1.25),
}
"""Longest triple, double and aromatic bond between two elements, Å: halfway between usual lengths (our choice)."""

_LONE = {1: (7, 15), 2: (8, 16), 3: (9, 17, 35, 53)}
"""Elements by how many lone pairs they have."""

SINGLE, DOUBLE, TRIPLE, AROMATIC = 1, 2, 3, 4


class Bonded(NamedTuple):
    """A sample: the molecule, its atoms' features (N, 11) and the kind of bond of each pair (P,), 0 for none."""

    molecule: Molecule
    features: Tensor
    bonds: Tensor


class JoinedBonds(NamedTuple):
    """Samples one after another: molecules, features of all atoms (A, 11), the kind of bond of all pairs (P,)."""

    molecules: Joined
    features: Tensor
    bonds: Tensor


class BondedMolecules(Dataset[Bonded]):
    """Molecules with bonds and features, found once.

    ``given`` are bonds (K, 3) of the molecules, None for those whose bonds are to be estimated; ``estimated`` is
    how many these are.
    """

    def __init__(self, molecules: Molecules, given: Sequence[Array | None] | None = None) -> None:
        self.molecules = molecules
        given = given or [None] * len(molecules)
        self.estimated = sum(bonds is None for bonds in given)
        owner = np.repeat(np.arange(len(molecules)), np.diff(molecules.pair_starts))
        begin = molecules.atom_starts[owner]
        first, second = molecules.first.numpy() + begin, molecules.second.numpy() + begin
        numbers = molecules.numbers.numpy()
        kinds = bond_kinds(numbers[first], numbers[second], molecules.distance.numpy())
        for index, bonds in enumerate(given):
            if bonds is not None:
                pairs = slice(molecules.pair_starts[index], molecules.pair_starts[index + 1])
                ends = (molecules.first[pairs].numpy(), molecules.second[pairs].numpy())
                kinds[pairs] = given_kinds(*ends, bonds)
        self.bonds = torch.from_numpy(kinds)
        self.features = torch.from_numpy(atom_features(numbers, first, second, kinds))

    def __len__(self) -> int:
        return len(self.molecules)

    def __getitem__(self, index: int) -> Bonded:
        starts, pairs = self.molecules.atom_starts, self.molecules.pair_starts
        return Bonded(
            self.molecules[index],
            self.features[starts[index] : starts[index + 1]],
            self.bonds[pairs[index] : pairs[index + 1]],
        )

    def __getitems__(self, indices: Sequence[int]) -> Picked:
        return Picked(self, indices)

    def joined(self, indices: Array) -> JoinedBonds:
        """Return some molecules (M,) one after another."""
        atoms, _ = rows_of(self.molecules.atom_starts, indices)
        pairs, _ = rows_of(self.molecules.pair_starts, indices)
        return JoinedBonds(
            self.molecules.joined(indices), taken(self.features, atoms), taken(self.bonds, pairs)
        )


def bond_kinds(first: Array, second: Array, distance: Array) -> Array:
    """Return the kind of bond (P,) between elements ``first`` and ``second`` (P,) so far apart (Å).

    Raises DataError for an element whose radius is not known here.
    """
    unknown = set(np.unique(np.concatenate([first, second])).tolist()) - set(RADII)
    if unknown:
        raise DataError(
            f"bonds of {SYMBOLS[min(unknown)]} cannot be estimated; give a file with bonds, such as an SDF"
        )
    low, high = np.minimum(first, second).astype(int), np.maximum(first, second).astype(int)
    radius = np.zeros(max(RADII) + 1, np.float32)
    radius[list(RADII)] = list(RADII.values())
    bound = distance < STRETCH * (radius[low] + radius[high])
    kinds = np.where(bound, SINGLE, 0).astype(np.uint8)
    for (a, b), (triple, double, aromatic) in LENGTHS.items():
        these = bound & (low == a) & (high == b)
        for limit, kind in ((aromatic, AROMATIC), (double, DOUBLE), (triple, TRIPLE)):
            kinds[these & (distance < limit)] = kind
    return kinds


def given_kinds(first: Array, second: Array, bonds: Array) -> Array:
    """Return the kind of bond (P,) of one molecule's pairs from its bonds (K, 3): two atoms and the kind."""
    size = 1 + int(max(second.max(initial=0), bonds[:, :2].max(initial=0)))
    kinds = np.zeros((size, size), np.uint8)
    kinds[bonds[:, 0], bonds[:, 1]] = kinds[bonds[:, 1], bonds[:, 0]] = bonds[:, 2]
    return np.asarray(kinds[first, second])


def atom_features(
    numbers: Array, first: Array, second: Array, kinds: Array, implied: Array | None = None
) -> Array:
    """Return features (A, 11) float32 of atoms from the pairs (P,) with their kinds of bond.

    ``implied`` (A,) are hydrogens that are not atoms of their own.
    """
    bound = kinds > 0
    ends = np.concatenate([first[bound], second[bound]])
    others = np.concatenate([second[bound], first[bound]])
    size = len(numbers)
    more = np.zeros(size, int) if implied is None else implied
    neighbours = np.bincount(ends, minlength=size) + more
    hydrogens = np.bincount(ends[numbers[others] == 1], minlength=size) + more
    aromatic = kinds == AROMATIC
    in_ring = np.bincount(np.concatenate([first[aromatic], second[aromatic]]), minlength=size) > 0
    # lone pairs take a place as bonds do
    lone = np.select([np.isin(numbers, group) for group in _LONE.values()], list(_LONE), 0)
    places = np.where(numbers == 1, 0, neighbours + lone)
    columns = [numbers == z for z in ELEMENTS.values()]
    columns += [numbers, in_ring, places == 2, places == 3, places >= 4, hydrogens]
    return np.stack(columns, 1).astype(np.float32)


def join_bonded(samples: Sequence[Bonded]) -> JoinedBonds:
    """Return samples one after another."""
    if isinstance(samples, Picked):
        found: JoinedBonds = samples.joined()
        return found
    molecules, features, bonds = zip(*samples, strict=True)
    return JoinedBonds(join(molecules), torch.cat(features), torch.cat(bonds))


def batch_bonded(samples: Sequence[Bonded], cutoff: float) -> Graph:
    """Join samples to one graph with slots, ``atoms`` (A, 11) and ``bonds`` (P, 5)."""
    molecules, features, kinds = join_bonded(samples)
    graph = batch_molecules(molecules, cutoff, slots=True)
    one_hot = torch.nn.functional.one_hot(kinds.long(), 5)[:, 1:]
    return graph.with_features(features, torch.cat([one_hot, graph.distance[:, None]], 1))
