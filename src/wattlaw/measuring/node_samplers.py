"""One sampler on each node of a Slurm allocation, for `wattlaw measure -- srun …`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from wattlaw.core.errors import DeviceError
from wattlaw.core.files import write_whole
from wattlaw.measuring.sampler import Spec, answer_line, environment_of_sampler
from wattlaw.measuring.slurm import job_id, nodes_of_job

_START_S = 60.0
_ANSWER_S = 10.0


class NodeSamplers:
    """Samplers that a step of their own runs, beside the job's step, on every node of the allocation.

    What is written to the step's standard input reaches every one of them.
    """

    def __init__(self, folder: Path, hz: float, gpus: tuple[str, ...] | None) -> None:
        self.folder = folder.absolute()
        self.spec = Spec(folder=str(self.folder), root_pid=0, parent=0, hz=hz, gpus=gpus, slurm_job=job_id())
        self.nodes = nodes_of_job()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start them and wait for the first readings of all. Raises DeviceError with what srun said."""
        path = self.folder / ".samplers.json"
        write_whole(path, msgspec.json.encode(self.spec))
        step = ["srun", "--overlap", "--input=all", f"--nodes={self.nodes}", f"--ntasks={self.nodes}"]
        words = [*step, "--ntasks-per-node=1", "--mem=0", sys.executable, "-m", "wattlaw.measuring.sampler", str(path)]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_of_sampler(),
            start_new_session=True,
        )
        if self._answers(b"ready", _START_S) < self.nodes:
            self.process.kill()
            said = self.process.communicate()[1].decode(errors="replace").strip().splitlines()
            raise DeviceError(f"no sampler could be started on every node: {said[-1] if said else 'srun said nothing'}")
        path.unlink(missing_ok=True)

    def edge(self) -> float:
        """Have every node read now; return this moment, s on this host's monotonic clock."""
        now = time.monotonic()
        self._tell(b"edge\n")
        self._answers(b"edge", _ANSWER_S)
        return now

    def stop(self) -> None:
        """Take the last readings and end."""
        if self.process is None or self.process.poll() is not None:
            return
        self._tell(b"stop\n")
        self._answers(b"stopped", _ANSWER_S)
        try:
            self.process.communicate(timeout=_ANSWER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def _tell(self, word: bytes) -> None:
        if self.process is not None and self.process.stdin is not None:
            try:
                os.write(self.process.stdin.fileno(), word)
            except BrokenPipeError:
                return  # the samplers are gone; the summary says so

    def _answers(self, word: bytes, seconds: float) -> int:
        """Return how many nodes answered with a word in time."""
        assert self.process is not None
        assert self.process.stdout is not None
        found, until = 0, time.monotonic() + seconds
        while found < self.nodes and time.monotonic() < until:
            line = answer_line(self.process.stdout.fileno(), until - time.monotonic())
            if not line and self.process.poll() is not None:
                break
            found += line == word
        return found
