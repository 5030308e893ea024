"""``wattlaw advise``: recommend the setting to run next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse, refuse_others
from wattlaw.cli.output import emit_json, json_option, runs_in, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.quantities import quantity
from wattlaw.core.units import show

if TYPE_CHECKING:
    from wattlaw.analysis.prices import Prices

NAMES = {"advise": "advise"}

PRICES = ("price_per_device_hour", "price_per_kwh", "pue")


@click.command(short_help="Recommend which setting to run next.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--minimise",
    default=None,
    help="time, device_time, energy, cost or a quantity, per sample; "
    "by default the measured energy, else the device time.",
)
@click.option(
    "--max-slowdown",
    type=float,
    default=None,
    help="Time allowed over the fastest setting; 0.05 is 5 %.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.5,
    show_default=True,
    help="Minimum probability that the limits hold.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="QUANTITY=VALUE",
    help='Limit on a quantity, such as time="20 ms"; may be given several times.',
)
@click.option(
    "--samples",
    type=float,
    help="Number of samples for limits on totals, such as device_hours=24.",
)
@click.option(
    "--tunable",
    multiple=True,
    metavar="NAME",
    help="An option of your own code that affects only its speed; may be given several times.",
)
@click.option(
    "--unmeasured",
    is_flag=True,
    help="Also consider device counts and power caps that were not run.",
)
@click.option(
    "--price-per-device-hour", type=float, default=0.0, help="For a cost; in any currency."
)
@click.option("--price-per-kwh", type=float, default=0.0, help="For a cost, in the same currency.")
@click.option(
    "--pue",
    type=float,
    default=1.0,
    show_default=True,
    help="Power usage effectiveness of the site.",
)
@click.option(
    "--pareto",
    nargs=2,
    metavar="X Y",
    help="Show the settings that no other beats in both X and Y.",
)
@click.option(
    "--backtest",
    type=int,
    metavar="K",
    help="Advise from K power caps of each curve and compare with all that were run.",
)
@json_option
def advise(
    folder: Path,
    minimise: str | None,
    max_slowdown: float | None,
    confidence: float,
    limits: tuple[str, ...],
    samples: float | None,
    tunable: tuple[str, ...],
    unmeasured: bool,
    price_per_device_hour: float,
    price_per_kwh: float,
    pue: float,
    pareto: tuple[str, str] | None,
    backtest: int | None,
    as_json: bool,
) -> None:
    """Recommend which setting to run next, for each workload in DIR."""
    from wattlaw.advice.advise import advise as advise_runs
    from wattlaw.advice.request import comparable, parse_limits
    from wattlaw.analysis.prices import COST, Prices

    prices = Prices(price_per_device_hour, price_per_kwh, pue)
    no_cost = "without a cost, as in --minimise cost or --limit cost=VALUE"
    if backtest is not None:
        refuse_others("--backtest", "backtest", "max_slowdown", "as_json")
        _backtest(folder, backtest, 0.05 if max_slowdown is None else max_slowdown, as_json)
        return
    if pareto:
        refuse_others("--pareto", "pareto", "tunable", *PRICES, "as_json")
        if COST not in map(comparable, pareto):
            refuse(PRICES, "without a cost, as in --pareto time cost")
        _pareto(folder, pareto, prices, tunable, as_json)
        return
    parsed = parse_limits(limits)
    if COST not in parsed and (minimise is None or comparable(minimise) != COST):
        refuse(PRICES, no_cost)
    if max_slowdown is None and not parsed:
        refuse(["confidence"], "without --max-slowdown or --limit")
    found = advise_runs(
        runs_in(folder),
        minimise,
        max_slowdown,
        confidence,
        unmeasured,
        parsed,
        prices,
        samples,
        tunable,
    )
    warnings = dict.fromkeys(note for advice in found for note in advice.warnings)
    if as_json:
        emit_json("advise", found, warnings=warnings)
        return
    for advice in found:
        click.echo(advice.words)
    say("settings that were run: geometric means of the repeats, with 90 % intervals")
    say_warnings(warnings)


def _pareto(
    folder: Path, names: tuple[str, str], prices: Prices, tunable: tuple[str, ...], as_json: bool
) -> None:
    from wattlaw.advice.pareto import pareto_points
    from wattlaw.analysis.groups import group_title

    found = pareto_points(runs_in(folder), *names, prices, tunable)
    if as_json:
        emit_json("pareto", found)
        return
    x, y = map(quantity, found[0].values)
    groups = {tuple(point.group.items()): point.group for point in found}
    for group in groups.values():
        rows = []
        for point in found:
            if point.group == group:
                first, second = point.values.values()
                cells = [show(first, x.unit), show(second, y.unit)]
                rows.append([point.words, *cells, str(point.n)])
        # outside the table, whose own title would be broken where the table is narrower
        click.echo(group_title(group))
        print_table(["setting", x.title, y.title, "runs"], rows)


def _backtest(folder: Path, probes: int, bound: float, as_json: bool) -> None:
    from wattlaw.advice.backtest import backtest_advise, summary_of_advice

    found = backtest_advise(runs_in(folder), probes, bound)
    overall = summary_of_advice(found)
    if as_json:
        emit_json("backtest", found, overall)
        return
    rows = []
    for curve in found:
        caps = [f"{curve.chosen:g} W", f"{curve.best:g} W"]
        shares = [f"{100 * curve.regret:.1f} %", f"{100 * curve.slowdown:+.1f} %"]
        rows.append([curve.group, *caps, *shares, "exceeded" if curve.broken else "kept"])
    print_table(["group", "chosen", "best", "regret", "slowdown", "bound"], rows)
    click.echo(
        f"{overall['curves']} curves: mean regret {100 * overall['mean_regret']:.2f} % of the "
        f"energy at the highest cap; the bound of {100 * bound:g} % was exceeded in "
        f"{100 * overall['bound_broken']:.1f} %"
    )
