"""Reads a CSV file of any make into rows of clean cells, and says what it had to clean."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wattlaw.accelerators.catalogue.entry import Fault, Handling
from wattlaw.core.errors import DataError
from wattlaw.core.files import explained

BOM = "\ufeff"


class Row(NamedTuple):
    """A row's cells by column, and the line of the file on which it begins."""

    line: int
    cells: dict[str, str]


class RawTable(NamedTuple):
    """A table as it was read. ``preface`` are the lines before the header that begin with "#"."""

    file: str
    preface: list[str]
    header: list[str]
    header_line: int
    rows: list[Row]
    faults: list[Fault]


def read_raw(path: Path) -> RawTable:
    """Read a CSV file. Raises DataError where there is no header, RecordError where there is no file.

    Byte-order marks, tabs, blanks around cells, blank rows and foreign encodings are mended and named.
    """
    with explained(path):
        data = path.read_bytes()
    faults: list[Fault] = []
    text = _decoded(data, str(path), faults)
    lines = text.splitlines(keepends=True)
    preface = [line.strip() for line in _preface(lines)]
    header: list[str] = []
    header_line = 0
    rows: list[Row] = []
    for cells in _records(lines, len(preface), str(path), faults):
        if not header:
            header, header_line = _header(cells[1], str(path), cells[0], faults), cells[0]
        elif row := _row(header, cells[1], str(path), cells[0], faults):
            rows.append(row)
    if not header:
        raise DataError(
            f"{path}: line 1: no header; a table of accelerators begins with the names of its columns"
        )
    return RawTable(str(path), preface, header, header_line, rows, faults)


def fault(
    faults: list[Fault], where: tuple[str, int, str], text: str, handling: Handling, name: str
) -> None:
    """Note a fault at (file, line, column)."""
    faults.append(Fault(*where, text, handling, name))


def gathered(faults: list[Fault]) -> list[Fault]:
    """Return the faults with those that say the same of several lines told once, at the first line."""
    groups: dict[tuple[str, str, str], list[Fault]] = {}
    for one in faults:
        groups.setdefault((one.file, one.column, one.fault), []).append(one)
    told = []
    for same in groups.values():
        first, more = same[0], len(same) - 1
        text = f"{first.fault} (and {more} more lines)" if more else first.fault
        told.append(Fault(first.file, first.line, first.column, text, first.handling, first.name))
    return sorted(told, key=lambda f: (f.file, f.line, f.column))


def _decoded(data: bytes, file: str, faults: list[Fault]) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        fault(
            faults,
            (file, line, ""),
            "a byte that is not UTF-8; read as Latin-1",
            "mended",
            "encoding",
        )
        text = data.decode("latin-1")
    if text.startswith(BOM):
        fault(faults, (file, 1, ""), "a byte-order mark at the start", "mended", "byte-order-mark")
        text = text.removeprefix(BOM)
    returns, plain = text.count("\r\n"), len(re.findall(r"(?<!\r)\n", text))
    if returns and plain:
        fault(
            faults,
            (file, 1, ""),
            f"mixed line ends: {returns} CRLF, {plain} LF",
            "mended",
            "line-ends",
        )
    elif returns:
        fault(faults, (file, 1, ""), "CRLF line ends", "mended", "line-ends")
    return re.sub(r"\r\n?", "\n", text)


def _preface(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("#"):
            return
        yield line


def _records(
    lines: list[str], begin: int, file: str, faults: list[Fault]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins and its cells, from ``lines[begin:]``.

    A quote that is not closed swallows rows until the next one: only its own line is dropped.
    """
    width, reader = 0, csv.reader(lines[begin:])
    at = begin
    while at < len(lines):
        try:
            cells = next(reader)
        except csv.Error as error:
            fault(faults, (file, at + 1, ""), f"not CSV: {error}", "dropped", "not-csv")
            at, reader = at + 1, csv.reader(lines[at + 1 :])
            begin = at
            continue
        end = begin + reader.line_num
        if len(cells) != width > 0 and (end > at + 1 or lines[at].count('"') % 2):
            text = "a quote that is not closed; the rows after it are read without it"
            fault(faults, (file, at + 1, ""), text, "dropped", "open-quote")
            at, reader = at + 1, csv.reader(lines[at + 1 :])
            begin = at
            continue
        yield at + 1, cells
        at, width = end, width or len(cells)


def _header(cells: list[str], file: str, line: int, faults: list[Fault]) -> list[str]:
    header = [_clean(c) for c in cells]
    for name in {n for n in header if n and header.count(n) > 1}:
        fault(
            faults,
            (file, line, name),
            "the column stands twice; the first is read",
            "doubted",
            "repeated-column",
        )
    return header


def _row(
    header: list[str], cells: list[str], file: str, line: int, faults: list[Fault]
) -> Row | None:
    if not any(_clean(c) for c in cells):
        fault(faults, (file, line, ""), "a blank row", "dropped", "blank-row")
        return None
    if any(_clean(c) for c in cells[len(header) :]):
        text = (
            f"{len(cells)} cells under {len(header)} columns; is a comma in a cell without quotes?"
        )
        fault(faults, (file, line, ""), text, "dropped", "too-many-cells")
        return None
    found: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=False):
        if BOM in cell:
            fault(
                faults,
                (file, line, name),
                "a byte-order mark in the cell",
                "mended",
                "byte-order-mark",
            )
        if "\t" in cell:
            fault(faults, (file, line, name), "a tab in the cell", "mended", "tab")
        found.setdefault(name, _clean(cell))
    return Row(line, {name: found.get(name, "") for name in header})


def _clean(cell: str) -> str:
    return " ".join(cell.replace(BOM, "").split())
