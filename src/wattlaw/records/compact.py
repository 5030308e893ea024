"""Writes the indexes: of trials in folders, and of runs that an importer read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import RecordError
from wattlaw.core.files import make_folder
from wattlaw.core.reading import Note
from wattlaw.core.run import Run, encode_run
from wattlaw.core.run_folder import INDEX, SUMMARY
from wattlaw.records.index import IndexRow, can_use_index, write_rows
from wattlaw.records.load import DamagedRun, StoredRun, find_trials, read_trials


class WrittenIndex(NamedTuple):
    """An index that was written, the number of its runs, and the runs that were skipped.

    ``replaced`` counts the imported runs that others of the same name replaced.
    """

    path: Path
    runs: int
    damaged: tuple[DamagedRun, ...] = ()
    replaced: int = 0

    @property
    def notes(self) -> tuple[Note, ...]:
        """The skipped runs as named warnings."""
        return tuple(run.note for run in self.damaged)


def compact(path: str | Path) -> list[WrittenIndex]:
    """Rebuild the index of every sweep under ``path``; each is replaced by rename.

    The folders stay as they are, since an index only makes reading fast. Imported runs are kept.
    Raises MissingPartError without pyarrow, RecordError if a folder cannot be read or written.
    """
    path = Path(path)
    found = find_trials(path.parent if (path / SUMMARY).is_file() else path)
    homes = {*found.indexed, *map(os.path.dirname, found.stamps)}
    return [_compact_one(Path(home)) for home in sorted(homes)]


def keep_index(sweep: str | Path) -> None:
    """Write the index of a sweep if pyarrow is installed; a failure is only a warning."""
    if not can_use_index():
        return
    try:
        compact(sweep)
    except RecordError as error:
        logging.getLogger("wattlaw").warning("warning: no index was written: %s", error)


def write_index(folder: str | Path, runs: Iterable[Run]) -> WrittenIndex:
    """Add imported runs to the index of ``folder``, which is created if there is none.

    A run replaces one that was imported earlier under the same name (``Run.trial``).
    Raises RecordError if two of ``runs`` have the same name, or the folder cannot be written.
    """
    home = make_folder(Path(folder))
    new: dict[str, Run] = {}
    for run in runs:
        if run.trial in new:
            raise RecordError(
                f"two runs are named {run.trial}; give each its own name before they are written"
            )
        new[run.trial] = run
    return _compact_one(home, new)


def _compact_one(home: Path, new: dict[str, Run] | None = None) -> WrittenIndex:
    damaged: list[DamagedRun] = []
    replaced: list[Run] = []
    rows = write_rows(home / INDEX, _runs_to_write(home, new or {}, damaged, replaced))
    return WrittenIndex(home / INDEX, rows, tuple(damaged), len(replaced))


def _runs_to_write(
    home: Path, new: dict[str, Run], damaged: list[DamagedRun], replaced: list[Run]
) -> Iterator[tuple[Run, IndexRow]]:
    for stored in read_trials(find_trials(home)):
        if isinstance(stored, DamagedRun):
            damaged.append(stored)
        elif stored.sweep == str(home) and _is_kept(stored, new):
            yield stored.run, stored.row
        elif stored.sweep == str(home) and new.get(stored.run.trial, stored.run) != stored.run:
            replaced.append(stored.run)
    for run in new.values():
        yield run, IndexRow("", 0, 0, encode_run(run))


def _is_kept(stored: StoredRun, new: dict[str, Run]) -> bool:
    if not stored.row.folder:
        return stored.run.trial not in new
    try:
        stored.row.summary.decode()
    except UnicodeDecodeError:
        return False  # an unknown field holds bytes that are not text: its folder keeps them
    return True
