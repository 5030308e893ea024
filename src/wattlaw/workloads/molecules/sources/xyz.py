"""XYZ files: extended ones with forces, plain ones, and QM9's raw ones (``gdb`` in the second line)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.units import counted
from wattlaw.workloads.molecules.sources.molecule_record import (
    Record,
    Source,
    atomic_number,
    faulty,
)

Array = np.ndarray[Any, Any]

_PAIR = re.compile(r'([A-Za-z_][\w.\-]*)\s*=\s*("[^"]*"|\S+)')
_FORCES = ("forces", "force", "REF_forces", "dft_forces")
_WIDTHS = {"species": 1, "Z": 1, "pos": 3, **dict.fromkeys(_FORCES, 3)}
_GDB = (
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
)
"""What the second line of QM9's raw files says after the name, in their order."""


def recognises(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines is one of XYZ."""
    return bool(lines) and _count(lines[0]) is not None


def read(path: Path, lines: Sequence[str]) -> Source:
    """Return the frames of a whole file, given as lines."""
    # editors leave empty lines before the first frame
    comment = next((b for a, b in itertools.pairwise(lines) if a.strip()), "")
    is_gdb = comment.startswith("gdb")
    kind = (
        "raw XYZ of QM9"
        if is_gdb
        else "extended XYZ"
        if "properties=" in comment.lower()
        else "XYZ"
    )
    frames = _gdb_frames(lines) if is_gdb else _frames(path, lines)
    return Source(kind, "hartree" if is_gdb else "eV", frames, stated=is_gdb)


def _count(line: str) -> int | None:
    """Return the number of atoms that a line gives; None where it gives none that a file could hold."""
    # int() refuses separators that strip() takes for blanks, and thousands of digits
    word = line.strip()
    return int(word) if word.isdecimal() and len(word) <= 12 else None


def _frames(path: Path, lines: Sequence[str]) -> Iterator[Record]:
    at = frame = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        where = f"line {at + 1} (frame {frame})"
        count = _count(lines[at])
        if count is None:
            raise DataError(
                f"{path}, {where}: a number of atoms should stand here, not {lines[at][:40]!r}"
            )
        yield _frame(where, lines[at + 1 : at + 2 + count], count)
        at, frame = at + 2 + count, frame + 1


def _frame(where: str, lines: Sequence[str], count: int) -> Record:
    if len(lines) <= count:
        return faulty(where, _truncated(count, len(lines) - 1))
    try:
        words = {name: text.strip('"') for name, text in _PAIR.findall(lines[0])}
        columns = _columns(
            words.get("Properties") or words.get("properties") or "species:S:1:pos:R:3"
        )
        rows = [line.split() for line in lines[1:]]
        places = _table(rows, columns["pos"])
        named = columns.get("species", columns.get("Z"))
        if named is None:
            return faulty(where, "no column species")
        numbers = [(row[named], atomic_number(row[named])) for row in rows]
    except (ValueError, IndexError, KeyError) as error:
        return faulty(where, f"no frame of XYZ can be read here ({error})")
    unknown = [symbol for symbol, z in numbers if not z]
    if unknown:
        return faulty(where, f"unknown element {unknown[0]}")
    forces = next((columns[name] for name in _FORCES if name in columns), None)
    try:
        pushed = None if forces is None else _table(rows, forces)
    except (ValueError, IndexError) as error:
        return faulty(where, f"forces that cannot be read ({error})")
    fault = "a periodic cell; molecules alone are known" if _is_periodic(words) else ""
    return Record(
        where,
        np.array([z for _, z in numbers], np.uint8),
        places,
        _values(words),
        pushed,
        fault=fault,
    )


def _table(rows: Sequence[Sequence[str]], at: int) -> Array:
    if any(len(row) < at + 3 for row in rows):
        raise ValueError("a line is too short")
    return np.array([[float(x) for x in row[at : at + 3]] for row in rows], np.float64).reshape(
        -1, 3
    )


def _columns(properties: str) -> dict[str, int]:
    """Return where each property begins, from "species:S:1:pos:R:3:forces:R:3".

    Raises ValueError where one that is read has another number of columns than it should.
    """
    parts = properties.split(":")
    found, at = {}, 0
    for name, width in zip(parts[::3], map(int, parts[2::3]), strict=True):
        if width != _WIDTHS.get(name, max(width, 1)):
            raise ValueError(f"property {name} of {width} columns")
        found[name] = at
        at += width
    return found


def _values(words: dict[str, str]) -> dict[str, float]:
    found = {}
    for name, text in words.items():
        try:
            found[name] = float(text)
        except ValueError:
            continue
    return found


def _is_periodic(words: dict[str, str]) -> bool:
    # as ASE reads it: a cell without a word on it is periodic
    if "pbc" in words:
        return any(w.lower() in ("t", "true", "1") for w in words["pbc"].split())
    return "Lattice" in words


def _gdb_frames(lines: Sequence[str]) -> Iterator[Record]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        where = (
            f"line {at + 1} ({' '.join(lines[at + 1].split()[:2])})"
            if at + 1 < len(lines)
            else f"line {at + 1}"
        )
        count = _count(lines[at]) or 0
        yield _gdb(where, lines[at : at + 2 + count], count)
        # frequencies, SMILES and InChI follow the atoms; then the next molecule
        at = next(
            (k for k in range(at + 2 + count, len(lines) - 1) if lines[k + 1].startswith("gdb")),
            len(lines),
        )


def _gdb(where: str, lines: Sequence[str], count: int) -> Record:
    if len(lines) < count + 2:
        return faulty(where, _truncated(count, len(lines) - 2))
    try:
        numbers = lines[1].replace("*^", "e").split()[2:]
        values = dict(zip(_GDB, map(float, numbers), strict=True))
        rows = [line.replace("*^", "e").split() for line in lines[2:]]
        places = _table(rows, 1)
        elements = np.array([atomic_number(row[0]) for row in rows], np.uint8)
    except (ValueError, IndexError) as error:
        return faulty(where, f"no molecule of QM9 can be read here ({error})")
    return Record(where, elements, places, values)


def _truncated(atoms: int, left: int) -> str:
    return f"the file is truncated: {counted(atoms, 'atom')} announced, {counted(max(left, 0), 'line')} left"
