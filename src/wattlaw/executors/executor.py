"""The role of an executor, and the specification of a trial that it receives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from wattlaw.core.errors import DamagedRunError, NewerFormatError
from wattlaw.core.files import explained
from wattlaw.core.run import Run
from wattlaw.core.run_folder import SUMMARY, read_run
from wattlaw.core.sweepfile import Trial
from wattlaw.executors.claims import Runner

FORMAT = 1
"""Version of SPEC.json that this wattlaw writes."""


class Code(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a trial executes, as it was when the trial was prepared.

    words   the words of a user's command; ``{out}`` stands for the attempt folder
    name    ``package.module:Class`` of a workload
    file    absolute path of the user's source file; "" if there is none or it could not be found
    sha256  hash of that file, hexadecimal
    """

    words: tuple[str, ...] = ()
    name: str = ""
    file: str = ""
    sha256: str = ""


class TrialSpec(msgspec.Struct, frozen=True, kw_only=True):
    """SPEC.json: all that a node needs to carry out one trial. Paths are absolute.

    id            name of the trial's folder
    sweep         name of the sweep, and ``folder``, where its trials are recorded
    hz            readings per second of every meter
    time_limit_s  the trial is stopped and recorded as failed after this time, s; None: no limit
    cooldown_s    pause before the trial if another one has just ended on the same devices, s
    launcher      name of the launcher that starts the trial's ranks
    directory     working directory from which relative paths are resolved
    code          what the trial executes
    checkpoint    folder of the checkpoint to resume from, "" without one; a later one is preferred
    replaces      attempt whose failed result this trial replaces; 0 if there is no result yet
    """

    format: int = FORMAT
    id: str
    trial: Trial
    sweep: str
    folder: str
    hz: float
    time_limit_s: float | None = None
    cooldown_s: float = 0.0
    launcher: str = "local"
    directory: str
    code: Code
    checkpoint: str = ""
    replaces: int = 0

    @property
    def trial_folder(self) -> Path:
        """Folder of the trial's attempts and its summary."""
        return Path(self.folder, self.id)


def result_of(spec: TrialSpec) -> Run | None:
    """Return the result of a trial; None if it has none yet.

    A damaged summary does not count, nor does the failed result that the trial replaces.
    Raises NewerFormatError for a summary of a newer wattlaw, which must not be overwritten.
    """
    summary = spec.trial_folder / SUMMARY
    with explained(summary, "read"):
        if not summary.exists():
            return None
    try:
        run = read_run(summary)
    except DamagedRunError:
        return None
    is_replaced = run.state == "failed" and run.attempt == spec.replaces
    return None if is_replaced else run


def is_left(spec: TrialSpec) -> bool:
    """Return whether a trial has no result yet. One of a newer format is a result."""
    try:
        return result_of(spec) is None
    except NewerFormatError:
        return False


Work = Callable[[TrialSpec, Path], Run | None]
"""Carries out a trial in this process, in an attempt folder that is claimed for it, and records it.

Returns None, and records nothing, if another process has taken over the trial in the meantime."""


class Watcher(Protocol):
    """Receives the events of a sweep, for example to display its progress."""

    def begin(self, trial: Trial) -> None:
        """A trial starts in this process."""

    def tick(self, attempt: Path) -> None:
        """The trial is running; called about twenty times per second with its attempt folder."""

    def end(self, trial: Trial, run: Run) -> None:
        """The trial that started last in this process has ended."""

    def end_elsewhere(self, trial: Trial, run: Run) -> None:
        """A trial has been carried out by another process."""

    def wait(self, runners: Sequence[Runner]) -> None:
        """All remaining trials run in other processes, and this one waits for them."""


class Executor(ABC):
    """Where the trials of one sweep run.

    Executors and trials share nothing but the sweep's folder, so that trials may run on any node
    that sees it. ``work`` carries out a trial in this process; an executor that starts processes
    elsewhere runs ``wattlaw worker SPEC.json`` there instead.
    """

    def __init__(self, folder: Path, work: Work, watcher: Watcher) -> None:
        self.folder, self.work, self.watcher = folder, work, watcher

    @abstractmethod
    def submit(self, specs: Sequence[TrialSpec]) -> list[Run]:
        """Have trials carried out in this order; return the runs that this process has carried out.

        An executor that runs trials in this process returns when every trial has a result; one that
        hands them to a scheduler returns once they are queued. Raises RecordError if the sweep's
        folder cannot be read or written.
        """

    @abstractmethod
    def status(self) -> list[Runner]:
        """Return the processes that work on the sweep, and those that are queued to."""

    @abstractmethod
    def cancel(self) -> list[Runner]:
        """Stop the processes that this executor has started for the sweep, and return them.

        Returns when they have ended; trials that they have not finished stay undone. Raises
        UsageError if there is none, RecordError if one does not end.
        """
