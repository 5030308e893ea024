"""Molecules with one target each: a property of QM9, a value in a file, or a random one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.workloads.cache import Array
from wattlaw.workloads.data_options import GENERATED_NOTE, DataOptions, skipped_records
from wattlaw.workloads.molecules.sources.energy_units import is_energy
from wattlaw.workloads.molecules.sources.generated import random_molecules
from wattlaw.workloads.molecules.sources.molecule_files import as_arrays, read_molecules
from wattlaw.workloads.molecules.sources.molecule_record import MoleculeRecord
from wattlaw.workloads.molecules.sources.qm9 import PROPERTIES, qm9
from wattlaw.workloads.molecules.sources.qm9_bonds import qm9_bonds

GENERATED_COUNT = 2048
"""Random molecules if data=generated."""

_ALIASES = {"u": ("u298",), "h": ("h298",), "g": ("g298",)}


class PropertyData(NamedTuple):
    """Molecules one after another, and the property of each.

    numbers       (A,) uint8
    positions     (A, 3) float32, Å
    atoms         (M,) atoms of each molecule
    values        (M,) in ``unit``
    unit          of the values, "" if it is not known
    is_extensive  whether the property grows with the molecule
    bonds         of each molecule (K, 3), or None if they are unknown; None if the source
                  has no bonds at all
    notes         warnings for the user
    """

    numbers: Array
    positions: Array
    atoms: Array
    values: Array
    unit: str
    is_extensive: bool
    bonds: Sequence[Array | None] | None
    notes: Sequence[Note] = ()


def load_property(
    options: DataOptions, target: str, energy_unit: str, count: int | None, with_bonds: bool = False
) -> PropertyData:
    """Return the molecules that the options choose: a file's, random ones, or ``count`` of QM9.

    ``count`` None is all of QM9. The bonds of QM9 are looked up only ``with_bonds``.
    """
    if options.path is not None:
        return _of_file(options.path, options.on_bad, target, energy_unit)
    if options.is_generated:
        return _random(min(count or GENERATED_COUNT, GENERATED_COUNT))
    if target not in PROPERTIES:
        raise UnknownNameError("target", target, PROPERTIES)
    table, known = qm9(count), PROPERTIES[target]
    return PropertyData(
        numbers=table.numbers,
        positions=table.positions,
        atoms=table.atoms,
        values=table.properties[:, list(PROPERTIES).index(target)],
        unit=known.unit,
        is_extensive=known.is_extensive,
        bonds=qm9_bonds(count) if with_bonds else None,
    )


def estimated_bonds(data: PropertyData) -> list[Note]:
    """Return the warning that bonds have to be estimated; an empty list if all are known."""
    size = len(data.atoms)
    count = size
    if data.bonds is not None:
        count = sum(bonds is None for bonds in data.bonds)
    if not count:
        return []
    message = f"the bonds of {count} of {size} molecules are estimated from distances"
    return [Note("estimated_bonds", message)]


def _random(count: int) -> PropertyData:
    numbers, positions, atoms, bonds = random_molecules(count)
    values = np.random.default_rng(1).standard_normal(count)
    return PropertyData(numbers, positions, atoms, values, "", False, bonds, [GENERATED_NOTE])


def _of_file(path: Path, on_bad: str, target: str, energy_unit: str) -> PropertyData:
    def lacks(record: MoleculeRecord) -> str:
        name = _name_of_target(record, target)
        if not name:
            numbers = ", ".join(sorted(record.values)) or "none"
            return f"no number {target}; it has {numbers} (set target=NAME)"
        return "" if math.isfinite(record.values[name]) else f"{name} is not finite"

    loaded = read_molecules(path, on_bad, energy_unit, lacks)
    records = loaded.records
    values = [record.values[_name_of_target(record, target)] for record in records]
    known = PROPERTIES.get(target.lower())
    unit = "eV" if is_energy(target) else ""
    skipped = skipped_records(path, loaded.skipped, len(records), loaded.first_fault)
    numbers, positions, atoms = as_arrays(records)
    return PropertyData(
        numbers=numbers,
        positions=positions,
        atoms=atoms,
        values=np.array(values, np.float64),
        unit=known.unit if known else unit,
        is_extensive=known.is_extensive if known else is_energy(target),
        bonds=[record.bonds for record in records],
        notes=[*skipped, *loaded.notes],
    )


def _name_of_target(record: MoleculeRecord, target: str) -> str:
    """Return a record's own name for the target, whatever its case; "" if it has none."""
    names = {name.lower(): name for name in record.values}
    low = target.lower()
    for candidate in (low, f"energy_{low}", *_ALIASES.get(low, ())):
        if candidate in names:
            return names[candidate]
    return ""
