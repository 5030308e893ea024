"""Molecules as samples, and batches of them as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.workloads.base import Split
from wattlaw.workloads.molecules.files.record import CLOSEST
from wattlaw.workloads.molecules.grid import place_on_grid
from wattlaw.workloads.molecules.pairs import Graph, find_pairs, incoming
from wattlaw.workloads.molecules.sets import Learnt
from wattlaw.workloads.molecules.slots import find_slots

Array = np.ndarray[Any, Any]

SPLIT_SEED = 42
SHARES = (110_000 / 130_831, 10_000 / 130_831)
"""Shares of training and validation; the rest is for testing. Of all of QM9: 110,000, 10,000 and 10,831."""


class Molecule(NamedTuple):
    """One sample: atoms (N,), positions (N, 3) in Å, its pairs with distances (P,), and its target."""

    numbers: Tensor
    positions: Tensor
    first: Tensor
    second: Tensor
    distance: Tensor
    target: Tensor


class Molecules(Dataset[Molecule]):
    """Molecules with their pairs nearer than ``cutoff`` (Å), found once, and a target (M,) each."""

    def __init__(self, numbers: Array, positions: Array, atoms: Array, target: Array, cutoff: float) -> None:
        pairs = find_pairs(positions, atoms, cutoff)
        if len(pairs.distance) and not pairs.distance.min() >= CLOSEST:
            which = int(np.searchsorted(pairs.starts, pairs.distance.argmin(), "right")) - 1
            raise DataError(f"molecule {which} has two atoms in one place")
        self.numbers, self.positions = torch.from_numpy(numbers), torch.from_numpy(positions)
        self.first = torch.from_numpy(pairs.first.astype(np.int16))
        self.second = torch.from_numpy(pairs.second.astype(np.int16))
        self.distance = torch.from_numpy(pairs.distance)
        self.target = torch.from_numpy(target.astype(np.float32))
        self.atom_starts = [0, *np.cumsum(atoms).tolist()]
        self.pair_starts = pairs.starts.tolist()

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


def batch_molecules(molecules: Sequence[Molecule], cutoff: float, grid_points: int = 0, slots: bool = False) -> Graph:
    """Join molecules to one graph.

    With ``grid_points`` its distances are placed on a grid up to ``cutoff``; with ``slots`` it is made ready
    for sums over triplets.
    """
    sizes = np.array([m.numbers.shape[0] for m in molecules])
    pair_counts = np.array([m.first.shape[0] for m in molecules])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    shift = torch.from_numpy(np.repeat(starts[:-1], pair_counts))
    first = torch.cat([m.first for m in molecules]).to(torch.int64) + shift
    second = torch.cat([m.second for m in molecules]).to(torch.int64) + shift
    distance = torch.cat([m.distance for m in molecules])
    rows, row_starts = incoming(first.numpy(), second.numpy(), int(starts[-1]))
    grid = place_on_grid(distance.numpy(), cutoff, grid_points) if grid_points else None
    return Graph(
        numbers=torch.cat([m.numbers for m in molecules]).to(torch.int64),
        positions=torch.cat([m.positions for m in molecules]),
        molecule=torch.from_numpy(np.repeat(np.arange(len(molecules)), sizes)),
        starts=torch.from_numpy(starts),
        first=first,
        second=second,
        distance=distance,
        rows=torch.from_numpy(rows),
        row_starts=torch.from_numpy(row_starts),
        target=torch.stack([m.target for m in molecules]),
        grid=grid,
        slots=find_slots(rows, row_starts) if slots else None,
        largest=int(sizes.max()),
    )


class Targets(NamedTuple):
    """Numbers made fit for learning: (value - reference of its atoms - mean) / deviation.

    ``values`` (M,); ``deviation`` in ``unit`` turns an error of the model back into the property's unit.
    """

    values: Array
    deviation: float
    unit: str


def targets(known: Learnt, train: Array) -> Targets:
    """Return a property standardised over the molecules ``train``.

    What grows with the molecule is first freed of a linear function of its composition, fitted on ``train``.
    """
    values = known.values
    if known.extensive:
        owner = np.repeat(np.arange(len(known.atoms)), known.atoms)
        found = [np.bincount(owner[known.numbers == z], minlength=len(known.atoms)) for z in np.unique(known.numbers)]
        counts = np.stack(found, 1)
        values = values - counts @ np.linalg.lstsq(counts[train], values[train], rcond=None)[0]
    return standardised(values, train, known.unit)


def standardised(values: Array, train: Array, unit: str) -> Targets:
    """Return values (M,) less their mean, over their deviation, both of the molecules ``train``."""
    mean, deviation = values[train].mean(), values[train].std()
    # one molecule alone, or equal values, have no deviation: their error is learnt as it is
    scale = float(deviation) if deviation > 0 else 1.0
    return Targets((values - mean) / scale, scale, unit)


def splits(size: int) -> dict[Split, Array]:
    """Return the molecules of each part, shuffled once with a fixed seed. Raises DataError for fewer than three."""
    if size < 3:
        raise DataError(f"{size} samples cannot be parted into training, validation and test; 3 is the least")
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    valid = max(1, round(size * SHARES[1]))
    train = min(round(size * SHARES[0]), size - valid - 1)
    return {"train": order[:train], "valid": order[train : train + valid], "test": order[train + valid :]}


class Part(NamedTuple):
    """One part of a set: its molecules, what their targets mean, and their bonds where the source has them."""

    molecules: Molecules
    targets: Targets
    bonds: list[Array | None] | None


def part_of(known: Learnt, split: Split, cutoff: float) -> Part:
    """Return one part of a set with the pairs nearer than ``cutoff`` (Å)."""
    parts = splits(len(known.atoms))
    standard = targets(known, parts["train"])
    chosen = parts[split]
    begins = np.concatenate([[0], np.cumsum(known.atoms)])
    sizes = known.atoms[chosen]
    # atoms of the chosen molecules, in their shuffled order
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    atoms = np.repeat(begins[chosen], sizes) + within
    data = Molecules(known.numbers[atoms], known.positions[atoms], sizes, standard.values[chosen], cutoff)
    return Part(data, standard, None if known.bonds is None else [known.bonds[k] for k in chosen])
