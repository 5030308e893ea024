"""Writes the indexes: of trials that lie in folders, and of runs that an importer read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import RecordError
from wattlaw.core.files import make_folder
from wattlaw.core.folder import INDEX, SUMMARY
from wattlaw.core.reading import Note
from wattlaw.core.run import Run, encode_run
from wattlaw.records.index import Row, installed, write_rows
from wattlaw.records.load import Damaged, Stored, every, look


class Compacted(NamedTuple):
    """An index that was written, how many runs it holds, and those that were left out.

    ``replaced`` are the imported runs whose place was taken by others of the same name.
    """

    path: Path
    runs: int
    damaged: tuple[Damaged, ...] = ()
    replaced: int = 0

    @property
    def notes(self) -> tuple[Note, ...]:
        """Those left out as named warnings."""
        return tuple(d.note for d in self.damaged)


def compact(path: str | Path) -> list[Compacted]:
    """Write the index of every sweep under ``path`` anew; one by one, each by rename.

    The folders stay as they are: an index only makes reading fast. What an importer wrote is kept.
    Raises MissingPartError without pyarrow, RecordError where a folder cannot be read or written.
    """
    path = Path(path)
    found = look(path.parent if (path / SUMMARY).is_file() else path)
    homes = {*found.indexed, *(os.path.dirname(trial) for trial in found.stamps)}
    return [_compact_one(Path(home)) for home in sorted(homes)]


def keep_index(sweep: str | Path) -> None:
    """Write the index of a sweep where pyarrow is installed; an index that cannot be written is only a warning."""
    if not installed():
        return
    try:
        compact(sweep)
    except RecordError as error:
        logging.getLogger("wattlaw").warning("warning: no index was written: %s", error)


def write_index(folder: str | Path, runs: Iterable[Run]) -> Compacted:
    """Add imported runs to the index of ``folder``, which is made where there is none.

    A run takes the place of one imported earlier under the same name (``Run.trial``).
    Raises RecordError where two of ``runs`` have one name, or the folder cannot be written.
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


def _compact_one(home: Path, new: dict[str, Run] | None = None) -> Compacted:
    damaged: list[Damaged] = []
    replaced: list[Run] = []
    rows = write_rows(home / INDEX, _pairs(home, new or {}, damaged, replaced))
    return Compacted(home / INDEX, rows, tuple(damaged), len(replaced))


def _pairs(
    home: Path, new: dict[str, Run], damaged: list[Damaged], replaced: list[Run]
) -> Iterator[tuple[Run, Row]]:
    for stored in every(look(home)):
        if isinstance(stored, Damaged):
            damaged.append(stored)
        elif stored.sweep == str(home) and _is_kept(stored, new):
            yield stored.run, stored.row
        elif stored.sweep == str(home) and new.get(stored.run.trial, stored.run) != stored.run:
            replaced.append(stored.run)
    for run in new.values():
        yield run, Row("", 0, 0, encode_run(run))


def _is_kept(stored: Stored, new: dict[str, Run]) -> bool:
    if not stored.row.folder:
        return stored.run.trial not in new
    try:
        stored.row.summary.decode()
    except (
        UnicodeDecodeError
    ):  # an unknown field holds bytes that are no text: its folder keeps them
        return False
    return True
