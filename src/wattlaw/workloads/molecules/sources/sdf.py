"""SDF files (V2000): atoms, bonds with their orders, and data fields; a table beside it, as QM9's, gives more.

Format: BIOVIA, "CTfile formats". ``gdb9.sdf`` has its properties in ``gdb9.sdf.csv``, one row a molecule.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.units import counted
from wattlaw.workloads.molecules.sources.molecule_record import (
    Record,
    Source,
    atomic_number,
    faulty,
)

END = "$$$$"


def recognises(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines is an SDF."""
    return any(line.rstrip().endswith(("V2000", "V3000")) for line in lines[:6])


def read(path: Path, lines: Sequence[str]) -> Source:
    """Return the molecules of a whole file, given as lines."""
    table = path.with_name(path.name + ".csv")
    rows = _rows(table) if table.is_file() else None
    kind = f"SDF with {table.name}" if rows is not None else "SDF"
    return Source(
        kind,
        "hartree" if rows is not None else "eV",
        _molecules(path, lines, rows),
        rows is not None,
    )


def _rows(table: Path) -> list[dict[str, float]]:
    try:
        with open(table, newline="", encoding="utf-8", errors="replace") as file:
            return [{name: v for name, text in row.items() if (v := _number(text)) is not None}
                    for row in csv.DictReader(file)]  # fmt: skip
    except csv.Error as error:
        raise DataError(f"{table}: no table can be read here ({error})") from None


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _molecules(
    path: Path, lines: Sequence[str], rows: list[dict[str, float]] | None
) -> Iterator[Record]:
    begin = count = 0
    while begin < len(lines):
        end = next((k for k in range(begin, len(lines)) if lines[k].startswith(END)), len(lines))
        if end == len(lines) and not any(line.strip() for line in lines[begin:]):
            break
        record = _molecule(f"line {begin + 1} (molecule {count})", lines[begin:end])
        if rows is not None:
            if count >= len(rows):
                raise DataError(
                    f"{path}: molecule {count} has no row in {path.name}.csv, which has {len(rows)}"
                )
            record = record._replace(values={**record.values, **rows[count]})
        yield record
        begin, count = end + 1, count + 1
    if rows is not None and count < len(rows):
        raise DataError(
            f"{path}: it ends after {counted(count, 'molecule')}, but {path.name}.csv has {counted(len(rows), 'row')}"
        )


def _molecule(where: str, lines: Sequence[str]) -> Record:
    if len(lines) < 4 or not lines[3].rstrip().endswith("V2000"):
        what = (
            "V3000, which is not read; save it as V2000"
            if len(lines) > 3 and "V3000" in lines[3]
            else "truncated"
        )
        return faulty(where, f"its fourth line does not end in V2000: {what}")
    if any(line.rstrip().endswith(("V2000", "V3000")) for line in lines[4:]):
        return faulty(where, "a second molecule begins before a line $$$$")
    try:
        atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
        rows = lines[4 : 4 + atoms]
        joined = lines[4 + atoms : 4 + atoms + bonds]
        if (
            min(atoms, bonds) < 0
            or len(rows) < atoms
            or len(joined) < bonds
            or not any(r.startswith("M  END") for r in lines[4 + atoms :])
        ):
            return faulty(
                where,
                f"truncated: {counted(atoms, 'atom')} and {counted(bonds, 'bond')} are announced",
            )
        if any(line[:3].strip().isdecimal() for line in lines[4 + atoms + bonds :][:1]):
            return faulty(where, f"more lines than the {counted(bonds, 'bond')} announced")
        places = [[float(row[k : k + 10]) for k in (0, 10, 20)] for row in rows]
        symbols = [row[31:34].strip() for row in rows]
        ends = [[int(row[k : k + 3]) for k in (0, 3, 6)] for row in joined]
    except ValueError as error:
        return faulty(where, f"no molecule can be read here ({error})")
    unknown = [symbol for symbol in symbols if not atomic_number(symbol)]
    if unknown:
        return faulty(where, f"unknown element {unknown[0]}")
    pairs = np.array(ends, int).reshape(-1, 3)
    if len(pairs) and (pairs[:, 0] == pairs[:, 1]).any():
        return faulty(where, "a bond of an atom with itself")
    if len(pairs) and (pairs.min() < 1 or pairs[:, :2].max() > atoms or pairs[:, 2].max() > 4):
        return faulty(where, "a bond to an atom that is not there, or of no known kind")
    return Record(
        where,
        np.array([atomic_number(s) for s in symbols], np.uint8),
        np.array(places, np.float64).reshape(-1, 3),
        _fields(lines[4 + atoms + bonds :]),
        bonds=pairs - np.array([1, 1, 0]),
    )


def _fields(lines: Sequence[str]) -> dict[str, float]:
    """Return the data fields that are numbers: a line ``> <name>``, then the value."""
    found = {}
    for line, after in itertools.pairwise(lines):
        if line.startswith(">") and "<" in line and (value := _number(after.strip())) is not None:
            found[line.split("<", 1)[1].split(">", 1)[0]] = value
    return found
