"""Loads the runs of a folder. A damaged run is named and left out; it stops no other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec.structs import force_setattr

from wattlaw.core.errors import MissingPartError, RecordError, WattlawError
from wattlaw.core.files import why
from wattlaw.core.folder import INDEX, SUMMARY, Walked, walk
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run, decode_run
from wattlaw.records.index import Row, installed, read_rows

OnDamaged = Literal["warn", "raise", "ignore"]

_MOST_LINES = 20


class Damaged(NamedTuple):
    """A run that could not be read: its file, and the error whose one line says why."""

    path: Path
    error: WattlawError

    @property
    def reason(self) -> str:
        """One line that names the file and says what is wrong."""
        return str(self.error)

    @property
    def note(self) -> Note:
        """The same as a named warning."""
        return Note("damaged_run", f"left out: {self.reason}")


class Runs(list[Run]):
    """Runs in the order in which their folders sort; those that are only in an index come last.

    damaged     those that could not be read, each with its reason
    unfinished  folders of trials that were begun and have no summary (yet)
    """

    def __init__(
        self,
        runs: Iterable[Run] = (),
        damaged: Iterable[Damaged] = (),
        unfinished: Iterable[Path] = (),
    ) -> None:
        super().__init__(runs)
        self.damaged = tuple(damaged)
        self.unfinished = tuple(unfinished)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The damaged runs as named warnings, for ``--json`` and the report."""
        return tuple(d.note for d in self.damaged)


class Stored(NamedTuple):
    """A run, what it was read from, and the folder of its sweep."""

    run: Run
    row: Row
    sweep: str


def load_runs(path: str | os.PathLike[str], *, on_damaged: OnDamaged = "warn") -> Runs:
    """Return the runs under ``path``: the folder of all runs, of one sweep or trial, or an index.

    Where there is an index (and pyarrow to read it), a trial whose summary is as old and as long as the
    index says is read from there; every other one from its folder.

    A run that is damaged or of a newer format is left out and stands in ``damaged``. With "warn" it is
    also named in one line of the log "wattlaw", which Python prints to stderr; with "raise" it is an
    error; with "ignore" nothing is said. No runs at all are an empty list.

    Raises RecordError where there is no such folder or it cannot be listed.
    """
    found = look(Path(path))
    placed: list[tuple[str, str, Run]] = []
    damaged: list[Damaged] = []
    for stored in every(found):
        if isinstance(stored, Stored):
            placed.append((stored.sweep, stored.row.folder, stored.run))
        elif on_damaged == "raise":
            raise stored.error
        else:
            damaged.append(stored)
    placed.sort(key=lambda p: (not p[1], p[0], p[1]))
    runs = Runs((run for _, _, run in placed), damaged, map(Path, found.unfinished))
    if on_damaged == "warn":
        _warn(runs)
    return runs


def look(path: Path) -> Walked:
    """Find trials as core does; an index.parquet by itself is understood too."""
    if path.name == INDEX and path.is_file():
        return Walked({}, [], [str(path.parent)], [])
    return walk(path)


def every(found: Walked) -> Iterator[Stored | Damaged]:
    """Read what was found: from the indexes where they are fresh, from the folders otherwise."""
    pool = _Pool()
    for folder, reason in found.unreadable:
        yield Damaged(Path(folder), RecordError(reason))
    waiting = dict(found.stamps)
    sweeps = {os.path.dirname(trial) for trial in (*found.stamps, *found.unfinished)}
    for sweep in found.indexed:
        for row in _rows(Path(sweep, INDEX), sweep in sweeps):
            if isinstance(row, Damaged):
                yield row
            elif _stands(row, sweep, waiting, sweep in sweeps):
                yield _read(
                    f"{sweep}/{row.folder}/{SUMMARY}" if row.folder else f"{sweep}/{INDEX}",
                    sweep,
                    row,
                    pool,
                )
    for trial in waiting:
        yield _from_folder(trial, pool)


def _rows(index: Path, beside_folders: bool) -> Iterator[Row | Damaged]:
    if not installed() and beside_folders:
        return  # an index beside trial folders only saves time
    try:
        yield from read_rows(index)
    except (RecordError, MissingPartError) as error:
        yield Damaged(index, error)


def _stands(
    row: Row, sweep: str, waiting: dict[str, tuple[int, int]], beside_folders: bool
) -> bool:
    """Say whether a row stands for a run, and take its trial off the list of those to read.

    Rows without a folder were imported. An index that was moved away from its folders is taken as it is.
    """
    if not row.folder or not beside_folders:
        return True
    trial = f"{sweep}/{row.folder}"
    if waiting.get(trial) != (row.mtime_ns, row.size):
        return False
    del waiting[trial]
    return True


def _from_folder(trial: str, pool: _Pool) -> Stored | Damaged:
    summary = f"{trial}/{SUMMARY}"
    try:
        with open(summary, "rb") as file:
            stat = os.fstat(file.fileno())
            data = file.read()
    except OSError as error:
        return Damaged(Path(summary), RecordError(why(error, Path(summary), "read")))
    sweep, folder = os.path.split(trial)
    return _read(summary, sweep, Row(folder, stat.st_mtime_ns, stat.st_size, data), pool)


def _read(path: str, sweep: str, row: Row, pool: _Pool) -> Stored | Damaged:
    try:
        return Stored(pool.share(decode_run(row.summary, path)), row, sweep)
    except RecordError as error:
        return Damaged(Path(path), error)


class _Pool:
    """Lets equal words and equal missing readings of many runs be one object: it halves the memory."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.missing: dict[str, Reading] = {}

    def share(self, run: Run) -> Run:
        words, quantities = self.words, run.quantities
        for name, reading in quantities.items():
            how = reading.how
            if reading.value is None and reading.status == "missing":
                quantities[name] = self.missing.setdefault(how, reading)
            elif how:
                force_setattr(reading, "how", words.setdefault(how, how))
        return run


def _warn(runs: Runs) -> None:
    log = logging.getLogger("wattlaw")
    for note in runs.notes[:_MOST_LINES]:
        log.warning("warning: %s", note.message)
    if len(runs.damaged) > _MOST_LINES:
        log.warning("warning: left out: %d more damaged runs", len(runs.damaged) - _MOST_LINES)
