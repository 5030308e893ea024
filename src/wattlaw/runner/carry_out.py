"""Carries out one trial in fresh processes and writes its record."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from wattlaw import __version__
from wattlaw.core.environment import Environment, capture, utc_now
from wattlaw.core.errors import RecordError, WattlawError
from wattlaw.core.files import write_whole
from wattlaw.core.folder import new_attempt, write_run
from wattlaw.core.helper_process import helper_command
from wattlaw.core.options import training_options
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.core.sweepfile import Trial
from wattlaw.launchers.launcher import Job, Launched, Launcher
from wattlaw.launchers.local import Local
from wattlaw.measuring.files.rank_files import StepLog
from wattlaw.measuring.hosts.node_samplers import sampled_step
from wattlaw.measuring.limits.limits import limited
from wattlaw.measuring.reduce.summary import summarise
from wattlaw.measuring.sampling.sampler_process import start_sampler
from wattlaw.runner import machine
from wattlaw.runner.command.output_steps import OutputSteps, with_output
from wattlaw.runner.command.template import words_of
from wattlaw.runner.failure import Failure, first_failure, oom_kills
from wattlaw.runner.learning import learning
from wattlaw.runner.resume import clear_checkpoints, latest_checkpoint
from wattlaw.runner.spec import Spec, read_answer, write_spec
from wattlaw.slurm.environment import starts_step

LOOK_S = 0.05
LIMITS = ("power_cap_w", "sm_clock_mhz", "memory_clock_mhz")
Tick = Callable[[Path], None]


def run_trial(
    trial: Trial,
    sweep_folder: Path,
    *,
    sweep: str = "",
    hz: float = 10.0,
    time_limit_s: float | None = None,
    launcher: Launcher | None = None,
    tick: Tick | None = None,
) -> Run:
    """Carry out a trial and return its record, which then lies in ``sweep_folder``.

    A trial that fails is recorded as failed and raises nothing. ``tick`` is called with the attempt's folder
    about twenty times a second. KeyboardInterrupt ends the processes and leaves the trial undone.
    """
    folder = sweep_folder / trial.id
    checkpoint = latest_checkpoint(folder, trial.setting)
    attempt = new_attempt(folder)
    started, clock = utc_now(), time.monotonic()
    write_whole(
        attempt / "setting.json", msgspec.json.format(msgspec.json.encode(trial.setting), indent=1)
    )
    write_whole(
        attempt / "environment.json",
        msgspec.json.format(msgspec.json.encode(_environment()), indent=1),
    )
    job = _job(trial.setting, attempt, checkpoint)
    failure = _carry_out(job, trial.setting, attempt, hz, time_limit_s, launcher or Local(), tick)
    if failure:
        write_whole(attempt / "error.txt", failure.text.encode())
    run = _record(trial, attempt, sweep, started, time.monotonic() - clock, failure)
    write_run(folder, run)
    if not failure:
        clear_checkpoints(folder)
    return run


def _environment() -> Environment:
    global _captured
    # what the machine is does not change between the trials of one sweep; the moment does
    if _captured is None:
        _captured = capture()
    return msgspec.structs.replace(_captured, clock=(time.monotonic(), utc_now()))


_captured: Environment | None = None


def _job(setting: Setting, attempt: Path, checkpoint: Path | None) -> Job:
    there = machine.here()
    threads = machine.threads(setting, there, int(training_options(setting)["threads"]))
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }
    if setting.nodes == 1 and machine.backend(setting, there) == "gloo":
        # ranks of one machine talk over loopback; a host name that resolves elsewhere must not matter
        variables["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    if machine.device_type(setting, there) == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(len(there.gpus)))))
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(visible.split(",")[: setting.devices_per_node])
    if setting.command:
        variables["WATTLAW_ATTEMPT"] = str(attempt.absolute())
        variables["WATTLAW_WARMUP_STEPS"] = str(setting.warmup_steps)
        return Job(
            words_of(setting, str(attempt.absolute())), 1, attempt, variables, are_ranks=False
        )
    spec = Spec(
        setting=setting,
        folder=str(attempt.absolute()),
        device_type=machine.device_type(setting, there),
        backend=machine.backend(setting, there),
        threads=threads,
        resume=str(checkpoint.absolute()) if checkpoint else "",
    )
    write_spec(attempt / "spec.json", spec)
    words = helper_command("wattlaw.runner.worker", str(attempt / "spec.json"))
    return Job(words, setting.devices, attempt, variables)


def _carry_out(
    job: Job,
    setting: Setting,
    attempt: Path,
    hz: float,
    limit_s: float | None,
    launcher: Launcher,
    tick: Tick | None,
) -> Failure | None:
    wanted = {name: getattr(setting, name) for name in LIMITS}
    # the sampler comes before the processes, so that a short command is seen from its beginning
    try:
        if setting.command and starts_step(job.words):
            with sampled_step(job.words, attempt, hz, wanted) as words:
                return _launch(
                    msgspec.structs.replace(job, words=words),
                    setting,
                    attempt,
                    limit_s,
                    launcher,
                    tick,
                )
        with (
            limited(wanted, _gpus(job), attempt),
            start_sampler(attempt, hz=hz, gpus=_gpus(job), is_root_apart=True),
        ):
            return _launch(job, setting, attempt, limit_s, launcher, tick)
    except RecordError:
        raise
    except WattlawError as error:
        # a limit that was refused, or a command that cannot be started: this trial failed, the sweep goes on
        return Failure(0, f"{error}\n")


def _launch(
    job: Job,
    setting: Setting,
    attempt: Path,
    limit_s: float | None,
    launcher: Launcher,
    tick: Tick | None,
) -> Failure | None:
    kills = oom_kills()
    with _output_steps(setting, attempt) as follow:
        launched = launcher.launch(job)
        try:
            return _wait(job, launched, attempt, limit_s, kills, [follow, tick])
        finally:
            launched.stop()


def _gpus(job: Job) -> list[str]:
    return [v for v in job.variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if v]


def _wait(
    job: Job,
    launched: Launched,
    attempt: Path,
    limit_s: float | None,
    kills: int,
    ticks: list[Tick | None],
) -> Failure | None:
    start, grace_until = time.monotonic(), None
    while True:
        exits = launched.poll()
        if len(exits) == job.ranks and all(e.code == 0 for e in exits):
            return None
        now = time.monotonic()
        if any(e.code for e in exits):
            # the others find out within moments; their errors are consequences, kept in their own files
            grace_until = grace_until or now + 1.0
            if now >= grace_until or len(exits) == job.ranks:
                return first_failure(attempt, exits, oom_kills() > kills)
        if limit_s is not None and now - start > limit_s:
            if (attempt / "spec.json").exists():
                _ask_where(launched)
            return Failure.hang(attempt, job.ranks, limit_s)
        for call in ticks:
            if call:
                call(attempt)
        time.sleep(LOOK_S)


def _ask_where(launched: Launched) -> None:
    # wattlaw's own ranks answer SIGUSR1 with their stack; a user's command would only die of it
    for pid in launched.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)
    time.sleep(0.5)


@contextlib.contextmanager
def _output_steps(setting: Setting, attempt: Path) -> Iterator[Tick | None]:
    if not (setting.command and setting.step_pattern):
        yield None
        return
    output = attempt / "output-0.log"
    output.touch()  # it is followed from before the command starts: the command may delete it at once
    with (
        StepLog(attempt, 0) as log,
        OutputSteps(output, setting.step_pattern, setting, log) as steps,
    ):
        yield lambda _: steps.check()


def _record(
    trial: Trial, attempt: Path, sweep: str, started: str, seconds: float, failure: Failure | None
) -> Run:
    setting = trial.setting
    summary = summarise(attempt, setting.devices)
    answer = read_answer(attempt, 0)
    measures, warnings = with_output(attempt, setting, summary.quantities, summary.warnings)
    learned, notes = learning(attempt, setting)
    quantities: dict[str, Reading] = {
        **measures,
        **learned,
        "trial_s": measured(seconds, "monotonic clock"),
    }
    if answer.gpu_memory_peak_bytes is not None:
        peaks = [
            read_answer(attempt, rank).gpu_memory_peak_bytes or 0 for rank in range(setting.devices)
        ]
        quantities["gpu_memory_peak_bytes"] = measured(
            float(max(peaks)), "torch's allocator, largest of the ranks"
        )
    if (
        not setting.command
        and training_options(setting)["strategy"] == "fsdp"
        and setting.devices > 1
    ):
        quantities["communication_s"] = missing(
            "fsdp exchanges within the passes, where no mark tells waiting apart"
        )
    return Run(
        setting=setting,
        trial=trial.id,
        sweep=sweep,
        wattlaw=__version__,
        workload_version=trial.version,
        repeat=trial.repeat,
        attempt=int(attempt.name.removeprefix("attempt-")),
        state="failed" if failure else "done",
        started=started,
        machine=machine.machine(setting, machine.here()),
        quantities=quantities,
        warnings=(*warnings, *notes, *answer.notes),
        error=failure.text if failure else "",
    )
