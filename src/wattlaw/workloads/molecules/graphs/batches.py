"""Molecules as samples, and batches of them as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.graphs.grid import place_on_grid
from wattlaw.workloads.molecules.graphs.pairs import Graph, find_pairs, incoming
from wattlaw.workloads.molecules.graphs.slots import find_slots
from wattlaw.workloads.molecules.sources.molecule_record import CLOSEST

Array = np.ndarray[Any, Any]


class Molecule(NamedTuple):
    """One sample: atoms (N,), positions (N, 3) in Å, its pairs with distances (P,), and its target."""

    numbers: Tensor
    positions: Tensor
    first: Tensor
    second: Tensor
    distance: Tensor
    target: Tensor


class Joined(NamedTuple):
    """Samples one after another in one ``molecule``; atoms and pairs (M,) of each. Its target is (M,)."""

    molecule: Molecule
    atoms: Array
    pairs: Array


class Picked(Sequence[Any]):
    """Samples of a dataset by their indices. A batch takes them from the dataset's arrays at once (``joined``), which
    is several times faster than sample by sample.
    """

    def __init__(self, data: Any, indices: Sequence[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return (
            Picked(self.data, self.indices[index])
            if isinstance(index, slice)
            else self.data[self.indices[index]]
        )

    def joined(self) -> Any:
        """Return what the dataset's ``joined`` makes of the samples."""
        return self.data.joined(np.asarray(self.indices))


def rows_of(starts: Array, indices: Array) -> tuple[Array, Array]:
    """Return the rows of some items, whose rows begin at ``starts``, one after another, and how many each has."""
    first = starts[indices]
    counts = starts[indices + 1] - first
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) + np.repeat(first - ends + counts, counts), counts


def taken(table: Tensor, rows: Array) -> Tensor:
    """Return rows of a tensor on the CPU, in new memory."""
    return torch.from_numpy(table.numpy().take(rows, 0))


class Molecules(Dataset[Molecule]):
    """Molecules with their pairs nearer than ``cutoff`` (Å), found once, and a target (M,) each."""

    def __init__(
        self, numbers: Array, positions: Array, atoms: Array, target: Array, cutoff: float
    ) -> None:
        pairs = find_pairs(positions, atoms, cutoff)
        if len(pairs.distance) and not pairs.distance.min() >= CLOSEST:
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
            self.numbers[atoms],
            self.positions[atoms],
            self.first[pairs],
            self.second[pairs],
            self.distance[pairs],
            self.target[index],
        )

    def __getitems__(self, indices: Sequence[int]) -> Picked:
        return Picked(self, indices)

    def joined(self, indices: Array) -> Joined:
        """Return some molecules (M,) one after another."""
        atoms, sizes = rows_of(self.atom_starts, indices)
        pairs, counts = rows_of(self.pair_starts, indices)
        numbers, positions = (taken(table, atoms) for table in (self.numbers, self.positions))
        first, second, distance = (
            taken(table, pairs) for table in (self.first, self.second, self.distance)
        )
        target = taken(self.target, indices)
        return Joined(Molecule(numbers, positions, first, second, distance, target), sizes, counts)


def join(molecules: Sequence[Molecule]) -> Joined:
    """Return molecules one after another."""
    if isinstance(molecules, Picked):
        found: Joined = molecules.joined()
        return found
    *rows, targets = zip(*molecules, strict=True)
    numbers, positions, first, second, distance = map(torch.cat, rows)
    whole = Molecule(numbers, positions, first, second, distance, torch.stack(targets))
    atoms, pairs = (np.array([len(part) for part in row]) for row in (rows[0], rows[2]))
    return Joined(whole, atoms, pairs)


def batch_molecules(
    molecules: Sequence[Molecule] | Joined, cutoff: float, grid_points: int = 0, slots: bool = False
) -> Graph:
    """Join molecules to one graph.

    With ``grid_points`` its distances are placed on a grid up to ``cutoff``; with ``slots`` it is made ready
    for sums over triplets.
    """
    whole, sizes, pair_counts = molecules if isinstance(molecules, Joined) else join(molecules)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    shift = np.repeat(starts[:-1], pair_counts)
    first, second = (torch.from_numpy(ends.numpy() + shift) for ends in (whole.first, whole.second))
    rows, row_starts = incoming(first.numpy(), second.numpy(), int(starts[-1]))
    grid = place_on_grid(whole.distance.numpy(), cutoff, grid_points) if grid_points else None
    return Graph(
        numbers=whole.numbers.to(torch.int64),
        positions=whole.positions,
        molecule=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
        starts=torch.from_numpy(starts),
        first=first,
        second=second,
        distance=whole.distance,
        rows=torch.from_numpy(rows),
        row_starts=torch.from_numpy(row_starts),
        target=whole.target,
        grid=grid,
        slots=find_slots(rows, row_starts) if slots else None,
        largest=int(sizes.max()),
    )
