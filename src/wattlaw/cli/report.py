"""`wattlaw report`: the self-contained page of a folder of runs."""

from __future__ import annotations

import click

from wattlaw.cli.output import say

NAMES = {"report": "report"}


@click.command(short_help="Write the runs of a folder as one HTML page.")
@click.argument("folder", metavar="DIR")
@click.option("-o", "--out", default="report.html", show_default=True, help="File to write.")
@click.option(
    "--format",
    "formats",
    default="",
    metavar="svg,png,pdf",
    help="Also write each figure to a file, for a paper.",
)
@click.option("--title", help="Title of the page.")
@click.option(
    "--max-slowdown",
    default=0.05,
    show_default=True,
    help="Constraint of the advice: 0.05 allows 5 % more time per sample than the fastest.",
)
def report(folder: str, out: str, formats: str, title: str | None, max_slowdown: float) -> None:
    """Write the report of the runs in DIR as one self-contained HTML file."""
    from wattlaw.report.page import write_report

    names = [name for name in formats.replace(" ", "").split(",") if name]
    written = write_report(folder, out, title=title, formats=names, max_slowdown=max_slowdown)
    for path in written.files:
        click.echo(path)
    say(f"the page is {written.files[0].absolute()}; open it in any browser")
