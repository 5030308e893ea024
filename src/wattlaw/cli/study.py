"""`wattlaw study`: a paper's question, asked again on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from wattlaw.cli.flags import refuse_others
from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table

NAMES = {"study": "study"}


@click.group()
def study() -> None:
    """Ask a paper's question again on this machine."""


@study.command("list")
@json_option
@click.option("-o", "--out", default="runs", show_default=True, help="Folder of all runs.")
def list_(as_json: bool, out: str) -> None:
    """List the studies."""
    from wattlaw.studies.run_study import find, names

    found = {n: find(n) for n in names()}
    last = {n: _last_run(Path(out), n) for n in found}
    if as_json:
        items = [
            {
                "name": n,
                "paper": s.paper,
                "scales": s.scales,
                "question": s.question,
                "last_run": last[n],
            }
            for n, s in found.items()
        ]
        emit_json("study list", items)
    else:
        rows = [[n, s.question, ", ".join(s.scales), last[n] or "never"] for n, s in found.items()]
        print_table(["study", "question", "scales", "last run here"], rows)


@study.command()
@click.argument("name")
@click.option("--scale", help="Size at which the question is asked.")
@click.option("-o", "--out", default="runs", show_default=True, help="Folder of all runs.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Page to write.  [default: OUT/NAME/report.html]",
)
@click.option(
    "--max-slowdown", default=0.05, show_default=True, help="Slowdown that the advice may cost."
)
@click.option("--dry-run", is_flag=True, help="Print the study's sweep.toml; run nothing.")
def run(
    name: str, scale: str | None, out: str, report: Path | None, max_slowdown: float, dry_run: bool
) -> None:
    """Run the study NAME, print what it found and write its page."""
    from wattlaw.cli.sweep import run_with_display
    from wattlaw.runner.sweeps import as_sweep, to_toml
    from wattlaw.studies.run_study import find, sweep_of

    if dry_run:
        refuse_others("--dry-run", "dry_run", "scale")
    chosen = find(name)
    values = sweep_of(chosen, scale)
    if dry_run:
        click.echo(to_toml(as_sweep(values)[0]), nl=False)
        return
    from wattlaw.report.page import (
        write_report,
    )  # before hours of trials, not after: a missing part is named at once

    say(f"{chosen.title}: {chosen.question}")
    run_with_display(values, out)
    folder = Path(out) / str(values["name"])
    page = report or folder / "report.html"
    written = write_report(folder, page, title=chosen.title, max_slowdown=max_slowdown)
    for line in written.lines:
        click.echo(line)
    say(f"the page is {written.files[0].absolute()}")


def _last_run(out: Path, name: str) -> str | None:
    from wattlaw.core.errors import RecordError
    from wattlaw.records import load_runs

    try:
        return max((r.started for r in load_runs(out / name)), default=None)
    except RecordError:
        return None
