"""Tables of SMILES with numbers in their columns, such as ZINC's (smiles, logP, qed, SAS)."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.smiles import MolecularGraph, smiles_reader


class SmilesColumn(NamedTuple):
    """The molecules of a table and a number of each, (M,); how many rows were skipped and why the
    first of these was; warnings for the user.
    """

    molecules: list[MolecularGraph]
    values: Array
    skipped: int
    first_fault: str
    notes: list[Note]


class SmilesTable(NamedTuple):
    """The molecules of a table, how many numbers each other column holds, and the (line, fault) of
    bad rows.
    """

    molecules: list[MolecularGraph]
    columns: dict[str, int]
    faults: list[tuple[str, str]]


def read_column(path: Path, column: str, on_bad: str = "fail") -> SmilesColumn:
    """Return the molecules of a CSV file, from its column smiles, and the numbers of a column.

    Raises DataError with file and line if a row cannot be used, unless ``on_bad`` is "skip";
    UnknownNameError if there is no such column.
    """
    reader = _open_table(path)
    _check_columns(path, reader, column)
    molecules, values, skipped, first = [], [], 0, ""
    with smiles_reader() as smiles:
        for row in _rows(path, reader):
            try:
                value = _number(row, column)
                molecules.append(smiles.read(_smiles_of(row)))
                values.append(value)
            except DataError as error:
                if on_bad != "skip":
                    raise DataError(
                        f"{path}:{reader.line_num}: {error}; skip such rows with --on-bad skip"
                    ) from None
                skipped, first = skipped + 1, first or f"line {reader.line_num}: {error}"
    if not molecules:
        reason = f" ({first})" if first else ""
        raise DataError(f"{path}: no usable molecule in it{reason}")
    return SmilesColumn(molecules, np.array(values), skipped, first, smiles.notes(path))


def read_table(path: Path) -> SmilesTable:
    """Return every molecule of a table, whichever column a run trains on."""
    reader = _open_table(path)
    _check_columns(path, reader)
    columns = {name: 0 for name in reader.fieldnames or [] if name != "smiles"}
    molecules, faults = [], []
    with smiles_reader() as smiles:
        for row in _rows(path, reader):
            try:
                molecules.append(smiles.read(_smiles_of(row)))
            except DataError as error:
                faults.append((f"line {reader.line_num}", str(error)))
                continue
            for name in columns:
                columns[name] += _is_number(row[name])
    with_numbers = {name: count for name, count in columns.items() if count}
    return SmilesTable(molecules, with_numbers, faults)


def smiles_column(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each SMILES of a table. Raises DataError if it is none."""
    reader = _open_table(path)
    _check_columns(path, reader)
    for row in _rows(path, reader):
        yield reader.line_num, _smiles_of(row)


def is_table(path: Path) -> bool:
    """Return whether a file's first line names a column smiles, as a table's does."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        first = file.readline(4096).strip().removeprefix(b"\xef\xbb\xbf")
    return b"smiles" in first.split(b",")


def read_text_file(path: Path) -> str:
    """Return a text in UTF-8. Raises DataError if there is none."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 (byte {error.start})") from None
    if "\0" in text:
        raise DataError(f"{path}: not text (a NUL character at {text.index(chr(0))})")
    return text


def _open_table(path: Path) -> csv.DictReader[str]:
    return csv.DictReader(io.StringIO(read_text_file(path), newline=""))


def _check_columns(path: Path, reader: csv.DictReader[str], column: str = "smiles") -> None:
    names = _column_names(path, reader)
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise DataError(f"{path}: two columns are named {twice[0]}; rename one of them")
    if "smiles" not in names:
        raise DataError(f"{path}: no column smiles; its first line is {','.join(names)[:80]!r}")
    if column not in names:
        raise UnknownNameError("column", column, [name for name in names if name != "smiles"])


def _column_names(path: Path, reader: csv.DictReader[str]) -> list[str]:
    try:
        return list(reader.fieldnames or [])
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error})") from None


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str | None]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a table ({error})") from None


def _smiles_of(row: Mapping[str, str | None]) -> str:
    return (row["smiles"] or "").strip()


def _number(row: Mapping[str, str | None], column: str) -> float:
    """Return the number in a column. Raises DataError if there is none, or not a finite one."""
    text = row[column]
    if text is None:
        raise DataError(f"the line is cut off before {column}")
    if not _is_number(text):
        raise DataError(f"{column} is {text!r}, not a finite number")
    return float(text)


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or "nan"))
    except ValueError:
        return False
