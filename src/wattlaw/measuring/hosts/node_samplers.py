"""Samplers on the nodes of a Slurm allocation, for commands that `srun` starts from outside a step.

If limits are requested, each node's sampler sets, reads back and records those of its own GPUs,
under a guard of its own (see node_guard.py). Clocks that NVML cannot set are requested from Slurm.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import (
    DeviceError,
    PermissionDeniedError,
    SettingError,
    UsageError,
    WattlawError,
)
from wattlaw.core.files import write_whole
from wattlaw.core.helper_process import helper_command, helper_environment
from wattlaw.measuring.files.host_files import host_name
from wattlaw.measuring.limits.limits import CLOCKS, requested
from wattlaw.measuring.reduce.attempt import SLURM_CLOCKS
from wattlaw.measuring.reduce.slurm_clocks import write_read_back
from wattlaw.measuring.sampling.clock_offsets import clock_served
from wattlaw.measuring.sampling.sampler_process import (
    REFUSED,
    Refusal,
    SamplerSpec,
    read_answer,
)
from wattlaw.slurm.job_environment import job_id, nodes_of_job, options_of_srun

_GUARD_MODULE = "wattlaw.measuring.limits.node_guard"

_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 30.0

_VARIABLES_OF_STEPS = (
    "SLURM_GPUS_PER_TASK",
    "SLURM_TRES_PER_TASK",
    "SLURM_GPU_BIND",
    "SLURM_GPU_FREQ",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_NTASKS_PER_GPU",
    "SLURM_CPUS_PER_TASK",
    "SRUN_CPUS_PER_TASK",
    "SLURM_LABELIO",
    "SLURM_EXACT",
    "SLURM_DISTRIBUTION",
    "SLURM_STEP_GRES",
)
"""Defaults of srun for the user's steps; they must not shape the step of the samplers."""

_ERRORS: dict[str, type[WattlawError]] = {
    kind.__name__: kind for kind in (DeviceError, PermissionDeniedError, SettingError)
}


class LimitRefusedError(Exception):
    """Limits that nodes refused: their names, and the error to raise if there is no alternative."""

    def __init__(self, controls: set[str], error: WattlawError) -> None:
        super().__init__(str(error))
        self.controls, self.error = controls, error


class NodeSamplers:
    """Samplers on every node of the allocation, in a separate step, in parallel with the user's.

    What is written to the step's standard input reaches all of them.
    """

    def __init__(
        self,
        folder: Path,
        hz: float,
        gpus: tuple[str, ...] | None,
        limits: Mapping[str, float],
        excluded: tuple[int, ...] = (),
    ) -> None:
        self.folder = folder.absolute()
        self.spec = SamplerSpec(
            folder=str(self.folder),
            root_pid=0,
            parent=0,
            hz=hz,
            gpus=gpus,
            slurm_job=job_id(),
            limits=dict(limits),
            measurer=(host_name(), (os.getpid(), *excluded)),
        )
        self.nodes = nodes_of_job()
        self.process: subprocess.Popen[bytes] | None = None
        self.refusals: list[Refusal] = []

    def start(self) -> None:
        """Start the samplers and wait for the first readings of all.

        Raises DeviceError with srun's message, LimitRefusedError if a limit was refused; then no
        sampler is left running.
        """
        path = self.folder / ".samplers.json"
        write_whole(path, msgspec.json.encode(self.spec))
        self.process = subprocess.Popen(
            [*_srun(self.nodes), *helper_command(_GUARD_MODULE, str(path))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        ready = self._wait_for_answers(b"ready", _START_TIMEOUT_S)
        path.unlink(missing_ok=True)
        if self.refusals:
            self._end()
            raise _refused(self.refusals)
        if ready < self.nodes:
            messages = self._end() or ["srun printed no message"]
            raise DeviceError(f"samplers did not start on every node: {messages[-1]}")

    def edge(self) -> float:
        """Read on every node now; return the time, s on this host's monotonic clock."""
        now = time.monotonic()
        self._send(b"edge\n")
        self._wait_for_answers(b"edge", _ANSWER_TIMEOUT_S)
        return now

    def stop(self) -> None:
        """Take the last readings, end, and write the clocks that Slurm set as they were read back.

        Raises DeviceError if a limit could not be restored.
        """
        if self.process is None:
            return
        self._send(b"stop\n")
        self._wait_for_answers(b"stopped", _ANSWER_TIMEOUT_S)
        failures = [line for line in self._end() if "could not be restored" in line]
        write_read_back(self.folder)
        if failures:
            message = f"{'; '.join(failures)}; `wattlaw doctor` shows it there"
            raise DeviceError(message.removeprefix("wattlaw: "))

    def _end(self) -> list[str]:
        """Close the samplers' input, wait for their guards, and return their stderr's lines."""
        assert self.process is not None
        try:
            timeout_s = _END_TIMEOUT_S if self.spec.limits else _ANSWER_TIMEOUT_S
            stderr = self.process.communicate(timeout=timeout_s)[1]
        except subprocess.TimeoutExpired:
            self.process.terminate()  # srun forwards it, and the guards restore their limits
            try:
                stderr = self.process.communicate(timeout=_ANSWER_TIMEOUT_S)[1]
            except subprocess.TimeoutExpired:
                self.process.kill()
                stderr = self.process.communicate()[1]
        lines = stderr.decode(errors="replace").strip().splitlines()
        if self.process.returncode < 0 and self.spec.limits:
            lines += _restore_in_new_step(self.nodes)
        return lines

    def _send(self, word: bytes) -> None:
        if self.process is None or self.process.stdin is None:
            return
        # if the samplers were killed, the summary has a warning
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), word)

    def _wait_for_answers(self, word: bytes, timeout_s: float) -> int:
        """Return how many nodes answered with a word in time; note those that refused a limit."""
        assert self.process is not None
        assert self.process.stdout is not None
        answers, deadline = 0, time.monotonic() + timeout_s
        while answers + len(self.refusals) < self.nodes and time.monotonic() < deadline:
            line = read_answer(self.process.stdout.fileno(), deadline - time.monotonic())
            if not line and self.process.poll() is not None:
                break
            if line.startswith(REFUSED):
                self.refusals.append(msgspec.json.decode(line.removeprefix(REFUSED), type=Refusal))
            answers += line == word
        return answers


def start_samplers(
    words: Sequence[str],
    attempt: Path,
    hz: float,
    gpus: tuple[str, ...] | None = None,
    limits: Mapping[str, float | None] | None = None,
    excluded: tuple[int, ...] = (),
) -> tuple[NodeSamplers, list[str]]:
    """Start samplers on every node for an srun command; return them and the command to run.

    Clocks that NVML cannot set, without permission or without NVML, are requested from Slurm
    instead: the command then has `--gpu-freq`. ``excluded`` are processes of this host that are not
    part of the job. Raises UsageError, SettingError, PermissionDeniedError or DeviceError.
    """
    values = requested(limits or {})
    clocks = {name: value for name, value in values.items() if name in CLOCKS}
    if clocks:
        check_no_gpu_freq(words)
    samplers = NodeSamplers(attempt, hz, gpus, values, excluded)
    try:
        samplers.start()
        return samplers, list(words)
    except LimitRefusedError as refused:
        if not refused.controls <= clocks.keys() or isinstance(refused.error, SettingError):
            raise refused.error from None
    others = {name: value for name, value in values.items() if name not in clocks}
    samplers = NodeSamplers(attempt, hz, gpus, others, excluded)
    try:
        samplers.start()
    except LimitRefusedError as refused:
        raise refused.error from None
    note_request(attempt, clocks)
    return samplers, with_gpu_freq(words, clocks)


@contextlib.contextmanager
def sampled_step(
    words: Sequence[str], attempt: Path, hz: float, limits: Mapping[str, float | None]
) -> Iterator[list[str]]:
    """Sample every node, with limits, within the context; yields the command to run."""
    with clock_served(attempt) if nodes_of_job() > 1 else contextlib.nullcontext():
        samplers, started = start_samplers(words, attempt, hz, None, limits)
        try:
            samplers.edge()
            yield started
        finally:
            samplers.stop()


def with_gpu_freq(words: Sequence[str], clocks: Mapping[str, float]) -> list[str]:
    """Return an srun command with the option that requests clocks, MHz, from Slurm."""
    parts = []
    if "sm_clock_mhz" in clocks:
        parts.append(f"{clocks['sm_clock_mhz']:.0f}")
    if "memory_clock_mhz" in clocks:
        parts.append(f"memory={clocks['memory_clock_mhz']:.0f}")
    return [words[0], f"--gpu-freq={','.join(parts)}", *words[1:]]


def check_no_gpu_freq(words: Sequence[str]) -> None:
    """Raise UsageError if the user's srun requests clocks already: the two would conflict."""
    options = [o for o in options_of_srun(words) if o.split("=")[0] == "--gpu-freq"]
    if "SLURM_GPU_FREQ" in os.environ:
        options.append(f"SLURM_GPU_FREQ={os.environ['SLURM_GPU_FREQ']}")
    if options:
        raise UsageError(
            f"{options[0]} already requests GPU clocks from Slurm; "
            "remove it, or wattlaw's own clock limits"
        )


def note_request(attempt: Path, clocks: Mapping[str, float]) -> None:
    """Note in an attempt's folder which clocks, MHz, were requested from Slurm."""
    write_whole(attempt / SLURM_CLOCKS, msgspec.json.encode(clocks))


def _srun(nodes: int) -> list[str]:
    """Return the srun that starts one task on every node, in parallel with the user's steps."""
    words = [
        "srun",
        "--overlap",
        "--input=all",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
    ]
    gpus_on_node = os.environ.get("SLURM_GPUS_ON_NODE", "")
    if "SLURM_GPUS_PER_TASK" in os.environ and gpus_on_node.isdigit():
        # without it the one task would get one task's GPUs, not all of the job's
        words.append(f"--gres=gpu:{gpus_on_node}")
    return [*words, "--mem=0"]


def _restore_in_new_step(nodes: int) -> list[str]:
    """Restore limits in a new step on every node: with srun, Slurm kills the nodes' guards too."""
    done = subprocess.run(
        [*_srun(nodes), *helper_command(_GUARD_MODULE)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=_environment(),
        timeout=_START_TIMEOUT_S,
        check=False,
    )
    return done.stderr.strip().splitlines() if done.returncode else []


def _environment() -> dict[str, str]:
    variables = helper_environment()
    return {name: v for name, v in variables.items() if name not in _VARIABLES_OF_STEPS}


def _refused(refusals: Sequence[Refusal]) -> LimitRefusedError:
    texts = list(dict.fromkeys(r.text for r in refusals))
    hosts = ", ".join(sorted({r.host for r in refusals}))
    error = _ERRORS[refusals[0].kind](f"{'; '.join(texts)} (node {hosts})")
    return LimitRefusedError({r.control for r in refusals}, error)
