"""Loads the runs of a folder. A damaged run is named and left out; it stops no other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from wattlaw.core.errors import RecordError
from wattlaw.core.folder import read_run, scan
from wattlaw.core.reading import Note
from wattlaw.core.run import Run

OnDamaged = Literal["warn", "raise", "ignore"]

_MOST_LINES = 20


class Damaged(NamedTuple):
    """A run that could not be read: its file, and one line that says why."""

    path: Path
    reason: str


class Runs(list[Run]):
    """Runs in the order in which their folders sort.

    damaged     those that could not be read, each with its reason
    unfinished  folders of trials that were begun and have no summary (yet)
    """

    def __init__(
        self, runs: Iterable[Run] = (), damaged: Iterable[Damaged] = (), unfinished: Iterable[Path] = ()
    ) -> None:
        super().__init__(runs)
        self.damaged = tuple(damaged)
        self.unfinished = tuple(unfinished)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The damaged runs as named warnings, for ``--json`` and the report."""
        return tuple(Note("damaged-run", f"left out: {d.reason}") for d in self.damaged)


def load_runs(path: str | os.PathLike[str], *, on_damaged: OnDamaged = "warn") -> Runs:
    """Return the runs under ``path``: the folder of all runs, of one sweep, or of one trial.

    A run that is damaged or of a newer format is left out and stands in ``damaged``. With "warn" it is
    also named in one line of the log "wattlaw", which Python prints to stderr; with "raise" it is an
    error; with "ignore" nothing is said. No runs at all are an empty list.

    Raises RecordError where there is no such folder or it cannot be listed.
    """
    found = scan(Path(path))
    runs, damaged = [], [Damaged(folder, reason) for folder, reason in found.unreadable]
    for summary in found.summaries:
        try:
            runs.append(read_run(summary))
        except RecordError as error:
            if on_damaged == "raise":
                raise
            damaged.append(Damaged(summary, str(error)))
    loaded = Runs(runs, damaged, found.unfinished)
    if on_damaged == "warn":
        _warn(loaded)
    return loaded


def _warn(runs: Runs) -> None:
    log = logging.getLogger("wattlaw")
    for note in runs.notes[:_MOST_LINES]:
        log.warning("warning: %s", note.message)
    if len(runs.damaged) > _MOST_LINES:
        log.warning("warning: left out: %d more damaged runs", len(runs.damaged) - _MOST_LINES)
