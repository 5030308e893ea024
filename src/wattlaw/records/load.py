"""Loads the runs of a folder. A damaged run is named and skipped; the others are loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec.structs import force_setattr

from wattlaw.core.errors import MissingPartError, RecordError, WattlawError
from wattlaw.core.files import why
from wattlaw.core.reading import Note, Reading
from wattlaw.core.run import Run, decode_run
from wattlaw.core.run_folder import INDEX, SUMMARY, Walked, walk
from wattlaw.records.index import IndexRow, can_use_index, read_rows

OnDamaged = Literal["warn", "raise", "ignore"]

_MAX_LINES = 20


class DamagedRun(NamedTuple):
    """A run that could not be read: its file, and the error that says why in one line."""

    path: Path
    error: WattlawError

    @property
    def reason(self) -> str:
        """One line that names the file and says what is wrong."""
        return str(self.error)

    @property
    def note(self) -> Note:
        """The named warning."""
        return Note("damaged_run", f"left out: {self.reason}")


class Runs(list[Run]):
    """Runs in the sorted order of their folders; runs that are only in an index come last.

    damaged     the runs that could not be read, each with its reason
    unfinished  folders of trials that have started and have no summary (yet)
    """

    def __init__(
        self,
        runs: Iterable[Run] = (),
        damaged: Iterable[DamagedRun] = (),
        unfinished: Iterable[Path] = (),
    ) -> None:
        super().__init__(runs)
        self.damaged = tuple(damaged)
        self.unfinished = tuple(unfinished)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The damaged runs as named warnings, for ``--json`` and the report."""
        return tuple(d.note for d in self.damaged)


class StoredRun(NamedTuple):
    """A run, the index row or summary that it was read from, and the folder of its sweep."""

    run: Run
    row: IndexRow
    sweep: str


def load_runs(path: str | os.PathLike[str], *, on_damaged: OnDamaged = "warn") -> Runs:
    """Return the runs under ``path``: the folder of all runs, of one sweep or trial, or an index.

    Where there is an index (and pyarrow to read it), a trial whose summary still has the time and
    length in the index is read from the index; every other trial is read from its folder.

    A run that is damaged or of a newer format is skipped and listed in ``damaged``. With "warn" the
    log "wattlaw" names it in one line, which Python prints to stderr; with "raise" it is an error;
    with "ignore" nothing is logged. A folder without runs gives an empty list.

    Raises RecordError if there is no such folder or it cannot be listed.
    """
    found = find_trials(Path(path))
    placed: list[tuple[str, str, Run]] = []
    damaged: list[DamagedRun] = []
    for stored in read_trials(found):
        if isinstance(stored, StoredRun):
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


def find_trials(path: Path) -> Walked:
    """Find the trials under a folder; an index.parquet alone is accepted too."""
    if path.name == INDEX and path.is_file():
        return Walked({}, [], [str(path.parent)], [])
    return walk(path)


def read_trials(found: Walked) -> Iterator[StoredRun | DamagedRun]:
    """Read the trials: from the indexes if they are up to date, from the folders otherwise."""
    pool = _TextPool()
    for folder, reason in found.unreadable:
        yield DamagedRun(Path(folder), RecordError(reason))
    waiting = dict(found.stamps)
    sweeps = set(map(os.path.dirname, (*found.stamps, *found.unfinished)))
    for sweep in found.indexed:
        for row in _index_rows(Path(sweep, INDEX), sweep in sweeps):
            if isinstance(row, DamagedRun):
                yield row
            elif _is_current(row, sweep, waiting, sweep in sweeps):
                path = f"{sweep}/{row.folder}/{SUMMARY}" if row.folder else f"{sweep}/{INDEX}"
                yield _decoded(path, sweep, row, pool)
    for trial in waiting:
        yield _from_folder(trial, pool)


def _index_rows(index: Path, beside_folders: bool) -> Iterator[IndexRow | DamagedRun]:
    if not can_use_index() and beside_folders:
        return  # an index beside trial folders only saves time
    try:
        yield from read_rows(index)
    except (RecordError, MissingPartError) as error:
        yield DamagedRun(index, error)


def _is_current(
    row: IndexRow, sweep: str, waiting: dict[str, tuple[int, int]], beside_folders: bool
) -> bool:
    """Return whether a row has the run as it is now, and remove its trial from those to read.

    Rows without a folder were imported. An index that was moved away from its folders is used as it
    is.
    """
    if not row.folder or not beside_folders:
        return True
    trial = f"{sweep}/{row.folder}"
    if waiting.get(trial) != (row.mtime_ns, row.size):
        return False
    del waiting[trial]
    return True


def _from_folder(trial: str, pool: _TextPool) -> StoredRun | DamagedRun:
    summary = f"{trial}/{SUMMARY}"
    try:
        with open(summary, "rb") as file:
            stat = os.fstat(file.fileno())
            data = file.read()
    except OSError as error:
        return DamagedRun(Path(summary), RecordError(why(error, Path(summary), "read")))
    sweep, folder = os.path.split(trial)
    row = IndexRow(folder, stat.st_mtime_ns, stat.st_size, data)
    return _decoded(summary, sweep, row, pool)


def _decoded(path: str, sweep: str, row: IndexRow, pool: _TextPool) -> StoredRun | DamagedRun:
    try:
        return StoredRun(pool.share(decode_run(row.summary, path)), row, sweep)
    except RecordError as error:
        return DamagedRun(Path(path), error)


class _TextPool:
    """Shares equal texts and equal missing readings among many runs, which halves the memory."""

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
    for note in runs.notes[:_MAX_LINES]:
        log.warning("warning: %s", note.message)
    if len(runs.damaged) > _MAX_LINES:
        log.warning("warning: left out: %d more damaged runs", len(runs.damaged) - _MAX_LINES)
