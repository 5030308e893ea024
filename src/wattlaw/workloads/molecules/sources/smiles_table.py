"""Tables of SMILES with numbers in columns, such as ZINC's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.molecules.sources.elements import NUMBERS
from wattlaw.workloads.molecules.sources.smiles import Formula, read_smiles

Array = np.ndarray[Any, Any]


class TableRows(NamedTuple):
    """The molecules of a table, a number of each (M,), how many rows were left out, and why the first of these was."""

    formulas: list[Formula]
    values: Array
    skipped: int
    first_fault: str


def read_table(path: Path, column: str, on_bad: str = "fail") -> TableRows:
    """Return the molecules of a CSV file and the numbers of a column.

    The file names its columns; one is called "smiles", as in ZINC's tables (smiles, logP, qed, SAS).
    Raises DataError naming file and line, unless ``on_bad`` is "skip"; UnknownNameError for a missing column.
    """
    reader = csv.DictReader(io.StringIO(_table_text(path), newline=""))
    names = reader.fieldnames or []
    if "smiles" not in names:
        raise DataError(f"{path}: no column smiles; its first line is {','.join(names)[:80]!r}")
    if column not in names:
        raise UnknownNameError("column", column, [n for n in names if n != "smiles"])
    formulas, values, skipped, first = [], [], 0, ""
    for row in _rows(path, reader):
        try:
            formula, value = _row(row, column)
        except (DataError, ValueError) as error:
            if on_bad != "skip":
                raise DataError(
                    f"{path}:{reader.line_num}: {error}; leave such out with --on-bad skip"
                ) from None
            skipped, first = skipped + 1, first or f"line {reader.line_num}: {error}"
            continue
        formulas.append(formula)
        values.append(value)
    if not formulas:
        raise DataError(f"{path}: no usable molecule in it" + (f" ({first})" if first else ""))
    return TableRows(formulas, np.array(values), skipped, first)


class Looked(NamedTuple):
    """Molecules of a table, its other columns with how many numbers stand in each, and (line, fault) of bad rows."""

    formulas: list[Formula]
    columns: dict[str, int]
    faults: list[tuple[str, str]]


def read_table_rows(path: Path) -> Looked:
    """Return every molecule of a table, whichever column is to be learnt later."""
    reader = csv.DictReader(io.StringIO(_table_text(path), newline=""))
    columns = dict.fromkeys([n for n in reader.fieldnames or [] if n != "smiles"], 0)
    formulas, faults = [], []
    for row in _rows(path, reader):
        try:
            formulas.append(_formula(row))
        except (DataError, ValueError) as error:
            faults.append((f"line {reader.line_num}", str(error)))
            continue
        for name in columns:
            columns[name] += _is_number(row[name])
    return Looked(formulas, {name: n for name, n in columns.items() if n}, faults)


def _is_number(text: str | None) -> bool:
    try:
        return bool(np.isfinite(float(text or "nan")))
    except ValueError:
        return False


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a table ({error})") from None


def is_table(path: Path) -> bool:
    """Return whether a file's first line names a column smiles, as a table's does."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return b"smiles" in file.readline(4096).strip().lstrip(b"\xef\xbb\xbf").split(b",")


def table_column(path: Path, column: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of a column of a table. Raises DataError where it is none."""
    reader = csv.DictReader(io.StringIO(_table_text(path), newline=""))
    for row in _rows(path, reader):
        yield reader.line_num, (row[column] or "").strip()


def _table_text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a table in UTF-8 (byte {error.start}); a CSV file is asked for"
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: not a table (a zero character at {text.index(chr(0))})")
    return text


def _row(row: dict[str, Any], column: str) -> tuple[Formula, float]:
    if row[column] is None:
        raise ValueError(f"the line is cut off before {column}")
    value = float(row[column] or "nan")
    if not np.isfinite(value):
        raise ValueError(f"{column} is {row[column]!r}")
    return _formula(row), value


def _formula(row: dict[str, Any]) -> Formula:
    formula = read_smiles((row["smiles"] or "").strip())
    unknown = [atom.symbol for atom in formula.atoms if atom.symbol not in NUMBERS]
    if unknown:
        raise ValueError(f"unknown element {unknown[0]}")
    return formula
