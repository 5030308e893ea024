"""Which process carries out which trial. They agree on it only through the sweep's folder.

    <sweep>/.runners/<name>.json              a process that works on the sweep: a *runner*
    <sweep>/<trial>/attempt-<k>/.claim.json   the runner of this attempt; deleted when it ends

A runner claims a trial by renaming a folder that holds its claim to the trial's next attempt. A
folder is never renamed onto one that has files, so if several runners try, one succeeds, also on a
network file system; file locks are not reliable there. A claim holds as long as its runner lives:

- on the same machine, as long as the process exists;
- elsewhere, as long as the runner touches its file (every ``BEAT_S``), and ``LOST_S``
  longer; for a Slurm job that is ``LATE_S`` late, until Slurm says that the job has ended;
- a runner of a requeued Slurm job replaces the runner of the same job before the requeue.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.process_identity import machine_id, start_ticks
from wattlaw.core.run_environment import utc_now
from wattlaw.core.run_folder import attempts
from wattlaw.slurm.job_environment import job_id, restart_count
from wattlaw.slurm.queue import is_active

RUNNERS = ".runners"
CLAIM = ".claim.json"

BEAT_S = 15.0
"""A runner touches its file this often, s."""

LATE_S = 60.0
"""After this time without a touch Slurm is asked about the runner's job, s."""

LOST_S = 180.0
"""A runner on another machine is considered dead after this time without a touch, s.

Longer than a network file system may show old times (60 s with NFS's defaults)."""


class Runner(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A process that works on a sweep, and the trial that it carries out.

    name            of its file
    machine         boot and process namespace, within which ``pid`` and ``start_ticks`` name it
    slurm_job       number of the Slurm job that it belongs to, and how often that was requeued
    cores, gpus     cores that it may use, and its CUDA_VISIBLE_DEVICES ("" if that is not set)
    since           when the process began to work on the sweep, or on ``trial``, UTC
    trial, attempt  what it carries out; "" and 0 between trials
    """

    name: str
    host: str
    machine: str
    pid: int
    start_ticks: int
    slurm_job: str = ""
    slurm_restarts: int = 0
    cores: tuple[int, ...] = ()
    gpus: str = ""
    since: str = ""
    trial: str = ""
    attempt: int = 0

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, where its process can be seen and signalled."""
        return bool(self.machine) and self.machine == machine_id()

    def shares_devices(self, other: Runner) -> bool:
        """Return whether trials of both may disturb each other: same machine, cores and GPUs."""
        if self.machine != other.machine or set(self.cores).isdisjoint(other.cores):
            return False
        own, others = self.gpus.split(","), other.gpus.split(",")
        return not (self.gpus and other.gpus) or not set(own).isdisjoint(others)

    def __str__(self) -> str:
        job = f" (Slurm job {self.slurm_job})" if self.slurm_job else ""
        return f"process {self.pid} of {self.host}{job}"


class Claims:
    """The claims of one runner. ``joined`` makes it and ends it."""

    def __init__(self, folder: Path, runner: Runner) -> None:
        self.folder, self.runner = folder, runner
        self.path = folder / RUNNERS / f"{runner.name}.json"

    def show_idle(self) -> None:
        """Show the others that this runner carries out no trial."""
        self._show(self.runner)

    def _show(self, runner: Runner) -> None:
        beside = self.path.with_suffix(".part")
        with contextlib.suppress(OSError):  # for others to look at: no reason to stop a trial
            beside.write_bytes(msgspec.json.encode(runner))
            os.replace(beside, self.path)

    def claim(self, trial: Path, is_left: Callable[[], bool]) -> Path | None:
        """Return a new attempt folder of a trial, claimed for this runner.

        None if ``is_left`` says that nothing is left to do, or another runner carries out the
        trial. Raises RecordError if the folder cannot be written.
        """
        make_folder(trial)
        known = attempts(trial)
        # in this order: a trial that ends after its attempts were listed has a newer attempt
        if (known and holder_of(known[-1])) or not is_left():
            return None
        number = int(known[-1].name.removeprefix("attempt-")) + 1 if known else 1
        attempt = trial / f"attempt-{number}"
        if not self._create(attempt):
            return None
        if not is_left():  # a network file system may have shown old entries until now
            shutil.rmtree(attempt, ignore_errors=True)
            return None
        self._show(self._with_trial(attempt))
        return attempt

    def _with_trial(self, attempt: Path) -> Runner:
        number = int(attempt.name.removeprefix("attempt-"))
        return msgspec.structs.replace(
            self.runner, trial=attempt.parent.name, attempt=number, since=utc_now()
        )

    def _create(self, attempt: Path) -> bool:
        beside = attempt.with_name(f".{attempt.name}-{os.urandom(4).hex()}")
        try:
            with explained(attempt):
                beside.mkdir()
                (beside / CLAIM).write_bytes(msgspec.json.encode(self.runner))
                is_renamed = _rename_unless_taken(beside, attempt)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        if not is_renamed:
            shutil.rmtree(beside, ignore_errors=True)
        # read back: a network file system may report a rename as failed that has succeeded
        found = _read(attempt / CLAIM)
        return found is not None and found.name == self.runner.name

    def release(self, attempt: Path) -> None:
        """Give up a claim; the trial is undone unless its summary is there."""
        with contextlib.suppress(OSError):
            (attempt / CLAIM).unlink()

    def alive(self) -> list[Runner]:
        """Return the other runners of the sweep that are alive."""
        return [r for r in runners(self.folder) if r.name != self.runner.name]


def neighbours(attempt: Path) -> list[Runner]:
    """Return the runners that carry out other trials of the sweep on the same devices right now."""
    folder, trial = attempt.parent.parent, attempt.parent.name
    alive = runners(folder)
    own = [runner for runner in alive if runner.trial == trial]
    others = [runner for runner in alive if runner.trial not in ("", trial)]
    return [other for other in others if own and own[0].shares_devices(other)]


def is_latest(attempt: Path) -> bool:
    """Return whether no newer attempt exists: whether no other runner has taken over the trial."""
    return attempts(attempt.parent)[-1] == attempt


def _rename_unless_taken(folder: Path, to: Path) -> bool:
    try:
        os.rename(folder, to)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT):
            raise
        return False
    return True


@contextlib.contextmanager
def joined(folder: Path) -> Iterator[Claims]:
    """Register this process as a runner of a sweep as long as the context lasts.

    Raises RecordError if the folder cannot be written.
    """
    pid, host = os.getpid(), socket.gethostname()
    runner = Runner(
        name=f"{host}-{pid}-{os.urandom(4).hex()}",
        host=host,
        machine=machine_id(),
        pid=pid,
        start_ticks=start_ticks(pid),
        slurm_job=job_id(),
        slurm_restarts=restart_count(),
        cores=tuple(sorted(os.sched_getaffinity(0))),
        gpus=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        since=utc_now(),
    )
    _delete_dead(make_folder(folder / RUNNERS))
    claims = Claims(folder, runner)
    write_whole(claims.path, msgspec.json.encode(runner))
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(claims, ended), daemon=True)
    beats.start()
    try:
        yield claims
    finally:
        ended.set()
        beats.join()
        claims.path.unlink(missing_ok=True)


def _beat(claims: Claims, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        try:
            os.utime(claims.path)
        except FileNotFoundError:
            # another runner took this one for dead, for example while it was suspended
            claims.show_idle()
        except OSError:
            continue  # the file system may be back at the next beat


def _delete_dead(place: Path) -> None:
    for path in place.glob("*.json"):
        if not _is_alive(path):
            path.unlink(missing_ok=True)


def runners(folder: Path) -> list[Runner]:
    """Return the runners of a sweep that are alive, by name. Raises RecordError."""
    place = folder / RUNNERS
    with explained(place, "read"):
        paths = sorted(place.glob("*.json"))
    alive = [path for path in paths if _is_alive(path)]
    return [runner for path in alive if (runner := _read(path))]


def holder_of(attempt: Path) -> Runner | None:
    """Return the runner that carries out an attempt; None if none does."""
    claim = _read(attempt / CLAIM)
    if claim is None:
        return None
    file = attempt.parent.parent / RUNNERS / f"{claim.name}.json"
    return claim if _is_alive(file) else None


def _read(path: Path) -> Runner | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Runner)
    except (OSError, msgspec.MsgspecError):
        return None


def _is_alive(path: Path) -> bool:
    """Return whether the runner of a file lives. The file of a runner that has ended is deleted."""
    try:
        with open(path, "rb") as file:  # opening it has NFS look up the current time of change
            runner = msgspec.json.decode(file.read(), type=Runner)
            touched_s = os.fstat(file.fileno()).st_mtime
    except (OSError, msgspec.MsgspecError):
        return False
    if runner.is_here and not _is_hidden(runner.pid):
        return start_ticks(runner.pid) == runner.start_ticks
    if (
        runner.slurm_job
        and runner.slurm_job == job_id()
        and runner.slurm_restarts < restart_count()
    ):
        return False
    age_s = _now_s(path.parent) - touched_s
    if runner.slurm_job and LATE_S < age_s < LOST_S:
        return _is_job_active(runner.slurm_job, int(time.monotonic() / BEAT_S))
    return age_s < LOST_S


def _is_hidden(pid: int) -> bool:
    """Return whether a process exists but cannot be seen: another user's, with /proc's hidepid."""
    if start_ticks(pid):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _now_s(place: Path) -> float:
    """Return the time by the clock of the file system, s: clocks of other machines may be off."""
    probe = place / f".now-{os.urandom(4).hex()}"
    try:
        probe.touch(exist_ok=False)
        now_s = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # for example without permission to write
        return time.time()
    return now_s


@functools.lru_cache(maxsize=256)
def _is_job_active(job: str, _moment: int) -> bool:
    # asked once per moment: the controller of a large cluster is busy
    return is_active(job) is not False
