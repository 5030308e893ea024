"""Reads other people's records as runs: what was read, what was skipped, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from wattlaw.core.errors import DataError, RecordError
from wattlaw.core.files import why
from wattlaw.core.plugins import IMPORTERS, load
from wattlaw.core.reading import Note
from wattlaw.core.run import Run

MOST_BYTES = 2 << 30
"""A single text file larger than this is refused rather than read into memory."""


class Skipped(msgspec.Struct, frozen=True):
    """Something that could not be read: file, line (0: the whole file), column ("" where none is to blame), reason."""

    file: str
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        told = f"{self.column + ': ' if self.column else ''}{self.reason}"
        return told if told.startswith(self.file) else f"{where}: {told}"


class Imported(msgspec.Struct):
    """What an importer read."""

    runs: list[Run] = msgspec.field(default_factory=list)
    skipped: list[Skipped] = msgspec.field(default_factory=list)

    def skip(self, file: str, reason: str, line: int = 0, column: str = "") -> None:
        """Note that something was left out."""
        self.skipped.append(Skipped(file, line, column, reason))

    @property
    def notes(self) -> tuple[Note, ...]:
        """The report as named warnings: each reason once, with its first place and how often it occurred."""
        counts = Counter(s.reason for s in self.skipped)
        first = {s.reason: s for s in reversed(self.skipped)}
        return tuple(
            Note(
                "skipped",
                f"{first[reason]}" + (f" (and {count - 1} more alike)" if count > 1 else ""),
            )
            for reason, count in counts.items()
        )


def import_runs(source: str, path: str | os.PathLike[str], **options: Any) -> Imported:
    """Read somebody else's records as runs.

    ``source`` names an importer ("mlperf", "zeus", "nvidia-smi", …); ``path`` is a file or folder.
    Raises UnknownNameError for an unknown source, RecordError where there is no such file, and
    DataError, naming file, line and column, where nothing in it could be read.
    """
    read = load(IMPORTERS, source)
    where = Path(path)
    if not where.exists():
        raise RecordError(f"there is no {where}")
    try:
        found: Imported = read(where, **options)
    except OSError as error:
        raise RecordError(why(error, where)) from error
    found.runs = _named_apart(found.runs)
    if not found.runs:
        first = str(found.skipped[0]) if found.skipped else f"{where}: it holds no run"
        more = f" (and {len(found.skipped) - 1} more)" if len(found.skipped) > 1 else ""
        raise DataError(f"nothing to import as {source}: {first}{more}")
    return found


def files_in(path: Path, pattern: str, found: Imported) -> Iterator[Path]:
    """Yield a file itself, or those of a folder; what bears such a name and is no file one can read is reported."""
    for file in sorted(path.rglob(pattern)) if path.is_dir() else [path]:
        if file == path or (file.is_file() and os.access(file, os.R_OK)):
            yield file
        else:
            found.skip(str(file), "it is no file that can be read")


def _named_apart(runs: list[Run]) -> list[Run]:
    # a job that was requeued, or tables of one name in two folders
    taken = {run.trial for run in runs}
    counts: Counter[str] = Counter()
    found = []
    for run in runs:
        counts[run.trial] += 1
        name = run.trial
        while counts[run.trial] > 1 and name in taken:
            name = f"{run.trial}-{counts[run.trial]}"
            counts[run.trial] += name in taken
        taken.add(name)
        found.append(run if name == run.trial else structs.replace(run, trial=name))
    return found


def text_of(path: Path) -> str:
    """Return a file's text: UTF-8 or UTF-16 by its mark, bytes that are no text replaced."""
    if path.stat().st_size > MOST_BYTES:
        raise DataError(
            f"{path} has {path.stat().st_size / 1e9:.1f} GB; split it before it is imported"
        )
    data = path.read_bytes()
    if data.startswith(_PACKED):
        raise DataError(f"{path} is compressed; unpack it first")
    return decoded(data)


_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd")
"""How gzip, zip, xz, bzip2 and zstd begin."""


def decoded(data: bytes) -> str:
    """Return bytes as text; a byte-order mark is honoured and dropped, NUL bytes are dropped."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").replace("\0", "")
    return data.decode("utf-8-sig", "replace").replace("\0", "")


_HUGE = 1e300


def number(text: object) -> float | None:
    """Return a finite number, or None; a unit behind it ("250.00 W", "98 %") is dropped."""
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, int | float):
        return float(text) if -_HUGE < text < _HUGE else None
    word, _, unit = str(text).strip().partition(" ")
    if any(c.isdigit() for c in unit):
        return None
    try:
        value = float(word.rstrip("%"))
    except ValueError:
        return None
    return value if -_HUGE < value < _HUGE else None
