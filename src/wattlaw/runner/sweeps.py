"""Runs the trials of a sweep one after another; what is done stays done, whatever happens in between."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path
from typing import Protocol

import msgspec

from wattlaw.core.errors import DamagedRunError, NewerFormatError, RecordError, UsageError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.folder import SUMMARY, SWEEP, read_run
from wattlaw.core.polling import wait_until
from wattlaw.core.run import Run
from wattlaw.core.sweepfile import Trial
from wattlaw.runner.plan import Plan
from wattlaw.runner.trial import run_trial

LOCK = ".running"
_CANCEL_S = 20.0


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


def carry_out(
    plan: Plan, folder: Path, source: bytes, watcher: Watcher | None = None, is_retry: bool = False
) -> list[Run]:
    """Run the trials that are not done and return their records, in the order in which they ran.

    ``source`` is the sweep's file, kept beside the runs. ``is_retry`` runs failed trials again as well.
    Raises RecordError where another process runs this sweep already. KeyboardInterrupt leaves every finished
    trial on disk.
    """
    watcher = watcher or Silent()
    make_folder(folder)
    runs: list[Run] = []
    with locked(folder):
        write_whole(folder / SWEEP, source)
        # only now is it certain that nobody else finishes one of them
        for trial in undone(plan, folder, is_retry):
            if runs and plan.sweep.cooldown_s:
                time.sleep(plan.sweep.cooldown_s)
            watcher.begin(trial)
            _set_aside(folder / trial.id)
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


def undone(plan: Plan, folder: Path, is_retry: bool = False) -> list[Trial]:
    """Return the trials that have no result yet; with ``is_retry`` the failed ones too.

    A damaged summary is no result. One of a newer format is: it must not be overwritten.
    """
    return [t for t in plan.trials if _is_undone(folder / t.id / SUMMARY, is_retry)]


def _is_undone(summary: Path, is_retry: bool) -> bool:
    with explained(summary, "read"):
        if not summary.exists():
            return True
    try:
        return read_run(summary).state == "failed" and is_retry
    except DamagedRunError:
        return True
    except NewerFormatError:
        return False


def _set_aside(trial: Path) -> None:
    """Rename an earlier result of a trial, so that it is kept but no longer counts."""
    summary = trial / SUMMARY
    if summary.exists():
        with explained(summary):
            summary.rename(
                summary.with_name(f"earlier-{len(list(trial.glob('earlier-*.json'))) + 1}.json")
            )


class Holder(msgspec.Struct, frozen=True):
    """The process that runs a sweep: its host and its number there."""

    host: str
    pid: int


def cancel(folder: Path) -> Holder:
    """Stop the process that runs a sweep, and wait until it has let go of it; return who that was.

    Raises UsageError where none runs it or it runs on another host, RecordError where it does not end.
    """
    holder = running(folder)
    if holder is None:
        raise UsageError(f"no process runs the sweep in {folder}")
    if holder.host != socket.gethostname():
        raise UsageError(
            f"process {holder.pid} of {holder.host} runs the sweep in {folder}; cancel it there"
        )
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGTERM)
    if not wait_until(lambda: not running(folder), _CANCEL_S, every_s=0.1):
        raise RecordError(
            f"process {holder.pid} was asked to stop the sweep in {folder}, but has not"
        )
    return holder


def running(folder: Path) -> Holder | None:
    """Return the process that runs a sweep, or None."""
    try:
        with open(folder / LOCK, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return msgspec.json.decode(file.read(), type=Holder)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise RecordError(f"cannot tell who runs the sweep in {folder}: {error}") from None
    return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder for this process. The kernel lets go of it when the process ends, however it ends."""
    with explained(folder / LOCK):
        file = open(folder / LOCK, "ab")  # noqa: SIM115
    with file:
        _lock(file, folder)
        file.truncate(0)
        file.write(msgspec.json.encode(Holder(socket.gethostname(), os.getpid())))
        file.flush()
        yield


def _lock(file: BufferedWriter, folder: Path) -> None:
    # whoever only looks holds it for a moment: try again before calling it taken
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.05)
    holder = running(folder)
    who = f"process {holder.pid} of {holder.host}" if holder else "another process"
    raise RecordError(f"{who} runs the sweep in {folder} already; see `wattlaw sweep status`")
