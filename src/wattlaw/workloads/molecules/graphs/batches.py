"""Molecules as samples, and batches of them as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.graphs.grid import place_on_grid
from wattlaw.workloads.molecules.graphs.pairs import Graph, find_pairs, incoming_messages
from wattlaw.workloads.molecules.graphs.slots import find_slots
from wattlaw.workloads.molecules.sources.molecule_record import SMALLEST_DISTANCE


class Molecule(NamedTuple):
    """One sample: atoms (N,), positions (N, 3) in Å, its pairs with distances (P,), its target."""

    numbers: Tensor
    positions: Tensor
    first: Tensor
    second: Tensor
    distance: Tensor
    target: Tensor


class ConcatenatedMolecules(NamedTuple):
    """Samples concatenated in one ``molecule``; the atoms and pairs (M,) of each."""

    molecule: Molecule
    atoms: Array
    pairs: Array


class SelectedSamples(Sequence[Any]):
    """Samples of a dataset by their indices.

    A batch takes them all from the dataset's arrays by ``concatenated``, which is several times
    faster than sample by sample.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return SelectedSamples(self.dataset, self.indices[index])
        return self.dataset[self.indices[index]]

    def concatenated(self) -> Any:
        """Return the samples as the dataset's own ``concatenated`` gives them."""
        return self.dataset.concatenated(np.asarray(self.indices))


def rows_of(starts: Array, indices: Array) -> tuple[Array, Array]:
    """Return the concatenated rows of some items, and the number of rows of each.

    The rows of item k begin at ``starts[k]``.
    """
    first = starts[indices]
    counts = starts[indices + 1] - first
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) + np.repeat(first - ends + counts, counts), counts


def take_rows(table: Tensor, rows: Array) -> Tensor:
    """Return rows of a tensor on the CPU, in new memory."""
    return torch.from_numpy(table.numpy().take(rows, 0))


class Molecules(Dataset[Molecule]):
    """Molecules with a target (M,) each, and their pairs closer than ``cutoff`` (Å), found once."""

    def __init__(
        self, numbers: Array, positions: Array, atoms: Array, target: Array, cutoff: float
    ) -> None:
        pairs = find_pairs(positions, atoms, cutoff)
        if len(pairs.distance) and not pairs.distance.min() >= SMALLEST_DISTANCE:
            which = int(np.searchsorted(pairs.starts, pairs.distance.argmin(), "right")) - 1
            raise DataError(f"molecule {which} has two atoms in one place")
        self.numbers, self.positions = torch.from_numpy(numbers), torch.from_numpy(positions)
        self.first = torch.from_numpy(pairs.first.astype(np.int16))
        self.second = torch.from_numpy(pairs.second.astype(np.int16))
        self.distance = torch.from_numpy(pairs.distance)
        self.target = torch.from_numpy(target.astype(np.float32))
        self.atom_starts = np.concatenate([[0], np.cumsum(atoms)])
        self.pair_starts = pairs.starts

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> Molecule:
        atoms = slice(self.atom_starts[index], self.atom_starts[index + 1])
        pairs = slice(self.pair_starts[index], self.pair_starts[index + 1])
        return Molecule(
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            first=self.first[pairs],
            second=self.second[pairs],
            distance=self.distance[pairs],
            target=self.target[index],
        )

    def __getitems__(self, indices: Sequence[int]) -> SelectedSamples:
        return SelectedSamples(self, indices)

    def concatenated(self, indices: Array) -> ConcatenatedMolecules:
        """Return some molecules (M,), concatenated."""
        atoms, sizes = rows_of(self.atom_starts, indices)
        pairs, counts = rows_of(self.pair_starts, indices)
        molecule = Molecule(
            numbers=take_rows(self.numbers, atoms),
            positions=take_rows(self.positions, atoms),
            first=take_rows(self.first, pairs),
            second=take_rows(self.second, pairs),
            distance=take_rows(self.distance, pairs),
            target=take_rows(self.target, indices),
        )
        return ConcatenatedMolecules(molecule, sizes, counts)


def concatenate(molecules: Sequence[Molecule]) -> ConcatenatedMolecules:
    """Return concatenated molecules."""
    if isinstance(molecules, SelectedSamples):
        selected: ConcatenatedMolecules = molecules.concatenated()
        return selected
    *columns, targets = zip(*molecules, strict=True)
    numbers, positions, first, second, distance = map(torch.cat, columns)
    joined = Molecule(numbers, positions, first, second, distance, torch.stack(targets))
    atoms = np.array([len(molecule.numbers) for molecule in molecules])
    pairs = np.array([len(molecule.first) for molecule in molecules])
    return ConcatenatedMolecules(joined, atoms, pairs)


def batch_molecules(
    molecules: Sequence[Molecule] | ConcatenatedMolecules,
    cutoff: float,
    grid_points: int = 0,
    slots: bool = False,
) -> Graph:
    """Return molecules as one graph.

    With ``grid_points`` its distances are placed on a grid up to ``cutoff`` (Å); with ``slots`` its
    neighbours are ordered for sums over triplets.
    """
    if not isinstance(molecules, ConcatenatedMolecules):
        molecules = concatenate(molecules)
    joined, sizes, pair_counts = molecules
    starts = np.concatenate([[0], np.cumsum(sizes)])
    shift = np.repeat(starts[:-1], pair_counts)
    first = torch.from_numpy(joined.first.numpy() + shift)
    second = torch.from_numpy(joined.second.numpy() + shift)
    rows, row_starts = incoming_messages(first.numpy(), second.numpy(), int(starts[-1]))
    grid = place_on_grid(joined.distance.numpy(), cutoff, grid_points) if grid_points else None
    return Graph(
        numbers=joined.numbers.to(torch.int64),
        positions=joined.positions,
        molecule=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
        starts=torch.from_numpy(starts),
        first=first,
        second=second,
        distance=joined.distance,
        rows=torch.from_numpy(rows),
        row_starts=torch.from_numpy(row_starts),
        target=joined.target,
        grid=grid,
        slots=find_slots(rows, row_starts) if slots else None,
        largest=int(sizes.max()),
    )
