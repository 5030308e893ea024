"""Starts the ranks of a trial as processes of this machine, one per device.

torchrun is not used, because it would import torch once more for every trial. A worker reads the
same environment variables, so torchrun or Slurm can start it as well.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

from wattlaw.core.errors import TrialError
from wattlaw.launchers.keeper import Keeper
from wattlaw.launchers.launcher import Exit, Job, Launched, Launcher
from wattlaw.launchers.sessions import end

NAMES = {"local": "Local"}


class Local(Launcher):
    """Ranks as child processes of this one."""

    def launch(self, job: Job) -> Launched:
        return LocalRanks(job)


class LocalRanks(Launched):
    """Child processes, each in its own session so that its children can be ended with it."""

    def __init__(self, job: Job) -> None:
        self._exits: list[Exit] = []
        self._ranks: list[subprocess.Popen[bytes]] = []
        self._stack = contextlib.ExitStack()
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="wattlaw-", ignore_cleanup_errors=True)
        )
        keeper = self._stack.enter_context(Keeper())
        try:
            for rank in range(job.ranks):
                self._ranks.append(_start(job, rank, Path(folder)))
                keeper.keep([self._ranks[-1].pid])
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
        with self._stack:
            end(self.pids())
            for process in self._ranks:
                process.wait()


def _start(job: Job, rank: int, rendezvous: Path) -> subprocess.Popen[bytes]:
    variables = {**os.environ, **job.variables}
    if job.are_ranks:
        count = str(job.ranks)
        variables |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": count,
            "LOCAL_WORLD_SIZE": count,
        }
        variables["WATTLAW_RENDEZVOUS"] = f"file://{rendezvous}/store"
    with open(job.folder / f"output-{rank}.log", "ab") as log:
        return subprocess.Popen(
            list(job.words),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
        )
