"""Starts a trial's ranks on this machine, one process a device.

torchrun is not used here: it would import torch once more for every trial. A worker reads the same
environment variables, so torchrun or Slurm may start it as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from wattlaw.core.errors import TrialError
from wattlaw.launchers.launcher import Exit, Job, Launched, Launcher

NAMES = {"local": "Local"}

_PR_SET_PDEATHSIG = 1
_GRACE_S = 3.0
_libc = ctypes.CDLL(None, use_errno=True)


class Local(Launcher):
    """This machine."""

    def launch(self, job: Job) -> Launched:
        return LocalRanks(job)


class LocalRanks(Launched):
    """Ranks as child processes, each in a session of its own so that its children can be ended with it."""

    def __init__(self, job: Job) -> None:
        self._exits: list[Exit] = []
        self._rendezvous = Path(tempfile.mkdtemp(prefix="wattlaw-"))
        self._ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(job.ranks):
                self._ranks.append(_start(job, rank, self._rendezvous))
        except OSError as error:
            self.stop()
            raise TrialError(f"cannot start {job.words[0]!r}: {error.strerror}") from None

    def pids(self) -> list[int]:
        return [p.pid for p in self._ranks]

    def poll(self) -> list[Exit]:
        known = {e.rank for e in self._exits}
        for rank, process in enumerate(self._ranks):
            if rank not in known and process.poll() is not None:
                self._exits.append(Exit(rank, process.returncode, time.monotonic()))
        return self._exits

    def stop(self) -> None:
        families = [_family(p.pid) for p in self._ranks]
        for process in self._ranks:
            _signal_session(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for process in self._ranks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process, family in zip(self._ranks, families, strict=True):
            _signal_session(process.pid, signal.SIGKILL)
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()  # psutil checks the start time, so a reused pid is safe
            process.wait()
        (self._rendezvous / "store").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._rendezvous.rmdir()


def _start(job: Job, rank: int, rendezvous: Path) -> subprocess.Popen[bytes]:
    variables = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(job.ranks),
        "LOCAL_WORLD_SIZE": str(job.ranks),
        "WATTLAW_RENDEZVOUS": f"file://{rendezvous}/store",
        **job.variables,
    }
    with open(job.folder / f"output-{rank}.log", "ab") as log:
        return subprocess.Popen(
            list(job.words),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    # a killed runner takes its ranks with it; SIGTERM lets torchrun end its own children
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _family(pid: int) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def _signal_session(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
