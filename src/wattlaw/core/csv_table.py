"""Reads a CSV table from any program: clean cells with their line numbers, and every fault."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from wattlaw.core.errors import DataError
from wattlaw.core.files import explained
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

Handling = Literal["mended", "doubted", "dropped"]

BOM = "\ufeff"
MAX_BYTES = 2 << 30
"""A larger file is refused rather than read into memory."""

_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd")
"""The first bytes of gzip, zip, xz, bzip2 and zstd files."""
_NOT_TEXT = re.compile("[\ufffd\x00-\x08\x0e-\x1f\x7f-\x9f]")


class TableFault(msgspec.Struct, frozen=True):
    """A fault of a table and its place. ``handling`` says what the reader did about it.

    ``name`` is the name of the rule, such as "open-quote". ``column`` is "" if the fault is
    that of a row or of the file.
    """

    file: str
    line: int
    column: str
    fault: str
    handling: Handling
    name: str


class CsvRow(NamedTuple):
    """The cells of a row by column, and the line of the file on which the row begins."""

    line: int
    cells: dict[str, str]


@dataclass
class CsvTable:
    """A table whose header was read; its rows are read while they are iterated over.

    preface      lines before the header that begin with the comment sign
    header       names of the columns; of two equal names the first holds the cells
    header_line  line of the header, from 1
    faults       faults found so far; complete after the last row
    """

    file: str
    preface: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    header_line: int = 0
    faults: list[TableFault] = field(default_factory=list)
    rows: Iterator[CsvRow] = field(default_factory=lambda: iter(()))

    def add_fault(self, line: int, column: str, text: str, handling: Handling, name: str) -> None:
        """Record a fault of the table."""
        self.faults.append(TableFault(self.file, line, column, text, handling, name))


def read_csv(
    path: Path,
    delimiter: str = ",",
    comment: str = "",
    fill_short_rows: bool = False,
    has_quotes: bool = True,
) -> CsvTable:
    """Open a CSV file and read its header.

    Byte-order marks, tabs, spaces around cells and foreign encodings are mended. A row with more
    cells than the header is dropped, and so is one with fewer unless ``fill_short_rows``.
    Without ``has_quotes`` a quote is a character like others.
    Raises DataError if there is no header or the file is not text, RecordError if the file
    cannot be read.
    """
    table = CsvTable(str(path))
    lines = list(io.StringIO(_decode(_bytes_of(path), table), newline="\n"))
    start = 0
    while comment and start < len(lines) and lines[start].startswith(comment):
        table.preface.append(lines[start].strip())
        start += 1
    if has_quotes:
        records = _records(lines, start, delimiter, table)
    else:
        records = _unquoted_records(lines, start, delimiter)
    for line, cells in records:
        if any(cell.strip() for cell in cells):
            _check_text(lines[line - 1], line, table)
            table.header, table.header_line = [_clean(cell) for cell in cells], line
            break
    else:
        raise DataError(f"{path}:1: there is no header; a table begins with its column names")
    for name in {n for n in table.header if n and table.header.count(n) > 1}:
        text = "the header names the column twice; the first is read"
        table.add_fault(table.header_line, name, text, "doubted", "repeated-column")
    table.rows = _rows(records, table, delimiter, fill_short_rows)
    return table


def read_text(path: Path) -> str:
    """Return the text of a file, see ``decode``.

    Raises DataError if the file is compressed or larger than 2 GiB.
    """
    return decode(_bytes_of(path))


def decode(data: bytes) -> str:
    """Return bytes as text: UTF-16 by its byte-order mark, else UTF-8; NUL bytes are dropped."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").replace("\0", "")
    return data.decode("utf-8-sig", "replace").replace("\0", "")


def _bytes_of(path: Path) -> bytes:
    with explained(path, "read"):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path} has {size / 1e9:.1f} GB; split it before it is imported")
        data = path.read_bytes()
    if data.startswith(_COMPRESSED):
        raise DataError(f"{path} is compressed; unpack it first")
    return data


def _decode(data: bytes, table: CsvTable) -> str:
    try:
        data.decode("utf-8")
        text = decode(data)
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = decode(data)
        else:
            line = data[: error.start].count(b"\n") + 1
            table.add_fault(
                line, "", "a byte that is not UTF-8; read as Latin-1", "mended", "encoding"
            )
            text = data.decode("latin-1").replace("\0", "")
    if data.startswith(b"\xef\xbb\xbf"):
        table.add_fault(1, "", "a byte-order mark at the start", "mended", "byte-order-mark")
    crlf, lf = text.count("\r\n"), len(re.findall(r"(?<!\r)\n", text))
    if crlf and lf:
        table.add_fault(1, "", f"mixed line ends: {crlf} CRLF, {lf} LF", "mended", "line-ends")
    elif crlf:
        table.add_fault(1, "", "CRLF line ends", "mended", "line-ends")
    return re.sub(r"\r\n?", "\n", text)


def _check_text(header: str, line: int, table: CsvTable) -> None:
    if _NOT_TEXT.search(header):
        raise DataError(
            f"{table.file}:{line}: the file is not text; a table with a header is needed"
        )


def _records(
    lines: list[str], start: int, delimiter: str, table: CsvTable
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins, from 1, and its cells, from ``lines[start:]``.

    A quote that is not closed swallows the rows up to the next quote. The reader then drops the
    line of the open quote alone and starts again on the next line.
    """
    width = 0
    position = offset = start
    reader = _reader(lines, offset, delimiter)
    while position < len(lines):
        try:
            cells = next(reader)
        except csv.Error as error:
            table.add_fault(position + 1, "", f"not CSV: {error}", "dropped", "not-csv")
            position = offset = position + 1
            reader = _reader(lines, offset, delimiter)
            continue
        end = offset + reader.line_num
        has_quote = end > position + 1 or lines[position].count('"') % 2 == 1
        if has_quote and len(cells) != width > 0:
            text = "a quote is not closed; the rows after it are read without it"
            table.add_fault(position + 1, "", text, "dropped", "open-quote")
            position = offset = position + 1
            reader = _reader(lines, offset, delimiter)
            continue
        yield position + 1, cells
        position, width = end, width or len(cells)


def _unquoted_records(
    lines: list[str], start: int, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    for index in range(start, len(lines)):
        yield index + 1, lines[index].split(delimiter)


def _reader(lines: list[str], start: int, delimiter: str) -> CsvReader:
    rest = (lines[index] for index in range(start, len(lines)))
    return csv.reader(rest, delimiter=delimiter, skipinitialspace=True)


def _rows(
    records: Iterator[tuple[int, list[str]]],
    table: CsvTable,
    delimiter: str,
    fill_short_rows: bool,
) -> Iterator[CsvRow]:
    width = len(table.header)
    for line, cells in records:
        if not any(_clean(cell) for cell in cells):
            table.add_fault(line, "", "a blank row", "dropped", "blank-row")
            continue
        is_long = any(_clean(cell) for cell in cells[width:])
        is_short = len(cells) < width and not fill_short_rows
        if is_long or is_short:
            text = f"{counted(len(cells), 'cell')} under {counted(width, 'column')}"
            if is_long:
                text += f"; does a cell hold a {delimiter!r} without quotes?"
            name = "too-many-cells" if is_long else "too-few-cells"
            table.add_fault(line, "", text, "dropped", name)
            continue
        yield CsvRow(line, _cells(table, line, cells))


def _cells(table: CsvTable, line: int, cells: list[str]) -> dict[str, str]:
    found = dict.fromkeys(table.header, "")
    seen = set()
    for name, cell in zip(table.header, cells, strict=False):
        if BOM in cell:
            text = "a byte-order mark in the cell"
            table.add_fault(line, name, text, "mended", "byte-order-mark")
        if "\t" in cell:
            table.add_fault(line, name, "a tab in the cell", "mended", "tab")
        if name not in seen:
            found[name] = _clean(cell)
            seen.add(name)
    return found


def _clean(cell: str) -> str:
    return " ".join(cell.replace(BOM, "").split())
