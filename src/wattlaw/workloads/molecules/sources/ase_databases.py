"""Databases of ASE without ASE: SQLite (``.db``), as SchNetPack's data sets are too, and JSON (``.json``).

A row's arrays are little-endian blobs; its numbers of the whole molecule stand in ``energy``, ``key_value_pairs``
and ``data``. Energies are in eV, unless SchNetPack's description of its units says otherwise.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.sources.energy_units import ENERGIES
from wattlaw.workloads.molecules.sources.molecule_record import Record, Source, faulty

Array = np.ndarray[Any, Any]

MAGIC = b"SQLite format 3\0"
_ODD = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
"""What comes of values of another kind than they should be."""

_COLUMNS = ("id", "numbers", "positions", "pbc", "energy", "forces", "key_value_pairs", "data")


def read(path: Path) -> Source:
    """Return the rows of an SQLite database of ASE."""
    return Source("ASE database", *_described(path))


def _described(path: Path) -> tuple[str, Iterator[Record], bool]:
    with _opened(path) as base:
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
        if "systems" not in tables:
            raise DataError(f"{path}: an SQLite database, but none of ASE: it has no table systems")
        named = (
            dict(base.execute("SELECT name, value FROM information"))
            if "information" in tables
            else {}
        )
    try:
        told = json.loads(named.get("metadata") or "{}")
        unit, length = (
            _unit(told.get("_property_unit_dict") or {}),
            told.get("_distance_unit", "Ang"),
        )
    except _ODD as error:
        raise DataError(
            f"{path}: its description, metadata in the table information, is damaged ({error})"
        ) from None
    if str(length).lower() not in ("ang", "angstrom", "a"):
        raise DataError(f"{path}: its unit of length is {length}; Å is asked for")
    return unit or "eV", _rows(path), bool(unit)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as base:
            yield base
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: a damaged database ({error})") from None


def _unit(by_name: Mapping[str, Any]) -> str:
    units = {name.lower(): name for name in ENERGIES} | {"ha": "hartree"}
    found = {units[str(u).lower()] for u in by_name.values() if str(u).lower() in units}
    return found.pop() if len(found) == 1 else ""


def _rows(path: Path) -> Iterator[Record]:
    with _opened(path) as base:
        for row in base.execute(f"SELECT {', '.join(_COLUMNS)} FROM systems ORDER BY id"):
            yield _row(dict(zip(_COLUMNS, row, strict=True)))


def _row(row: dict[str, Any]) -> Record:
    where = f"row {row['id']}"
    try:
        places = np.frombuffer(row["positions"], "<f8").reshape(-1, 3)
        numbers = np.frombuffer(row["numbers"], "<i4")
        forces = (
            None if row["forces"] is None else np.frombuffer(row["forces"], "<f8").reshape(-1, 3)
        )
        pairs = json.loads(row["key_value_pairs"] or "{}")
        energy = {} if row["energy"] is None else {"energy": row["energy"]}
        told = {**energy, **pairs, **_data(row["data"])}
        return _record(where, numbers, places, told, forces, row["pbc"])
    except _ODD as error:
        return faulty(where, f"no molecule can be read here ({error})")


def _record(
    where: str,
    numbers: Array,
    places: Array,
    told: Mapping[str, Any],
    forces: Array | None,
    periodic: Any,
) -> Record:
    if numbers.ndim != 1:
        raise ValueError(f"atomic numbers of shape {numbers.shape}")
    values = {n: float(np.asarray(v).item()) for n, v in told.items() if _is_number(v)}
    if forces is None and (given := told.get("forces")) is not None:
        forces = np.asarray(given, float).reshape(-1, 3)
    elements = np.where((numbers > 0) & (numbers < 255), numbers, 0).astype(np.uint8)
    fault = "a periodic cell; molecules alone are known" if np.any(periodic) else ""
    return Record(where, elements, places, values, forces, fault=fault)


def _is_number(value: Any) -> bool:
    return (
        not isinstance(value, str | bool)
        and np.asarray(value).size == 1
        and np.asarray(value).dtype.kind in "iuf"
    )


def _data(blob: Any) -> dict[str, Any]:
    """Return what stands under ``data``: JSON, or arrays in bytes with JSON behind them that says where they lie."""
    if blob is None or blob in (b"", "", b"null", "null"):
        return {}
    if isinstance(blob, str):
        return {n: _array(v) for n, v in json.loads(blob).items()}
    begin = int(np.frombuffer(blob[:8], "<i8")[0])
    return {n: _array(v, blob) for n, v in json.loads(blob[begin:].decode()).items()}


def _array(value: Any, blob: bytes | None = None) -> Any:
    if not (isinstance(value, dict) and "__ndarray__" in value):
        return value
    shape, kind, at = value["__ndarray__"]
    if blob is None:
        return np.array(at, kind).reshape(shape)
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(blob, np.dtype(kind).newbyteorder("<"), count, int(at)).reshape(shape)


def recognises_json(text: str) -> bool:
    """Return whether a text is a JSON database of ASE."""
    return text.lstrip().startswith("{") and '"numbers"' in text and '"ids"' in text


def read_json(path: Path, text: str) -> Source:
    """Return the rows of a JSON database of ASE. Raises DataError where it is damaged."""
    try:
        whole = json.loads(text)
        rows = [(i, whole[str(i)]) for i in whole["ids"]]
    except _ODD as error:
        raise DataError(f"{path}: a damaged JSON database of ASE ({error})") from None
    return Source("ASE database (JSON)", "eV", (_json_row(i, row) for i, row in rows))


def _json_row(number: Any, row: Any) -> Record:
    where = f"row {number}"
    try:
        plain = {name: _array(value) for name, value in row.items()}
        told = {
            **({"energy": plain["energy"]} if "energy" in plain else {}),
            **plain.get("key_value_pairs", {}),
        }
        forces = np.asarray(plain["forces"], float).reshape(-1, 3) if "forces" in plain else None
        numbers = np.asarray(plain["numbers"], np.int64)
        places = np.asarray(plain["positions"], float).reshape(-1, 3)
        return _record(where, numbers, places, told, forces, plain.get("pbc", False))
    except _ODD as error:
        return faulty(where, f"no molecule can be read here ({error})")
