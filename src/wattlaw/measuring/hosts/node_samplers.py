"""One sampler on each node of a Slurm allocation, for commands that `srun` starts from outside a step.

Where limits are asked for, each node's sampler sets, reads back and records those of its own job's devices, under a
guard of its own (see node_guard.py).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DeviceError, PermissionDeniedError, SettingError, WattlawError
from wattlaw.core.files import write_whole
from wattlaw.measuring.files.host_files import host_name
from wattlaw.measuring.limits.gpu_freq import (
    check_not_given,
    tell_asked,
    with_gpu_freq,
    write_read_back,
)
from wattlaw.measuring.limits.limits import CLOCKS, given
from wattlaw.measuring.sampling.clock_offsets import clock_served
from wattlaw.measuring.sampling.sampler_process import (
    REFUSED,
    Refusal,
    Spec,
    answer_line,
    environment_of_sampler,
)
from wattlaw.slurm.environment import job_id, nodes_of_job

_START_S = 60.0
_ANSWER_S = 10.0
_END_S = 30.0

_OF_USERS_STEPS = (
    "SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_GPU_BIND", "SLURM_GPU_FREQ", "SLURM_NTASKS_PER_NODE",
    "SLURM_NTASKS_PER_GPU", "SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK", "SLURM_LABELIO", "SLURM_EXACT",
    "SLURM_DISTRIBUTION", "SLURM_STEP_GRES",
)  # fmt: skip
"""What srun takes from a job's environment for the user's steps; it must not shape the samplers' own step."""

_ERRORS: dict[str, type[WattlawError]] = {
    kind.__name__: kind for kind in (DeviceError, PermissionDeniedError, SettingError)
}


class RefusedError(Exception):
    """Limits that nodes refused: their names, and the plain error to raise where there is no other way."""

    def __init__(self, controls: set[str], error: WattlawError) -> None:
        super().__init__(str(error))
        self.controls, self.error = controls, error


class NodeSamplers:
    """Samplers that a step of their own runs, beside the job's step, on every node of the allocation.

    What is written to the step's standard input reaches every one of them.
    """

    def __init__(
        self,
        folder: Path,
        hz: float,
        gpus: tuple[str, ...] | None,
        limits: Mapping[str, float] | None = None,
        apart: tuple[int, ...] = (),
    ) -> None:
        self.folder = folder.absolute()
        self.spec = Spec(folder=str(self.folder), root_pid=0, parent=0, hz=hz, gpus=gpus, slurm_job=job_id(),
                         limits=dict(limits or {}), measurer=(host_name(), (os.getpid(), *apart)))  # fmt: skip
        self.nodes = nodes_of_job()
        self.process: subprocess.Popen[bytes] | None = None
        self.refusals: list[Refusal] = []

    def start(self) -> None:
        """Start them and wait for the first readings of all.

        Raises DeviceError with what srun said, RefusedError where a limit was refused; then none runs any more.
        """
        path = self.folder / ".samplers.json"
        write_whole(path, msgspec.json.encode(self.spec))
        self.process = subprocess.Popen(
            [
                *_step(self.nodes),
                sys.executable,
                "-m",
                "wattlaw.measuring.limits.node_guard",
                str(path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        ready = self._answers(b"ready", _START_S)
        path.unlink(missing_ok=True)
        if self.refusals:
            self._end()
            raise _refused(self.refusals)
        if ready < self.nodes:
            said = self._end()
            raise DeviceError(
                f"no sampler could be started on every node: {said[-1] if said else 'srun said nothing'}"
            )

    def edge(self) -> float:
        """Have every node read now; return this moment, s on this host's monotonic clock."""
        now = time.monotonic()
        self._tell(b"edge\n")
        self._answers(b"edge", _ANSWER_S)
        return now

    def stop(self) -> None:
        """Take the last readings and end. Raises DeviceError where a limit could not be put back."""
        if self.process is None:
            return
        self._tell(b"stop\n")
        self._answers(b"stopped", _ANSWER_S)
        failed = [line for line in self._end() if "could not be put back" in line]
        if failed:
            raise DeviceError(
                f"{'; '.join(failed)}; `wattlaw doctor` shows it there".removeprefix("wattlaw: ")
            )

    def _end(self) -> list[str]:
        """Close the samplers' input, wait until their guards are done, and return what they said."""
        assert self.process is not None
        try:
            errors = self.process.communicate(timeout=_END_S if self.spec.limits else _ANSWER_S)[1]
        except subprocess.TimeoutExpired:
            self.process.terminate()  # srun passes it on; a guard puts back what it holds
            try:
                errors = self.process.communicate(timeout=_ANSWER_S)[1]
            except subprocess.TimeoutExpired:
                self.process.kill()
                errors = self.process.communicate()[1]
        anew = (
            _put_back_anew(self.nodes) if self.process.returncode < 0 and self.spec.limits else []
        )
        return [*errors.decode(errors="replace").strip().splitlines(), *anew]

    def _tell(self, word: bytes) -> None:
        if self.process is not None and self.process.stdin is not None:
            try:
                os.write(self.process.stdin.fileno(), word)
            except BrokenPipeError:
                return  # the samplers are gone; the summary says so

    def _answers(self, word: bytes, seconds: float) -> int:
        """Return how many nodes answered with a word in time; those that refused a limit are noted beside."""
        assert self.process is not None
        assert self.process.stdout is not None
        found, until = 0, time.monotonic() + seconds
        while found + len(self.refusals) < self.nodes and time.monotonic() < until:
            line = answer_line(self.process.stdout.fileno(), until - time.monotonic())
            if not line and self.process.poll() is not None:
                break
            if line.startswith(REFUSED):
                self.refusals.append(msgspec.json.decode(line.removeprefix(REFUSED), type=Refusal))
            found += line == word
        return found


def start_samplers(
    words: Sequence[str],
    attempt: Path,
    hz: float,
    gpus: tuple[str, ...] | None = None,
    limits: Mapping[str, float | None] | None = None,
    apart: tuple[int, ...] = (),
) -> tuple[NodeSamplers, list[str]]:
    """Start the samplers of every node for a command of srun; return them and the command to run.

    Clocks that NVML sets nowhere, for want of permission or of NVML, are asked of Slurm instead: the command
    then carries `--gpu-freq`. ``apart`` are processes of this host that are no part of the job.
    Raises UsageError, SettingError, PermissionDeniedError or DeviceError.
    """
    asked = given(limits or {})
    clocks = {name: value for name, value in asked.items() if name in CLOCKS}
    if clocks:
        check_not_given(words)
    samplers = NodeSamplers(attempt, hz, gpus, asked, apart)
    try:
        samplers.start()
        return samplers, list(words)
    except RefusedError as refused:
        if not refused.controls <= clocks.keys() or isinstance(refused.error, SettingError):
            raise refused.error from None
    rest = {name: value for name, value in asked.items() if name not in clocks}
    samplers = NodeSamplers(attempt, hz, gpus, rest, apart)
    try:
        samplers.start()
    except RefusedError as refused:
        raise refused.error from None
    tell_asked(attempt, clocks)
    return samplers, with_gpu_freq(words, clocks)


@contextlib.contextmanager
def sampled_step(
    words: Sequence[str], attempt: Path, hz: float, limits: Mapping[str, float | None]
) -> Iterator[list[str]]:
    """Sample every node, and hold limits there, as long as the context lasts; yields the command to run."""
    with clock_served(attempt) if nodes_of_job() > 1 else contextlib.nullcontext():
        samplers, started = start_samplers(words, attempt, hz, None, limits)
        try:
            samplers.edge()
            yield started
        finally:
            samplers.stop()
            write_read_back(attempt)


def _step(nodes: int) -> list[str]:
    words = [
        "srun",
        "--overlap",
        "--input=all",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
    ]
    if "SLURM_GPUS_PER_TASK" in os.environ and os.environ.get("SLURM_GPUS_ON_NODE", "").isdigit():
        # one task a node would be given one task's GPUs only, not all that the job has there
        words.append(f"--gres=gpu:{os.environ['SLURM_GPUS_ON_NODE']}")
    return [*words, "--mem=0"]


def _put_back_anew(nodes: int) -> list[str]:
    """Put limits back on every node by a step of its own: where srun is killed, Slurm kills the nodes' guards too."""
    done = subprocess.run(
        [*_step(nodes), sys.executable, "-m", "wattlaw.measuring.limits.node_guard"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=_environment(),
        timeout=_START_S,
        check=False,
    )
    return done.stderr.strip().splitlines() if done.returncode else []


def _environment() -> dict[str, str]:
    return {k: v for k, v in environment_of_sampler().items() if k not in _OF_USERS_STEPS}


def _refused(refusals: Sequence[Refusal]) -> RefusedError:
    first = refusals[0]
    texts = list(dict.fromkeys(r.text for r in refusals))
    hosts = ", ".join(sorted({r.host for r in refusals}))
    return RefusedError(
        {r.control for r in refusals}, _ERRORS[first.kind](f"{'; '.join(texts)} (node {hosts})")
    )
