"""XYZ files: plain ones, extended ones with forces, and QM9's raw ones ("gdb" in line 2).

Columns of atoms, and comment lines of plain numbers, are parsed here, frame by frame: trajectories
are long, an unusable frame is named, and the frames after it are read. All other comment lines are
parsed by ASE, which knows every spelling of a cell.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.core.units import counted
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.energy_units import FileUnits
from wattlaw.workloads.molecules.sources.molecule_record import (
    MoleculeFile,
    MoleculeRecord,
    bad_record,
)

CommentParser = Callable[[str], dict[str, Any]]
"""Returns the values of a comment line by name: numbers, arrays, text."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COLUMNS = r"\w+:[A-Z]:\d+(?::\w+:[A-Z]:\d+)*"
_SIMPLE_COMMENT = re.compile(rf'\s*(?:[A-Za-z_]\w*=(?:{_NUMBER}|"F F F"|{_COLUMNS})(?:\s+|$))+')
"""A comment line that can be parsed without ASE: numbers, columns, and no periodic direction."""

_FORCES = ("forces", "force", "REF_forces", "dft_forces")
_WIDTHS = {"species": 1, "Z": 1, "pos": 3} | dict.fromkeys(_FORCES, 3)
_PLAIN_COLUMNS = "species:S:1:pos:R:3"
_QM9_VALUES = [
    "A",
    "B",
    "C",
    "mu",
    "alpha",
    "homo",
    "lumo",
    "gap",
    "r2",
    "zpve",
    "u0",
    "u",
    "h",
    "g",
    "cv",
]
"""The values in line 2 of QM9's raw files, after the name, in their order."""


def is_xyz(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines is an XYZ file."""
    return bool(lines) and _atom_count(lines[0]) is not None


def read_xyz(path: Path, lines: Sequence[str]) -> MoleculeFile:
    """Return the frames of a file from its lines."""
    # editors leave empty lines before the first frame
    comment = next((after for line, after in itertools.pairwise(lines) if line.strip()), "")
    if comment.startswith("gdb"):
        units = FileUnits("hartree", is_stated=True)
        return MoleculeFile("raw XYZ of QM9", units, _qm9_frames(lines), [])
    kind = "extended XYZ" if "properties=" in comment.lower() else "XYZ"
    return MoleculeFile(kind, FileUnits(), _frames(path, lines), [])


def _atom_count(line: str) -> int | None:
    """Return the number of atoms that a line states; None if it states none."""
    # int() refuses separators that strip() takes for blanks, and thousands of digits
    word = line.strip()
    return int(word) if word.isdecimal() and len(word) <= 12 else None


def atomic_number(word: str) -> int:
    """Return the atomic number of a symbol, or of a number in digits; 0 if it is neither."""
    if word.isdecimal() and len(word) < 4:
        return int(word)
    return _numbers_by_symbol().get(word.capitalize(), 0)


@functools.cache
def _numbers_by_symbol() -> Mapping[str, int]:
    numbers: Mapping[str, int] = need("ase.data", "an XYZ file").atomic_numbers
    return numbers


def _frames(path: Path, lines: Sequence[str]) -> Iterator[MoleculeRecord]:
    parse_comment = need("ase.io.extxyz", "an XYZ file").key_val_str_to_dict
    at = frame = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        where = f"line {at + 1} (frame {frame})"
        count = _atom_count(lines[at])
        if count is None:
            raise DataError(
                f"{path}, {where}: expected a number of atoms, found {lines[at][:40]!r}"
            )
        yield _frame(where, lines[at + 1 : at + 2 + count], count, parse_comment)
        at, frame = at + 2 + count, frame + 1


def _frame(
    where: str, lines: Sequence[str], count: int, parse_comment: CommentParser
) -> MoleculeRecord:
    """Return a frame from its comment line and the lines of its atoms."""
    if len(lines) <= count:
        return bad_record(where, _truncated(count, len(lines) - 1))
    try:
        info = _comment_values(lines[0], parse_comment)
        columns = _columns(str(info.pop("Properties", _PLAIN_COLUMNS)))
        rows = [line.split() for line in lines[1:]]
        positions = _vectors(rows, columns["pos"])
        element = _element_column(columns)
        symbols = [row[element] for row in rows]
        forces = [name for name in _FORCES if name in columns]
        vectors = _vectors(rows, columns[forces[0]]) if forces else None
    except (ValueError, IndexError, KeyError) as error:
        return bad_record(where, f"not an XYZ frame ({error})")
    numbers = np.array([atomic_number(symbol) for symbol in symbols], np.int64)
    if not numbers.all():
        return bad_record(where, f"unknown element {symbols[int(numbers.argmin())]}")
    if _is_periodic(info):
        return bad_record(where, "a periodic cell; only molecules can be read")
    return MoleculeRecord(where, numbers, positions, _numbers_only(info), vectors)


def _comment_values(comment: str, parse_comment: CommentParser) -> dict[str, Any]:
    """Return the values of a comment line by name; none if it is free text."""
    if "=" not in comment:
        return {}
    if _SIMPLE_COMMENT.fullmatch(comment):
        return _simple_values(comment)
    try:
        info = parse_comment(comment)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        if "properties=" in comment.lower():
            raise ValueError(f"its comment line cannot be parsed: {error}") from None
        return {}
    if "properties" in info:
        info["Properties"] = info.pop("properties")
    return info


def _simple_values(comment: str) -> dict[str, Any]:
    """Return the values of a comment line that matches _SIMPLE_COMMENT, as ASE does."""
    values: dict[str, Any] = {}
    for word in comment.replace('"F F F"', "F").split():
        name, _, text = word.partition("=")
        if text == "F":
            values[name] = False
        elif ":" in text:
            values[name] = text
        else:
            values[name] = np.float64(text)
    return values


def _columns(properties: str) -> dict[str, int]:
    """Return the first column of each property, from "species:S:1:pos:R:3:forces:R:3".

    Raises ValueError if a property that is read has the wrong number of columns.
    """
    parts = properties.split(":")
    columns, at = {}, 0
    for name, width in zip(parts[::3], map(int, parts[2::3]), strict=True):
        if width != _WIDTHS.get(name, max(width, 1)):
            raise ValueError(f"property {name} of {width} columns")
        columns[name] = at
        at += width
    return columns


def _element_column(columns: Mapping[str, int]) -> int:
    for name in ("species", "Z"):
        if name in columns:
            return columns[name]
    raise ValueError("no column species")


def _vectors(rows: Sequence[Sequence[str]], column: int) -> Array:
    """Return three columns as an array (N, 3). Raises ValueError if a row is too short."""
    if any(len(row) < column + 3 for row in rows):
        raise ValueError("a line is too short")
    numbers = [[float(word) for word in row[column : column + 3]] for row in rows]
    return np.array(numbers, np.float64).reshape(-1, 3)


def _numbers_only(info: Mapping[str, object]) -> dict[str, float]:
    return {name: float(value) for name, value in info.items() if isinstance(value, np.number)}


def _is_periodic(info: Mapping[str, object]) -> bool:
    # as in ASE, a cell without pbc is periodic
    if "pbc" in info:
        return bool(np.asarray(info["pbc"]).any())
    return "Lattice" in info


def _qm9_frames(lines: Sequence[str]) -> Iterator[MoleculeRecord]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        where = f"line {at + 1}"
        if at + 1 < len(lines):
            where += f" ({' '.join(lines[at + 1].split()[:2])})"
        count = _atom_count(lines[at]) or 0
        yield _qm9_frame(where, lines[at : at + 2 + count], count)
        # frequencies, SMILES and InChI follow the atoms; then the next molecule
        at += 2 + count
        while at < len(lines) and not (at + 1 < len(lines) and lines[at + 1].startswith("gdb")):
            at += 1


def _qm9_frame(where: str, lines: Sequence[str], count: int) -> MoleculeRecord:
    if len(lines) < count + 2:
        return bad_record(where, _truncated(count, len(lines) - 2))
    try:
        numbers = lines[1].replace("*^", "e").split()[2:]
        values = dict(zip(_QM9_VALUES, map(float, numbers), strict=True))
        rows = [line.replace("*^", "e").split() for line in lines[2:]]
        positions = _vectors(rows, 1)
        elements = np.array([atomic_number(row[0]) for row in rows], np.int64)
    except (ValueError, IndexError) as error:
        return bad_record(where, f"not a molecule of QM9 ({error})")
    return MoleculeRecord(where, elements, positions, values)


def _truncated(atoms: int, left: int) -> str:
    announced, lines = counted(atoms, "atom"), counted(max(left, 0), "line")
    return f"the file is truncated: {announced} announced, {lines} left"
