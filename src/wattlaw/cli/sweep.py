"""`wattlaw sweep`: plan, run, stop and resume a grid of settings."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse
from wattlaw.cli.output import emit_json, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import reason
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from wattlaw.core.run import Run
    from wattlaw.core.sweepfile import Trial
    from wattlaw.executors.claims import Runner
    from wattlaw.runner.plan import SweepPlan
    from wattlaw.runner.sweeps import SweepSource

NAMES = {"sweep": "sweep"}

out_option = click.option(
    "-o", "--out", default="runs", show_default=True, help="Folder of all runs."
)
json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
executor_option = click.option(
    "--executor",
    default="local",
    show_default=True,
    help="Where the trials run; see `wattlaw list executors`.",
)
_file_argument = click.argument("file", type=click.Path(path_type=Path), metavar="SWEEP.toml")


def _of_sweep(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every subcommand takes: the sweep's file, the folder of all runs, the executor."""
    return _file_argument(out_option(executor_option(command)))


@click.group(short_help="Run a grid of settings; stop and resume it at any time.")
def sweep() -> None:
    """Run a grid of settings with repeats, in random order.

    A sweep can be stopped and resumed at any time. Several processes, on one machine or on many
    that see the same folder, may run the same sweep: each trial runs once.
    """


@sweep.command()
@_of_sweep
@click.option(
    "--dry-run", is_flag=True, help="Print the trials and their estimated times; run none."
)
@json_flag
def start(file: Path, out: str, executor: str, dry_run: bool, as_json: bool) -> None:
    """Run the trials that have no result yet.

    Other processes may run the same sweep: they share its trials, and each returns when all trials
    have a result.
    """
    if dry_run:
        refuse(["executor"], "with --dry-run, which estimates only from earlier runs")
        show_plan(file, out, as_json)
    else:
        show_runs(run_with_display(file, out, executor=executor), as_json, out)


@sweep.command(short_help="Run what a stopped sweep has left.")
@_of_sweep
@json_flag
def resume(file: Path, out: str, executor: str, as_json: bool) -> None:
    """Run the trials that a stopped sweep has left: the same as start."""
    show_runs(run_with_display(file, out, executor=executor), as_json, out)


@sweep.command(short_help="Run the failed trials again, and those left.")
@_of_sweep
@json_flag
def retry(file: Path, out: str, executor: str, as_json: bool) -> None:
    """Run the failed trials again, and those that have no result yet."""
    runs = run_with_display(file, out, is_retry=True, executor=executor)
    show_runs(runs, as_json, out)


@sweep.command(short_help="Write a SPEC.json per trial that is left.")
@_file_argument
@out_option
@click.option("--retry", "is_retry", is_flag=True, help="Prepare the failed trials as well.")
def prepare(file: Path, out: str, is_retry: bool) -> None:
    """Write one SPEC.json per trial that has no result, and print their paths.

    `wattlaw worker SPEC.json` carries out one of them, on any machine that sees the folder. This
    machine's devices are not checked.
    """
    from wattlaw.runner.sweeps import plan_sweep, prepare_sweep

    for path in prepare_sweep(plan_sweep(file, out, is_elsewhere=True), is_retry):
        click.echo(path)


@sweep.command(short_help="Show what is done, failed, left and running.")
@_of_sweep
@json_flag
def status(file: Path, out: str, executor: str, as_json: bool) -> None:
    """Show what is done, what failed, what is left, and which process runs which trial."""
    from wattlaw.records import load_runs
    from wattlaw.runner.progress import outcome
    from wattlaw.runner.sweeps import executor_of, plan_sweep, undone

    plan, folder, _ = plan_sweep(file, out)
    runs = load_runs(folder) if folder.is_dir() else []
    ids = {trial.id for trial in plan.trials}
    failed = [run for run in runs if run.state == "failed" and run.trial in ids]
    left = undone(plan, folder)
    runners = executor_of(executor, folder).status()
    overall = _status(plan, failed, left, runners)
    if as_json:
        items = [{"trial": run.trial, "error": run.error} for run in failed]
        emit_json("sweep status", items, overall)
        return
    who = counted(len(runners), "process runs", "processes run") if runners else "not running"
    say(f"{plan.sweep.name}: {who}" + (" it" if runners else ""))
    counts = [str(overall[name]) for name in ("trials", "done", "failed", "left")]
    print_table(["trials", "done", "failed", "left", "time left"], [[*counts, _about(plan, left)]])
    for runner in runners:
        doing = f"{runner.trial}, since {runner.since}" if runner.trial else "between two trials"
        click.echo(f"{runner}: {doing}")
    for run in failed:
        click.echo(f"{run.trial}: {outcome(run)}")


def _status(
    plan: SweepPlan, failed: Sequence[Run], left: Sequence[Trial], runners: Sequence[Runner]
) -> dict[str, object]:
    left_s, is_guess = plan.time_of(left)
    first = runners[0] if runners else None
    return {
        "trials": len(plan.trials),
        "done": len(plan.trials) - len(left) - len(failed),
        "failed": len(failed),
        "left": len(left),
        "left_s": left_s,
        "is_guess": is_guess,
        "running_host": first.host if first else None,
        "running_pid": first.pid if first else None,
        "running": [
            {
                "host": runner.host,
                "pid": runner.pid,
                "slurm_job": runner.slurm_job or None,
                "trial": runner.trial or None,
                "attempt": runner.attempt or None,
                "since": runner.since,
            }
            for runner in runners
        ],
    }


@sweep.command(short_help="Stop a sweep's processes on this machine.")
@_of_sweep
def cancel(file: Path, out: str, executor: str) -> None:
    """Stop all processes that run a sweep on this machine; returns when they have ended.

    Finished trials are kept. Processes on other machines continue.
    """
    from wattlaw.core.sweepfile import read_sweep
    from wattlaw.runner.sweeps import executor_of

    chosen = executor_of(executor, Path(out) / read_sweep(file).name)
    for runner in chosen.cancel():
        say(f"{runner} has stopped")
    for runner in chosen.status():
        say(f"{runner} still runs the sweep; cancel it there")
    say(f"`wattlaw sweep resume {file}` runs what is left")


def run_with_display(
    source: SweepSource, out: str, *, is_retry: bool = False, executor: str = "local"
) -> list[Run]:
    """Run a sweep and display its progress; Ctrl-C and SIGTERM stop it and say how to resume."""
    from wattlaw.runner.progress import Display
    from wattlaw.runner.sweeps import executor_of, plan_sweep, results, run_trials, undone

    planned = plan_sweep(source, out)
    plan, folder = planned.plan, planned.folder
    todo, count = undone(plan, folder, is_retry), counted(len(plan.trials), "trial")
    if todo:
        say(f"{len(todo)} of {count} to run, {_about(plan, todo)}")
        _say_others(executor_of(executor, folder).status())
    else:
        say(f"done already: {count}")
    try:
        with stoppable(), Display(plan, todo) as display:
            run_trials(planned, display, is_retry, executor)
    except KeyboardInterrupt:
        again = f"wattlaw sweep resume {source}" if isinstance(source, Path) else "the same command"
        say(f"stopped; what is done is kept, and {again} runs the rest")
        sys.exit(130)
    return results(planned)


def _say_others(runners: Sequence[Runner]) -> None:
    """Say which other processes share the trials; on one machine they disturb each other."""
    for runner in runners:
        say(f"{runner} runs this sweep too; its trials are shared")
    if any(runner.is_here for runner in runners):
        say(
            "trials that run on this machine at the same time disturb each other's times and "
            "energies, unless each process has its own devices (CUDA_VISIBLE_DEVICES, taskset)"
        )


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt within the context."""
    # a shell starts `command &` with SIGINT ignored, and schedulers send SIGTERM first
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def show_plan(file: Path, out: str, as_json: bool) -> None:
    """Print the trials of a sweep in the order in which they would run."""
    from wattlaw.core.units import show_time
    from wattlaw.runner.progress import name
    from wattlaw.runner.sweeps import plan_sweep, undone

    plan, folder, _ = plan_sweep(file, out)
    todo = undone(plan, folder)
    left = {trial.id for trial in todo}
    if as_json:
        _emit_plan(plan, todo)
        return
    rows = []
    for number, trial in enumerate(plan.trials, 1):
        time = show_time(plan.seconds[trial.id]) if trial.id in left else "done"
        varied = name(trial.setting, list(plan.sweep.over))
        rows.append([str(number), varied, str(trial.repeat + 1), time, trial.id])
    print_table(["#", "setting", "repeat", "estimated time", "trial"], rows)
    say(f"{len(todo)} of {counted(len(plan.trials), 'trial')} to run, {_about(plan, todo)}")


def _emit_plan(plan: SweepPlan, todo: Sequence[Trial]) -> None:
    left = {trial.id for trial in todo}
    items = [
        {
            "trial": trial.id,
            "setting": trial.setting,
            "repeat": trial.repeat,
            "seconds": plan.seconds[trial.id],
            "done": trial.id not in left,
        }
        for trial in plan.trials
    ]
    left_s, is_guess = plan.time_of(todo)
    counts = {"trials": len(plan.trials), "left": len(todo)}
    emit_json("sweep plan", items, {**counts, "left_s": left_s, "is_guess": is_guess})


def _about(plan: SweepPlan, trials: Sequence[Trial]) -> str:
    from wattlaw.core.units import show_time

    seconds, is_guess = plan.time_of(trials)
    # a guess comes from runs of another setting, or from none
    return f"about {show_time(seconds)}" + (" (a rough guess)" if is_guess else "")


def show_runs(runs: Sequence[Run], as_json: bool, out: str) -> None:
    """Print a row for each setting and the warnings; exit with code 1 if a run failed.

    The warnings of failed trials are left out: they follow from the failure.
    """
    from wattlaw.cli.runs import print_rows
    from wattlaw.records.settings_table import columns_of, tabulate

    done = [run for run in runs if run.state == "done"]
    failed = [run for run in runs if run.state == "failed"]
    if as_json:
        every = dict.fromkeys(note for run in runs for note in run.warnings)
        emit_json("trials", list(runs), warnings=every)
    elif done:
        print_rows(tabulate(runs, columns=columns_of(runs)))
    say_warnings(note for run in done for note in run.warnings)
    if failed:
        say(_failures(failed, len(runs), out))
        sys.exit(1)


def _failures(failed: Sequence[Run], count: int, out: str) -> str:
    """Return how many trials failed, with the first traceback unless it was shown before."""
    text = failed[0].error.rstrip()
    folder = Path(out) / failed[0].sweep
    each = "it with its error" if len(failed) == 1 else "each with its error"
    message = (
        f"{len(failed)} of {counted(count, 'trial')} failed; "
        f"`wattlaw runs show {folder} --failed` shows {each}"
    )
    line = reason(text)
    parts = [part.strip().partition("; the end of its")[0] for part in text.splitlines()]
    if all(part in line for part in parts):
        return message
    return f"{message}; the first, {failed[0].trial}:\n{text}"
