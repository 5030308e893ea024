"""``wattlaw study``: a paper's question, run again on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse, refuse_others
from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table

if TYPE_CHECKING:
    from wattlaw.core.reading import Reading
    from wattlaw.core.run import Run
    from wattlaw.studies.role import Study, SweepValues

NAMES = {"study": "study"}

DEFAULT_MAX_SLOWDOWN = 0.05

out_option = click.option(
    "-o", "--out", default="runs", show_default=True, help="Folder of all runs."
)


@click.group()
def study() -> None:
    """Run a paper's question again on this machine."""


@study.command("list")
@out_option
@json_option
def list_(out: str, as_json: bool) -> None:
    """List the studies, also those that are not built yet."""
    from wattlaw.studies.run_study import list_studies

    found = list_studies(Path(out))
    if as_json:
        emit_json("study list", found)
        return
    rows = []
    for item in found:
        scales = ", ".join(item.scales) if item.built else "not built yet"
        last = item.last_run or "never"
        rows.append([item.name, scales, last if item.built else "", item.question, item.paper])
    print_table(["study", "scales", "last run here", "question", "paper"], rows)


@study.command(short_help="Run a study and write its page.")
@click.argument("name")
@click.option("--scale", help="tiny, laptop, node or cluster.  [default: laptop]")
@out_option
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Page to write.  [default: OUT/NAME/report.html]",
)
@click.option(
    "--max-slowdown",
    default=DEFAULT_MAX_SLOWDOWN,
    show_default=True,
    help="Slowdown that the advice may accept.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the study's sweep.toml and what it would cost."
)
def run(
    name: str, scale: str | None, out: str, report: Path | None, max_slowdown: float, dry_run: bool
) -> None:
    """Run the study NAME, print its answer and write its page.

    Trials that are already done are not run again. Figures and data go beside the page.
    """
    from wattlaw.studies.run_study import checked_scale, find_study, run_work

    chosen = find_study(name)
    scale = checked_scale(chosen, scale)
    if dry_run:
        refuse_others("--dry-run", "dry_run", "scale", "out")
        _print_estimate(chosen, scale, out)
        return
    if not chosen.has_report:
        refuse(["max_slowdown"], f"on the study {name}, which gives no advice")
    # before the trials, so that a missing extra is reported first
    from wattlaw.studies.study_page import write_study

    say(f"{chosen.title}: {chosen.question}")
    inputs = run_work(chosen, scale, out, _run_sweep)
    page = report or inputs.folder / "report.html"
    written = write_study(chosen, inputs, page, max_slowdown)
    for line in written.lines:
        click.echo(line)
    say(f"the page is {written.files[0].absolute()}")


def _run_sweep(values: SweepValues, out: Path) -> Sequence[Run]:
    from wattlaw.cli.sweep import run_with_display

    return run_with_display(dict(values), str(out))


def _print_estimate(chosen: Study, scale: str, out: str) -> None:
    """Print the sweep to stdout, and its estimated time, device-hours and energy to stderr."""
    from wattlaw.runner.node_devices import here
    from wattlaw.runner.sweeps import as_sweep, to_toml
    from wattlaw.studies.run_study import estimate_study

    values = chosen.sweep(here(), scale)
    if values is not None:
        click.echo(to_toml(as_sweep(dict(values))[0]), nl=False)
    found = estimate_study(chosen, scale, out)
    say(f"{chosen.name} at scale {scale}: {found.left} of {found.trials} trials are left")
    say(f"time: {_shown(found.time_s, 's')}")
    say(f"device-hours: {_shown(found.device_hours, 'h')}")
    say(f"energy: {_shown(found.energy_j, 'J')}")


def _shown(reading: Reading, unit: str) -> str:
    from wattlaw.core.units import show

    if reading.value is None:
        return f"missing, because {reading.how}"
    return f"about {show(reading.value, unit)} ({reading.how})"
