"""The second part of a trial: on the node, in fresh processes, measured.

The other parts are prepare.py, wherever the trial is submitted, and record_trial.py. What happens
when a rank dies is in watch_ranks.py.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import RecordError, WattlawError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.helper_process import helper_command
from wattlaw.core.options import training_options
from wattlaw.core.plugins import LAUNCHERS, load
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.run_environment import Environment, capture, utc_now
from wattlaw.core.run_folder import SUMMARY, write_run
from wattlaw.core.setting import Setting
from wattlaw.executors.claims import Runner, is_latest, neighbours
from wattlaw.executors.executor import TrialSpec
from wattlaw.launchers.launcher import Job, Launcher
from wattlaw.measuring.files.rank_files import StepLog
from wattlaw.measuring.hosts.node_samplers import sampled_step
from wattlaw.measuring.limits.limits import limited
from wattlaw.measuring.sampling.sampler_process import start_sampler
from wattlaw.runner import node_devices
from wattlaw.runner.command.output_steps import OutputSteps
from wattlaw.runner.command.template import words_of
from wattlaw.runner.prepare import check_unchanged
from wattlaw.runner.rank_spec import RankSpec, write_rank_spec
from wattlaw.runner.record_trial import record
from wattlaw.runner.resume import clear_checkpoints, latest_checkpoint
from wattlaw.runner.watch_ranks import Failure, Tick, watch
from wattlaw.slurm.job_environment import starts_step

LIMITS = ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz")


def run_trial(
    spec: TrialSpec, attempt: Path, ticks: Sequence[Tick] = (), is_code_checked: bool = False
) -> Run | None:
    """Carry out a prepared trial in an attempt folder that is claimed for it; record and return it.

    A trial that fails is recorded as failed and raises nothing. ``ticks`` are called with the
    attempt folder about twenty times per second. With ``is_code_checked`` a trial fails if its
    source file has changed since it was prepared. Returns None, and records nothing, if another
    process has taken over the trial in the meantime. KeyboardInterrupt ends the processes and
    leaves the trial undone. Raises RecordError if the folder cannot be written.
    """
    setting, trial_folder = spec.trial.setting, spec.trial_folder
    _set_aside_result(trial_folder)
    others = neighbours(attempt)
    started, clock = utc_now(), time.monotonic()
    _write_json(attempt / "setting.json", setting)
    _write_json(attempt / "environment.json", _environment())
    failure = _carry_out(spec, attempt, ticks, is_code_checked)
    if failure:
        write_whole(attempt / "error.txt", failure.text.encode())
    trial_s = time.monotonic() - clock
    others += neighbours(attempt)
    run = record(spec, attempt, started, trial_s, failure)
    if others:
        run = msgspec.structs.replace(run, warnings=(*run.warnings, _disturbed(others[0])))
    if not is_latest(attempt):
        return None
    write_run(trial_folder, run)
    if not failure:
        clear_checkpoints(trial_folder)
    return run


def _disturbed(other: Runner) -> Note:
    return Note("trials_side_by_side", f"{other} ran another trial on the same devices")


def _set_aside_result(trial: Path) -> None:
    """Rename an earlier result of a trial, so that it is kept but no longer counts."""
    summary = trial / SUMMARY
    if summary.exists():
        number = len(list(trial.glob("earlier-*.json"))) + 1
        with explained(summary):
            summary.rename(summary.with_name(f"earlier-{number}.json"))


def _write_json(path: Path, value: msgspec.Struct) -> None:
    write_whole(path, msgspec.json.format(msgspec.json.encode(value), indent=1))


def _environment() -> Environment:
    global _captured
    # only the moment changes between the trials of one sweep
    if _captured is None:
        _captured = capture()
    return msgspec.structs.replace(_captured, clock=(time.monotonic(), utc_now()))


_captured: Environment | None = None


def _carry_out(
    spec: TrialSpec, attempt: Path, ticks: Sequence[Tick], is_code_checked: bool
) -> Failure | None:
    """Start the ranks of a trial between sampler and limits; return why it failed."""
    setting = spec.trial.setting
    try:
        if is_code_checked:
            check_unchanged(spec.code)
        node = node_devices.here()
        node_devices.check_on_node(setting, node)
        launcher: Launcher = load(LAUNCHERS, spec.launcher)()
        job = _job(spec, attempt, node)
        with (
            _measured(setting, job, attempt, spec.hz) as words,
            _output_steps(setting, attempt) as follow,
        ):
            launched = launcher.launch(msgspec.structs.replace(job, words=words))
            try:
                return watch(launched, job.ranks, attempt, spec.time_limit_s, [*follow, *ticks])
            finally:
                launched.stop()
    except RecordError:
        raise
    except WattlawError as error:
        # such as a refused limit or a command that cannot be started: the sweep continues
        return Failure(0, f"{error}\n")


def _job(spec: TrialSpec, attempt: Path, node: node_devices.NodeDevices) -> Job:
    """Return the processes of a trial, with "auto" resolved for this node."""
    setting, folder = spec.trial.setting, str(attempt.absolute())
    threads = node_devices.threads(setting, node, int(training_options(setting)["threads"]))
    variables = _variables(setting, node, threads)
    if setting.command:
        variables["WATTLAW_ATTEMPT"] = folder
        variables["WATTLAW_WARMUP_STEPS"] = str(setting.warmup_steps)
        return Job(words_of(setting, folder), 1, attempt, variables, are_ranks=False)
    checkpoint = latest_checkpoint(spec.trial_folder, setting)
    rank_spec = RankSpec(
        setting=setting,
        folder=folder,
        device_type=node_devices.device_type(setting, node),
        backend=node_devices.backend(setting, node),
        threads=threads,
        resume=str(checkpoint.absolute()) if checkpoint else spec.checkpoint,
    )
    write_rank_spec(attempt / "spec.json", rank_spec)
    words = helper_command("wattlaw.runner.worker", str(attempt / "spec.json"))
    return Job(words, setting.devices, attempt, variables, nodes=setting.nodes)


def _variables(setting: Setting, node: node_devices.NodeDevices, threads: int) -> dict[str, str]:
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }
    if setting.nodes == 1 and node_devices.backend(setting, node) == "gloo":
        # ranks of one machine use loopback, whatever its host name resolves to
        variables["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    if node_devices.device_type(setting, node) == "cuda":
        every = ",".join(map(str, range(len(node.gpus))))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", every).split(",")
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(visible[: setting.devices_per_node])
    return variables


@contextlib.contextmanager
def _measured(setting: Setting, job: Job, attempt: Path, hz: float) -> Iterator[Sequence[str]]:
    """Set the limits and sample the devices of a job; yields the words to start."""
    limits = {name: getattr(setting, name) for name in LIMITS}
    if setting.command and starts_step(job.words):
        with sampled_step(job.words, attempt, hz, limits) as words:
            yield words
        return
    gpus = [v for v in job.variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if v]
    # the sampler starts before the processes, so that it sees a short command from the beginning
    with (
        limited(limits, gpus, attempt),
        start_sampler(attempt, hz=hz, gpus=gpus, is_root_excluded=True),
    ):
        yield job.words


@contextlib.contextmanager
def _output_steps(setting: Setting, attempt: Path) -> Iterator[list[Tick]]:
    """Record the steps in the output of a command that has a step pattern."""
    if not (setting.command and setting.step_pattern):
        yield []
        return
    output = attempt / "output-0.log"
    # it is followed from before the command starts: the command may delete it immediately
    output.touch()
    with (
        StepLog(attempt, 0) as log,
        OutputSteps(output, setting.step_pattern, setting, log) as steps,
    ):
        yield [lambda _: steps.check()]
