"""Databases of ASE, SchNetPack's data sets among them: SQLite (``.db``) and JSON (``.json``).

ASE reads the rows. This file names the row that cannot be used, goes on after it, and applies the
units that SchNetPack states for each property.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.energy_units import (
    TOTAL_ENERGY_NAMES,
    FileUnits,
    energy_spelling,
    is_energy,
)
from wattlaw.workloads.molecules.sources.molecule_record import (
    MoleculeFile,
    MoleculeRecord,
    as_element_array,
    bad_record,
)

AseRow = Any
"""A row of a database of ASE, which has no types."""

SQLITE_MAGIC = b"SQLite format 3\0"

_BAD_ROW = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    AssertionError,
)
"""What ASE raises for a row whose values are of the wrong kind."""


def read_database(path: Path) -> MoleculeFile:
    """Return the rows of an SQLite database of ASE.

    Raises DataError if it is damaged, or holds something other than molecules.
    """
    units = _units(_stated_units(path))
    return MoleculeFile("ASE database", units, _rows(path), [])


class _StatedUnits(NamedTuple):
    length: str = "Ang"
    properties: Mapping[str, str] = {}


def _stated_units(path: Path) -> _StatedUnits:
    """Return the units in the metadata of a database.

    It is opened read-only here: ASE would add its tables to a database that has none.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as base:
            tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
            if "systems" not in tables:
                raise DataError(
                    f"{path}: an SQLite database, but not an ASE database: no table systems"
                )
            if "information" not in tables:
                return _StatedUnits()
            information = dict(base.execute("SELECT name, value FROM information"))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: a damaged database ({error})") from None
    try:
        metadata = json.loads(information.get("metadata") or "{}")
        units = dict(metadata.get("_property_unit_dict") or {})
        properties = {name: str(unit) for name, unit in units.items()}
        return _StatedUnits(str(metadata.get("_distance_unit", "Ang")), properties)
    except _BAD_ROW as error:
        raise DataError(
            f"{path}: its metadata, in the table information, is damaged ({error})"
        ) from None


def _units(stated: _StatedUnits) -> FileUnits:
    """Return the units that SchNetPack states: of energies, forces and lengths, each its own."""
    properties = stated.properties
    by_name = {name: unit for name, unit in properties.items() if energy_spelling(unit)}
    totals = [unit for name, unit in properties.items() if name.lower() in TOTAL_ENERGY_NAMES]
    others = [unit for name, unit in properties.items() if is_energy(name)]
    energies = [unit for unit in (*totals, *others, *by_name.values()) if unit]
    return FileUnits(
        energy=energies[0] if energies else "eV",
        is_stated=bool(energies),
        length=stated.length,
        forces=properties.get("forces", ""),
        by_name=by_name,
    )


def _rows(path: Path) -> Iterator[MoleculeRecord]:
    connect = need("ase.db", "an ASE database").connect
    try:
        # inside ``with`` ASE keeps one connection, rather than several for each row
        with connect(path, type="db") as base:
            ids = [row.id for row in base.select(columns=["id"], include_data=False, sort="id")]
            yield from _selected(base, ids)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: a damaged database ({error})") from None


def _selected(base: Any, ids: Sequence[int]) -> Iterator[MoleculeRecord]:
    """Yield the rows with these ids; after a row that ASE cannot read, select those behind it."""
    done = 0
    while done < len(ids):
        try:
            for row in base.select(f"id>={ids[done]}", sort="id"):
                yield _record(row)
                done += 1
            return
        except _BAD_ROW as error:
            yield _unreadable(ids[done], error)
            done += 1


def _record(row: AseRow) -> MoleculeRecord:
    """Return a molecule from a row of ASE."""
    try:
        values = dict(row.key_value_pairs) | dict(row.data)
        if row.get("energy") is not None:
            values.setdefault("energy", row.energy)
        forces = row.get("forces", values.get("forces"))
        return _molecule(row.id, row.numbers, row.positions, row.pbc, values, forces)
    except _BAD_ROW as error:
        return _unreadable(row.id, error)


def _molecule(
    row: int,
    numbers: object,
    positions: object,
    pbc: object,
    values: Mapping[str, object],
    forces: object,
) -> MoleculeRecord:
    where = f"row {row}"
    if np.asarray(pbc).any():
        return bad_record(where, "a periodic cell; only molecules can be read")
    return MoleculeRecord(
        where=where,
        numbers=as_element_array(np.asarray(numbers)),
        positions=np.asarray(positions, float).reshape(-1, 3),
        values=_single_numbers(values),
        forces=None if forces is None else np.asarray(forces, float).reshape(-1, 3),
    )


def _unreadable(row: int, error: Exception) -> MoleculeRecord:
    return bad_record(f"row {row}", f"not a molecule that can be read ({error})")


def _single_numbers(values: Mapping[str, object]) -> dict[str, float]:
    """Return the values that are one number each, also if it is in an array."""
    numbers = {}
    for name, value in values.items():
        if isinstance(value, str | bool):
            continue
        array: Array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "iuf":
            numbers[name] = float(array.item())
    return numbers


def is_json_database(text: str) -> bool:
    """Return whether a text is a JSON database of ASE."""
    return text.lstrip().startswith("{") and '"numbers"' in text and '"ids"' in text


def read_json_database(path: Path, text: str) -> MoleculeFile:
    """Return the rows of a JSON database of ASE. Raises DataError if it is damaged."""
    jsonio = need("ase.io.jsonio", "an ASE database")
    row_of = need("ase.db.row", "an ASE database").AtomsRow
    try:
        whole = jsonio.decode(text)
        rows = [(number, whole[number]) for number in whole["ids"]]
    except _BAD_ROW as error:
        raise DataError(f"{path}: a damaged ASE JSON database ({error})") from None
    records = (_json_record(row_of, number, row) for number, row in rows)
    return MoleculeFile("ASE database (JSON)", FileUnits(), records, [])


def _json_record(row_of: Callable[..., AseRow], number: int, row: AseRow) -> MoleculeRecord:
    try:
        return _record(row_of({**row, "id": number}))
    except _BAD_ROW as error:
        return _unreadable(number, error)
