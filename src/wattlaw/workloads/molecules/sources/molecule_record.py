"""One molecule as a file has it, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from wattlaw.workloads.molecules.sources.elements import NUMBERS, SYMBOLS

Array = np.ndarray[Any, Any]

CLOSEST = 0.2
"""Two atoms nearer than this, Å, are taken for one place given twice."""


LARGEST = 1e9
"""No position, Å, or force, eV/Å, of a molecule is so large; single precision would lose it, or its square."""


class Record(NamedTuple):
    """One molecule or geometry.

    where      which record of its file, such as "line 17 (frame 2)"
    numbers    (N,) uint8; 0 for an element that is not known
    positions  (N, 3) float64, Å
    values     numbers of the whole molecule by name; energies in the file's unit
    forces     (N, 3) in the file's unit of energy for each Å; None where it has none
    bonds      (K, 3) int: two atoms and the order, 4 for an aromatic bond; None where the file has none
    fault      why the record cannot be used; "" where it can be
    """

    where: str
    numbers: Array
    positions: Array
    values: Mapping[str, float]
    forces: Array | None = None
    bonds: Array | None = None
    fault: str = ""


class Source(NamedTuple):
    """A file that was recognised: its kind in words, its unit of energy, and its records, read as they are asked for.

    ``stated`` is whether the file itself says the unit, rather than custom.
    """

    kind: str
    energy_unit: str
    records: Iterator[Record]
    stated: bool = False


def faulty(where: str, fault: str) -> Record:
    """Return a record that cannot be used."""
    return Record(where, np.zeros(0, np.uint8), np.zeros((0, 3)), {}, fault=fault)


def fault_of(record: Record) -> str:
    """Return what is wrong with a record, "" for nothing."""
    if record.fault:
        return record.fault
    if len(record.numbers) == 0:
        return "no atoms"
    unknown = sorted({int(z) for z in record.numbers if not 0 < z < len(SYMBOLS)})
    if unknown:
        return f"unknown element {unknown[0]}"
    shape = (len(record.numbers), 3)
    for what, array in (("positions", record.positions), ("forces", record.forces)):
        if array is not None and array.shape != shape:
            return f"{what} of shape {array.shape} for {shape[0]} atoms"
    arrays = [record.positions, *([] if record.forces is None else [record.forces])]
    if not all(np.isfinite(a).all() for a in arrays):
        return "a number that is not finite"
    if not all(np.abs(a).max() < LARGEST for a in arrays):
        return f"a position or force of {LARGEST:g} or more"
    pair = too_close(record.positions)
    if pair:
        return f"atoms {pair[0]} and {pair[1]} are in one place"
    if (
        record.bonds is not None
        and len(record.bonds)
        and int(record.bonds[:, :2].max()) >= shape[0]
    ):
        return f"a bond to atom {int(record.bonds[:, :2].max()) + 1} of {shape[0]}"
    return ""


def too_close(positions: Array) -> tuple[int, int] | None:
    """Return two atoms (counted from 0) nearer than CLOSEST; None where there are none."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    if apart.min() >= CLOSEST:
        return None
    first, second = np.unravel_index(apart.argmin(), apart.shape)
    return int(first), int(second)


def atomic_number(word: str) -> int:
    """Return the atomic number of a symbol or of a number in words; 0 where it is neither."""
    if word.isdecimal() and len(word) < 4:
        return int(word) if 0 < int(word) < len(SYMBOLS) else 0
    return NUMBERS.get(word.capitalize(), 0)
