"""One molecule of a file, the file it comes from, and what makes a molecule unusable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from wattlaw.core.reading import Note
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.energy_units import FileUnits

SMALLEST_DISTANCE = 0.2
"""Two atoms closer than this, Å, are taken for one position given twice."""

LARGEST_NUMBER = 1e9
"""No position, Å, or force, eV/Å, is as large; its square would overflow single precision."""

HEAVIEST_ELEMENT = 118


class MoleculeRecord(NamedTuple):
    """One molecule or geometry of a file.

    where      which record of its file, such as "line 17 (frame 2)"
    numbers    atomic numbers (N,) int
    positions  (N, 3) float64, in the file's unit of length
    values     numbers of the whole molecule by name, in the file's units
    forces     (N, 3) in the file's unit, or None
    bonds      (K, 3) int, two atoms and the kind of bond (1, 2, 3; 4 is aromatic), or None
    fault      why the record cannot be read, "" if it can
    """

    where: str
    numbers: Array
    positions: Array
    values: Mapping[str, float]
    forces: Array | None = None
    bonds: Array | None = None
    fault: str = ""


class MoleculeFile(NamedTuple):
    """A file whose kind was recognised: its kind in words, its units, and its records.

    Records are read as they are iterated over. ``notes`` fills meanwhile.
    """

    kind: str
    units: FileUnits
    records: Iterator[MoleculeRecord]
    notes: list[Note]


def bad_record(where: str, fault: str) -> MoleculeRecord:
    """Return a record that cannot be used."""
    return MoleculeRecord(where, np.zeros(0, np.uint8), np.zeros((0, 3)), {}, fault=fault)


def fault_of(record: MoleculeRecord) -> str:
    """Return why a record, in Å and eV/Å, cannot be used; "" if it can."""
    if record.fault:
        return record.fault
    if len(record.numbers) == 0:
        return "no atoms"
    outside = (record.numbers < 1) | (record.numbers > HEAVIEST_ELEMENT)
    if outside.any():
        return f"unknown element {record.numbers[outside].min()}"
    arrays = [("positions", record.positions)]
    if record.forces is not None:
        arrays.append(("forces", record.forces))
    for name, array in arrays:
        fault = _fault_of_vectors(name, array, len(record.numbers))
        if fault:
            return fault
    pair = overlapping_atoms(record.positions)
    if pair:
        return f"atoms {pair[0]} and {pair[1]} are in one place"
    return _fault_of_bonds(record.bonds, len(record.numbers))


def _fault_of_vectors(name: str, array: Array, atoms: int) -> str:
    if array.shape != (atoms, 3):
        return f"{name} of shape {array.shape} for {atoms} atoms"
    if not np.isfinite(array).all():
        return f"a number that is not finite among its {name}"
    if np.abs(array).max() >= LARGEST_NUMBER:
        return f"a number of {LARGEST_NUMBER:g} or more among its {name}"
    return ""


def _fault_of_bonds(bonds: Array | None, atoms: int) -> str:
    if bonds is None or len(bonds) == 0:
        return ""
    last = int(bonds[:, :2].max())
    return f"a bond to atom {last + 1} of {atoms}" if last >= atoms else ""


def overlapping_atoms(positions: Array) -> tuple[int, int] | None:
    """Return the two closest atoms, counted from 0, if they are closer than SMALLEST_DISTANCE."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    if distances.min() >= SMALLEST_DISTANCE:
        return None
    first, second = np.unravel_index(distances.argmin(), distances.shape)
    return int(first), int(second)


def as_element_array(numbers: Array) -> Array:
    """Return atomic numbers (N,) as int64; 0 for what is not a whole number, such as NaN.

    Raises ValueError if the array has another shape or kind.
    """
    if numbers.ndim != 1 or numbers.dtype.kind not in "biuf":
        raise ValueError(f"atomic numbers of shape {numbers.shape} and type {numbers.dtype}")
    if numbers.dtype.kind != "f":
        return numbers.astype(np.int64)
    wide = numbers.astype(np.float64)
    is_whole = (np.abs(wide) < 2**31) & (wide == np.round(wide))
    return np.where(is_whole, wide, 0).astype(np.int64)
