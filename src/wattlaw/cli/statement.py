"""`wattlaw statement DIR`: what a study cost, as a paragraph for a paper."""

from __future__ import annotations

from pathlib import Path

import click

from wattlaw.cli.flags import refuse
from wattlaw.cli.output import emit_json, json_option, runs_in, say_warnings

NAMES = {"statement": "statement"}


@click.command(short_help="Say what a study cost, as a paragraph for a paper.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--grid", type=float, help="Carbon intensity of the grid, g CO2e/kWh.")
@click.option("--pue", type=float, help="Power usage effectiveness of the site, at least 1.")
@click.option("--price", type=float, help="Price of a kWh.")
@click.option("--currency", default="EUR", show_default=True, help="Of the price.")
@json_option
def statement(
    folder: Path,
    grid: float | None,
    pue: float | None,
    price: float | None,
    currency: str,
    as_json: bool,
) -> None:
    """Say in one paragraph what the runs in DIR cost: each energy with its boundary and status.

    CO2e and money appear only where grid intensity, PUE and price are given: none is assumed.
    """
    from wattlaw.analysis.statement import statement as make

    if price is None:
        refuse(["currency"], "without --price")
    if price is None and grid is None:
        refuse(["pue"], "without --grid or --price")
    runs = runs_in(folder)
    said = make(list(runs), grid_g_per_kwh=grid, pue=pue, price_per_kwh=price, currency=currency)
    if as_json:
        emit_json("statement", said.tallies, said, runs.notes)
        return
    click.echo(said.text)
    say_warnings(runs.notes)
