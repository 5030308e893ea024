"""Delimited text as rows with their line numbers, whatever the file went through."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from wattlaw.core.errors import DataError, nearest
from wattlaw.core.units import counted
from wattlaw.importers.imported import Imported, text_of

Row = dict[str, str]

_NO_TEXT = re.compile("[\ufffd\x00-\x08\x0e-\x1f\x7f-\x9f]")
_LONGEST_CELL = 1 << 20


def read_table(
    path: Path, needed: Sequence[str], found: Imported, delimiter: str = ","
) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of a table with a header; broken rows go to ``found.skipped``.

    Raises DataError where the file is no text, or the header lacks one of the ``needed`` columns.
    """
    lines = text_of(path).splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip()), None)
    if start is None:
        raise DataError(f"{path}: the file is empty")
    if _NO_TEXT.search(lines[start]):
        raise DataError(f"{path}:{start + 1}: the file is no text; a table with a header is needed")
    header = [name.strip() for name in cells(lines[start], delimiter)]
    for name in needed:
        if name not in header:
            raise DataError(
                f"{path}:{start + 1}: there is no column {name!r}; {_has(name, header)}"
            )
    twice = {name for name, count in Counter(header).items() if count > 1}
    for name in sorted(twice - {""}):
        if name in needed:
            raise DataError(
                f"{path}:{start + 1}: there are two columns {name!r}; leave one in the file"
            )
        found.skip(str(path), f"there are two columns {name!r}; neither is read", start + 1)
    for index in range(start + 1, len(lines)):
        line = lines[index]
        if not line.strip():
            continue
        values = cells(line, delimiter)
        if len(values) != len(header):
            found.skip(
                str(path),
                f"{counted(len(values), 'cell')} where the header has {len(header)}",
                index + 1,
            )
            continue
        row = zip(header, values, strict=True)
        yield index + 1, {name: value.strip() for name, value in row if name not in twice}


def _has(name: str, header: Sequence[str]) -> str:
    return nearest(name, header).replace("valid: ", "is it the right file? it has ", 1)


def cells(line: str, delimiter: str = ",") -> list[str]:
    """Return the cells of one line; a line that is no CSV is one cell."""
    if len(line) > _LONGEST_CELL:
        return [line]
    try:
        return next(csv.reader(io.StringIO(line), delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [line]
