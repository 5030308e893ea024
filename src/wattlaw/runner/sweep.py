"""Runs the trials of a sweep one after another; what is done stays done, whatever happens in between."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from wattlaw.core.errors import RecordError, UsageError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.folder import SUMMARY, SWEEP, read_run
from wattlaw.core.run import Run
from wattlaw.core.sweepfile import Trial
from wattlaw.runner.plan import Plan
from wattlaw.runner.trial import run_trial

LOCK = ".running"


class Watcher(Protocol):
    """Is told how a sweep goes on."""

    def begin(self, trial: Trial) -> None: ...

    def tick(self, attempt: Path) -> None: ...

    def end(self, trial: Trial, run: Run) -> None: ...


class Silent:
    """A watcher that shows nothing."""

    def begin(self, trial: Trial) -> None:
        return

    def tick(self, attempt: Path) -> None:
        return

    def end(self, trial: Trial, run: Run) -> None:
        return


def carry_out(plan: Plan, folder: Path, source: bytes, watcher: Watcher | None = None) -> list[Run]:
    """Run the trials that are left and return their records, in the order in which they ran.

    ``source`` is the sweep's file, kept beside the runs. Raises RecordError where another process runs this
    sweep already. KeyboardInterrupt leaves every finished trial on disk.
    """
    watcher = watcher or Silent()
    make_folder(folder)
    runs: list[Run] = []
    with locked(folder):
        write_whole(folder / SWEEP, source)
        for trial in plan.left:
            if runs and plan.sweep.cooldown_s:
                time.sleep(plan.sweep.cooldown_s)
            watcher.begin(trial)
            run = run_trial(
                trial,
                folder,
                sweep=plan.sweep.name,
                hz=plan.sweep.hz,
                time_limit_s=plan.sweep.time_limit_s,
                tick=watcher.tick,
            )
            watcher.end(trial, run)
            runs.append(run)
    return runs


def forget_failed(folder: Path) -> list[str]:
    """Make failed trials run again: rename their summaries so that they count as undone; return their ids."""
    forgotten = []
    for summary in sorted(folder.glob(f"*/{SUMMARY}")):
        run = read_run(summary)
        if run.state == "failed":
            with explained(summary):
                summary.rename(summary.with_name(f"failed-{run.attempt}.json"))
            forgotten.append(run.trial)
    return forgotten


def cancel(folder: Path) -> int:
    """Stop the process that runs a sweep as Ctrl-C would; return its pid. Raises UsageError where none does."""
    pid = running(folder)
    if pid is None:
        raise UsageError(f"no process runs the sweep in {folder}")
    os.kill(pid, signal.SIGINT)
    return pid


def running(folder: Path) -> int | None:
    """Return the pid of the process that runs a sweep on this machine, or None."""
    try:
        with open(folder / LOCK, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder for this process. The kernel lets go of it when the process ends, however it ends."""
    with explained(folder / LOCK):
        file = open(folder / LOCK, "ab")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordError(
                f"process {running(folder)} runs the sweep in {folder} already; see `wattlaw sweep status`"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
