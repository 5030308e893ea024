"""`wattlaw sweep`: a grid of settings, planned, run, stopped, resumed."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wattlaw.cli.output import emit_json, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import reason
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from wattlaw.core.run import Run
    from wattlaw.core.sweepfile import Trial
    from wattlaw.runner.plan import Plan

NAMES = {"sweep": "sweep"}

out_option = click.option(
    "-o", "--out", default="runs", show_default=True, help="Folder of all runs."
)
file_argument = click.argument("file", type=click.Path(path_type=Path), metavar="SWEEP.toml")


@click.group(short_help="Run a grid of settings; stop and resume it at any time.")
def sweep() -> None:
    """Run a grid of settings with repeats, in random order; it can be stopped and resumed at any time."""


@sweep.command()
@file_argument
@out_option
@click.option(
    "--dry-run", is_flag=True, help="Print the trials and how long they should take; run nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def start(file: Path, out: str, dry_run: bool, as_json: bool) -> None:
    """Run the trials that are not done yet."""
    if dry_run:
        show_plan(file, out, as_json)
    else:
        show_runs(carry_out_shown(file, out), as_json, out)


@sweep.command()
@file_argument
@out_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def resume(file: Path, out: str, as_json: bool) -> None:
    """Go on where a sweep was stopped: the same as start."""
    show_runs(carry_out_shown(file, out), as_json, out)


@sweep.command()
@file_argument
@out_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def retry(file: Path, out: str, as_json: bool) -> None:
    """Run the failed trials again, and those not done yet."""
    show_runs(carry_out_shown(file, out, is_retry=True), as_json, out)


@sweep.command()
@file_argument
@out_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(file: Path, out: str, as_json: bool) -> None:
    """Say what is done, what failed and what is left."""
    from wattlaw.records import load_runs
    from wattlaw.runner.api import prepare
    from wattlaw.runner.progress import outcome
    from wattlaw.runner.sweep import running, undone

    plan, folder, _ = prepare(file, out)
    runs = load_runs(folder) if folder.is_dir() else []
    wanted = {t.id for t in plan.trials}
    failed = [r for r in runs if r.state == "failed" and r.trial in wanted]
    left = undone(plan, folder)
    left_s, is_guess = plan.time_of(left)
    holder = running(folder)
    overall = {
        "trials": len(plan.trials), "done": len(plan.trials) - len(left) - len(failed), "failed": len(failed),
        "left": len(left), "left_s": left_s, "is_guess": is_guess, "running_host": holder.host if holder else None,
        "running_pid": holder.pid if holder else None,
    }  # fmt: skip
    if as_json:
        emit_json("sweep status", [{"trial": r.trial, "error": r.error} for r in failed], overall)
        return
    who = f"run by process {holder.pid} of {holder.host}" if holder else "not running"
    say(f"{plan.sweep.name}: {who}")
    print_table(
        ["trials", "done", "failed", "left", "time left"],
        [[*(str(overall[k]) for k in ("trials", "done", "failed", "left")), _about(plan, left)]],
    )
    for run in failed:
        click.echo(f"{run.trial}: {outcome(run)}")


@sweep.command(short_help="Stop a sweep that another process runs here.")
@file_argument
@out_option
def cancel(file: Path, out: str) -> None:
    """Stop a sweep that another process runs on this machine; returns when it has stopped."""
    from wattlaw.core.sweepfile import read_sweep
    from wattlaw.runner import sweep as runner

    holder = runner.cancel(Path(out) / read_sweep(file).name)
    say(f"process {holder.pid} has stopped; `wattlaw sweep resume {file}` goes on from there")


def carry_out_shown(
    what: str | Path | dict[str, Any], out: str, is_retry: bool = False
) -> list[Run]:
    """Carry out a sweep with a progress display; Ctrl-C and SIGTERM stop it and say how to go on."""
    from wattlaw.runner.api import prepare, results
    from wattlaw.runner.progress import Display
    from wattlaw.runner.sweep import carry_out, undone

    order = prepare(what, out)
    todo = undone(order.plan, order.folder, is_retry)
    if todo:
        say(
            f"{len(todo)} of {counted(len(order.plan.trials), 'trial')} to run, {_about(order.plan, todo)}"
        )
    else:
        say(f"done already: {counted(len(order.plan.trials), 'trial')}")
    try:
        with _stoppable(), Display(order.plan, todo) as display:
            carry_out(order.plan, order.folder, order.source, display, is_retry)
    except KeyboardInterrupt:
        again = f"wattlaw sweep resume {what}" if isinstance(what, Path) else "the same command"
        say(f"stopped; what is done is kept, {again} goes on from there")
        sys.exit(130)
    return results(order)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    # a shell starts `command &` with SIGINT ignored, and schedulers send SIGTERM first: both mean stop
    before = {
        n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_plan(file: Path, out: str, as_json: bool) -> None:
    """Print the trials of a sweep in the order in which they would run."""
    from wattlaw.core.units import show_time
    from wattlaw.runner.api import prepare
    from wattlaw.runner.progress import name
    from wattlaw.runner.sweep import undone

    plan, folder, _ = prepare(file, out)
    todo = undone(plan, folder)
    left = {t.id for t in todo}
    if as_json:
        items = [
            {"trial": t.id, "setting": t.setting, "repeat": t.repeat, "seconds": plan.seconds[t.id],
             "done": t.id not in left}
            for t in plan.trials
        ]  # fmt: skip
        left_s, is_guess = plan.time_of(todo)
        overall = {
            "trials": len(plan.trials),
            "left": len(todo),
            "left_s": left_s,
            "is_guess": is_guess,
        }
        emit_json("sweep plan", items, overall)
        return
    rows = [
        [str(i), name(t.setting, list(plan.sweep.over)), str(t.repeat + 1),
         show_time(plan.seconds[t.id]) if t.id in left else "done", t.id]
        for i, t in enumerate(plan.trials, 1)
    ]  # fmt: skip
    print_table(["#", "setting", "repeat", "estimated time", "trial"], rows)
    say(f"{len(todo)} of {counted(len(plan.trials), 'trial')} to run, {_about(plan, todo)}")


def _about(plan: Plan, wanted: Sequence[Trial]) -> str:
    from wattlaw.core.units import show_time

    seconds, is_guess = plan.time_of(wanted)
    # a guess comes from another setting's runs, or from none
    return f"about {show_time(seconds)}" + (" (a rough guess)" if is_guess else "")


def show_runs(runs: Sequence[Run], as_json: bool, out: str) -> None:
    """Print a row for each setting and the warnings beside it; exit code 1 where a run failed.

    What a failed trial lacks follows from its failing, so only the warnings of the others are told.
    """
    from wattlaw.cli.runs import print_rows
    from wattlaw.records.table import columns_of, tabulate

    if as_json:
        emit_json("trials", list(runs), warnings=dict.fromkeys(n for r in runs for n in r.warnings))
    elif any(r.state == "done" for r in runs):
        print_rows(tabulate(runs, columns=columns_of(runs)))
    say_warnings(n for r in runs if r.state == "done" for n in r.warnings)
    failed = [r for r in runs if r.state == "failed"]
    if failed:
        say(_failures(failed, len(runs), out))
        sys.exit(1)


def _failures(failed: Sequence[Run], count: int, out: str) -> str:
    """Return how many trials failed and the first traceback; an error of one line was shown when it happened."""
    text = failed[0].error.rstrip()
    place = Path(out) / failed[0].sweep
    told = f"{len(failed)} of {counted(count, 'trial')} failed; `wattlaw runs show {place} --failed` shows "
    told += "it with its error" if len(failed) == 1 else "each with its error"
    line = reason(text)
    is_told = all(
        part.strip().partition("; the end of its")[0] in line for part in text.splitlines()
    )
    return told if is_told else f"{told}; the first, {failed[0].trial}:\n{text}"
