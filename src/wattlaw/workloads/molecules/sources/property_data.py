"""Molecules with one number each to learn: a property of QM9, a file's, or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.workloads.data_options import GENERATED_NOTE, DataOptions, skipped_records
from wattlaw.workloads.molecules.sources.generated import drawn
from wattlaw.workloads.molecules.sources.molecule_files import is_energy, ragged, read_molecules
from wattlaw.workloads.molecules.sources.molecule_record import Record
from wattlaw.workloads.molecules.sources.qm9 import PROPERTIES, qm9
from wattlaw.workloads.molecules.sources.qm9_bonds import qm9_bonds

Array = np.ndarray[Any, Any]

GENERATED = 2048
"""So many molecules are drawn where data=generated."""

_ALIASES = {"u": ("u298",), "h": ("h298",), "g": ("g298",)}


class Learnt(NamedTuple):
    """Molecules one after another, and what is learnt of each.

    numbers (A,) uint8; positions (A, 3) float32, Å; atoms (M,); values (M,) in ``unit``; ``extensive`` where these
    grow with the molecule; bonds of each molecule (K, 3), None where the source has none; ``notes`` for the user.
    """

    numbers: Array
    positions: Array
    atoms: Array
    values: Array
    unit: str
    extensive: bool
    bonds: Sequence[Array | None] | None
    notes: Sequence[Note] = ()


def learnt(
    options: DataOptions, target: str, energy_unit: str, count: int | None, with_bonds: bool = False
) -> Learnt:
    """Return the molecules that the options ask for: a file's, drawn ones, or ``count`` of QM9 (None: all).

    Bonds of QM9 are looked up only ``with_bonds``.
    """
    if options.path is not None:
        return _of_file(options.path, options.on_bad, target, energy_unit)
    if options.is_generated:
        numbers, positions, atoms = drawn(min(count or GENERATED, GENERATED))
        values = np.random.default_rng(1).standard_normal(len(atoms))
        return Learnt(numbers, positions, atoms, values, "", False, None, [GENERATED_NOTE])
    if target not in PROPERTIES:
        raise UnknownNameError("target", target, PROPERTIES)
    table, known = qm9(count), PROPERTIES[target]
    values = table.properties[:, list(PROPERTIES).index(target)]
    bonds = qm9_bonds(count) if with_bonds else None
    return Learnt(
        table.numbers, table.positions, table.atoms, values, known.unit, known.extensive, bonds
    )


def estimated_bonds(known: Learnt) -> list[Note]:
    """Return the warning that bonds have to be estimated; none where all are known or all is drawn."""
    size = len(known.atoms)
    count = size if known.bonds is None else sum(bonds is None for bonds in known.bonds)
    if not count or GENERATED_NOTE in known.notes:
        return []
    return [
        Note(
            "estimated_bonds",
            f"the bonds of {count} of {size} molecules are estimated from distances",
        )
    ]


def _of_file(path: Path, on_bad: str, target: str, energy_unit: str) -> Learnt:
    def lack(record: Record) -> str:
        name = _named(record, target)
        if not name:
            return f"no number {target}; it has {', '.join(sorted(record.values)) or 'none'} (give target=NAME)"
        return "" if math.isfinite(record.values[name]) else f"{name} is not finite"

    given = read_molecules(path, on_bad, energy_unit, lack)
    values = np.array([r.values[_named(r, target)] for r in given.records], np.float64)
    known = PROPERTIES.get(target.lower())
    unit = known.unit if known else "eV" if is_energy(target) else ""
    extensive = known.extensive if known else is_energy(target)
    bonds = [record.bonds for record in given.records]
    notes = skipped_records(path, given.skipped, len(given.records), given.first_fault)
    return Learnt(*ragged(given.records), values, unit, extensive, bonds, notes)


def _named(record: Record, target: str) -> str:
    """Return the name under which a record has the target, "" where it has none; case does not matter."""
    names = {name.lower(): name for name in record.values}
    low = target.lower()
    wanted = (low, f"energy_{low}", *_ALIASES.get(low, ()))
    return next((names[name] for name in wanted if name in names), "")
