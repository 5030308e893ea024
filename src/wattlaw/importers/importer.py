"""The role of an importer, and ``import_runs``, which finds one and reads records with it."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import structs

from wattlaw.core.csv_table import CsvRow, CsvTable, decode, read_csv
from wattlaw.core.errors import DataError, RecordError, UsageError, nearest
from wattlaw.core.files import why
from wattlaw.core.plugins import IMPORTERS, load, plugins
from wattlaw.core.reading import Note
from wattlaw.core.run import Run

_HEAD_BYTES = 1 << 16
_MAX_KINDS = 4
"""Kinds of faults that one error names."""

_VALUE = re.compile(r"'[^']*'|[^\w]\d[\d.]*")
"""The values in a reason; reasons that differ only in these are of one kind."""


class Skipped(msgspec.Struct, frozen=True):
    """A part of a record that was skipped: file, line (0: the whole file), column, reason."""

    file: str
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        message = self.reason
        if self.column:
            message = f"{self.column}: {message}"
        if message.startswith(self.file):
            return message
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {message}"


class Imported(msgspec.Struct):
    """The runs that an importer read, and what it skipped."""

    runs: list[Run] = msgspec.field(default_factory=list)
    skipped: list[Skipped] = msgspec.field(default_factory=list)

    def skip(self, file: str | Path, reason: str, line: int = 0, column: str = "") -> None:
        """Report a part of a file that was skipped."""
        self.skipped.append(Skipped(str(file), line, column, reason))

    @property
    def notes(self) -> tuple[Note, ...]:
        """One warning for each kind of fault, with its first place and a count."""
        return tuple(Note("skipped", message) for message in self._kinds())

    def _kinds(self) -> list[str]:
        """Return the first message of each kind and its count.

        Reasons that differ in values only are one kind.
        """
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for part in self.skipped:
            kind = _VALUE.sub("", part.reason.removeprefix(part.file))
            counts[kind] += 1
            first.setdefault(kind, str(part))
        messages = []
        for kind, message in first.items():
            others = counts[kind] - 1
            messages.append(f"{message} (and {others} more of this kind)" if others else message)
        return messages


@dataclass(frozen=True)
class Importer(ABC):
    """Reads the records of one source as runs.

    An implementation is a frozen dataclass in a file of this package, which declares its name:
    ``NAMES = {"zeus": "Zeus"}``. Its fields are the options of ``import_runs``.
    """

    summary: ClassVar[str]
    """The files that it reads, in one line for ``wattlaw import --help``."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Return whether a file or folder looks like a record of this source. Never raises."""

    @abstractmethod
    def read(self, path: Path) -> Imported:
        """Read a file or folder.

        Faults of rows and of single files are reported in ``Imported.skipped``.
        Raises DataError if the whole of ``path`` is unreadable as a record of this source.
        """


def import_runs(source: str, path: str | os.PathLike[str], **options: object) -> Imported:
    """Read the records of another program as runs.

    ``source`` is the name of an importer ("mlperf", "zeus", "nvidia-smi", …) and ``path`` a file
    or folder. ``options`` are the importer's own, such as ``workload="bert"``.
    Raises UnknownNameError for an unknown source, UsageError for an option that the source does
    not take, RecordError if ``path`` does not exist, and DataError with file, line and column
    if no run could be read.
    """
    importer = _importer(source, options)
    target = Path(path)
    if not target.exists():
        raise RecordError(f"there is no {target}")
    try:
        found = importer.read(target)
    except OSError as error:
        raise RecordError(why(error, target, "read")) from error
    found.runs = _with_unique_names(found.runs)
    if not found.runs:
        raise DataError(f"no run was imported as {source}: {_first_fault(found, target, source)}")
    return found


def sources_of(path: Path) -> list[str]:
    """Return the names of the importers that recognise a file or folder."""
    return [name for name in plugins(IMPORTERS) if load(IMPORTERS, name)().recognises(path)]


def _importer(source: str, options: dict[str, object]) -> Importer:
    kind: type[Importer] = load(IMPORTERS, source)
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            valid = nearest(name, known) if known else f"{source} has no options"
            raise UsageError(f"unknown option {name!r} of source {source!r}; {valid}")
    return kind(**options)


def _first_fault(found: Imported, path: Path, source: str) -> str:
    text = f"{path} has no run"
    if found.notes:
        text = "; ".join(note.message for note in found.notes[:_MAX_KINDS])
    others = [name for name in sources_of(path) if name != source]
    if others:
        text += f"; it looks like a record of {' or '.join(others)}"
    return text


def _with_unique_names(runs: list[Run]) -> list[Run]:
    # a requeued job, or tables of one name in two folders, give the same name twice
    taken = {run.trial for run in runs}
    counts: Counter[str] = Counter()
    renamed = []
    for run in runs:
        counts[run.trial] += 1
        name = run.trial
        while counts[run.trial] > 1 and name in taken:
            name = f"{run.trial}-{counts[run.trial]}"
            counts[run.trial] += name in taken
        taken.add(name)
        renamed.append(structs.replace(run, trial=name))
    return renamed


def files_in(path: Path, pattern: str, found: Imported) -> Iterator[Path]:
    """Yield ``path`` if it is a file, else its files that match; report the unreadable ones."""
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob(pattern)):
        if file.is_file() and os.access(file, os.R_OK):
            yield file
        else:
            found.skip(file, "it is not a readable file")


def head_of(path: Path, pattern: str = "*") -> str:
    """Return the first 64 KiB of a file as text, or of the first file of a folder that matches.

    The text is empty if there is no such file or it cannot be read.
    """
    try:
        if path.is_dir():
            path = next(file for file in path.rglob(pattern) if file.is_file())
        with open(path, "rb") as file:
            return decode(file.read(_HEAD_BYTES))
    except (OSError, StopIteration):
        return ""


def columns_of(path: Path, pattern: str = "*.csv", delimiter: str = ",") -> set[str]:
    """Return the names of the columns of a table, or of the first table of a folder."""
    first_line = head_of(path, pattern).partition("\n")[0]
    return {name.strip().strip('"') for name in first_line.split(delimiter)}


def read_rows(
    path: Path,
    required: Sequence[str],
    found: Imported,
    delimiter: str = ",",
    has_quotes: bool = True,
) -> Iterator[CsvRow]:
    """Yield the rows of a table; rows that cannot be read are reported in ``found``.

    A column whose name occurs twice is not read.
    Raises DataError if the file has no header or lacks one of the ``required`` columns.
    """
    table = read_csv(path, delimiter, has_quotes=has_quotes)
    _check_columns(table, required)
    repeated = {name for name, count in Counter(table.header).items() if name and count > 1}
    for name in sorted(repeated):
        reason = f"there are two columns {name!r}; neither is read"
        found.skip(path, reason, table.header_line)
    for row in table.rows:
        yield CsvRow(row.line, {n: v for n, v in row.cells.items() if n not in repeated})
    for fault in table.faults:
        if fault.handling == "dropped" and fault.name != "blank-row":
            found.skip(path, fault.fault, fault.line, fault.column)


def _check_columns(table: CsvTable, required: Sequence[str]) -> None:
    for name in required:
        place = f"{table.file}:{table.header_line}"
        if name not in table.header:
            known = nearest(name, table.header)
            known = known.replace("valid: ", "is this the right file? Its columns are ", 1)
            raise DataError(f"{place}: there is no column {name!r}; {known}")
        if table.header.count(name) > 1:
            raise DataError(f"{place}: there are two columns {name!r}; leave one in the file")


_LARGEST = 1e300


def number(text: object) -> float | None:
    """Return a finite number, or None.

    A unit after the number is dropped: "250.00 W" is 250 and "98 %" is 98.
    """
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, int | float):
        return _finite(text)
    word, _, unit = str(text).strip().partition(" ")
    if any(c.isdigit() for c in unit):
        return None
    try:
        return _finite(float(word.rstrip("%")))
    except ValueError:
        return None


def _finite(value: int | float) -> float | None:
    return float(value) if -_LARGEST < value < _LARGEST else None


def positive(text: object) -> float | None:
    """Return a positive number as ``number`` reads it, or None."""
    value = number(text)
    return value if value is not None and value > 0 else None
