"""`wattlaw statement DIR`: the cost of runs, as a paragraph for a paper."""

from __future__ import annotations

from pathlib import Path

import click

from wattlaw.cli.flags import refuse
from wattlaw.cli.output import emit_json, json_option, runs_in, say_warnings

NAMES = {"statement": "statement"}


@click.command(short_help="Write the energy statement of a paper.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--grid", type=float, help="Carbon intensity of the grid, g CO2e/kWh.")
@click.option("--pue", type=float, help="Power usage effectiveness of the site, at least 1.")
@click.option("--price", type=float, help="Price of a kWh.")
@click.option("--currency", default="EUR", show_default=True, help="Currency of the price.")
@json_option
def statement(
    folder: Path,
    grid: float | None,
    pue: float | None,
    price: float | None,
    currency: str,
    as_json: bool,
) -> None:
    """Write one paragraph on the energy and cost of the runs in DIR, with boundary and status.

    CO2e and money are stated only with --grid and --price; there are no defaults for them.
    """
    from wattlaw.analysis.statement import statement as make

    if price is None:
        refuse(["currency"], "without --price")
    if price is None and grid is None:
        refuse(["pue"], "without --grid or --price")
    runs = runs_in(folder)
    found = make(list(runs), grid_g_per_kwh=grid, pue=pue, price_per_kwh=price, currency=currency)
    if as_json:
        emit_json("statement", found.tallies, found, runs.notes)
        return
    click.echo(found.text)
    say_warnings(runs.notes)
