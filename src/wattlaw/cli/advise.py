"""``wattlaw advise``: the setting to run next, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.output import emit_json, json_option, runs_in, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import UsageError
from wattlaw.core.quantities import quantity
from wattlaw.core.units import show

if TYPE_CHECKING:
    from wattlaw.analysis.prices import Prices

NAMES = {"advise": "advise"}


@click.command(short_help="Say which setting to run next.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--minimise",
    default=None,
    help="time, energy, cost, device_hours or a quantity; by default measured energy, else device-hours.",
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
    help="Least probability that the bound holds.",
)
@click.option(
    "--backtest",
    type=int,
    metavar="K",
    help="Advise from K power caps of each curve and judge it by the rest.",
)
@click.option(
    "--limit", "limits", multiple=True, help="QUANTITY=MOST that no setting may exceed; repeat it."
)
@click.option(
    "--price-per-device-hour", type=float, default=0.0, help="In any currency, for a cost."
)
@click.option("--price-per-kwh", type=float, default=0.0, help="In the same currency.")
@click.option(
    "--pue",
    type=float,
    default=1.0,
    show_default=True,
    help="Power of the building over its machines'.",
)
@click.option(
    "--pareto",
    nargs=2,
    metavar="X Y",
    help="Show the settings that no other beats in both X and Y.",
)
@click.option(
    "--unmeasured",
    is_flag=True,
    help="Weigh numbers of devices and power caps that nobody ran, too.",
)
@json_option
def advise(
    folder: Path,
    minimise: str | None,
    max_slowdown: float | None,
    confidence: float,
    limits: tuple[str, ...],
    unmeasured: bool,
    price_per_device_hour: float,
    price_per_kwh: float,
    pue: float,
    pareto: tuple[str, str] | None,
    backtest: int | None,
    as_json: bool,
) -> None:
    """Say which setting to run next, for each workload in DIR."""
    from wattlaw.advice.advise import advise as advise_runs
    from wattlaw.analysis.prices import Prices

    if backtest is not None:
        _backtest(folder, backtest, 0.05 if max_slowdown is None else max_slowdown, as_json)
        return
    prices = Prices(price_per_device_hour, price_per_kwh, pue)
    if pareto:
        _pareto(folder, pareto, prices, as_json)
        return
    found = advise_runs(
        runs_in(folder), minimise, max_slowdown, confidence, unmeasured, _limits(limits), prices
    )
    if as_json:
        emit_json("advise", found, warnings=dict.fromkeys(n for a in found for n in a.warnings))
        return
    for advice in found:
        click.echo(advice.words)
    say("what was run: geometric means of the repeats with 90 % intervals")
    say_warnings(n for a in found for n in a.warnings)


def _limits(texts: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            most = float(value)
        except ValueError:
            raise UsageError(
                f"--limit {text!r}: give QUANTITY=MOST, such as device_time_per_sample_s=0.02"
            ) from None
        name = name.strip()
        if name in found:
            raise UsageError(
                f"{name} is limited twice, to {found[name]:g} and {most:g}; give one --limit for it"
            )
        found[name] = most
    return found


def _pareto(folder: Path, names: tuple[str, str], prices: Prices, as_json: bool) -> None:
    from wattlaw.advice.pareto import pareto_points
    from wattlaw.analysis.groups import group_title

    found = pareto_points(runs_in(folder), *names, prices)
    if as_json:
        emit_json("pareto", found)
        return
    x, y = found[0].values
    units = [quantity(name).unit for name in (x, y)]
    for group in {tuple(p.group.items()): p.group for p in found}.values():
        rows = [
            [p.words, show(p.values[x], units[0]), show(p.values[y], units[1]), str(p.n)]
            for p in found
            if p.group == group
        ]
        # the title of a table is broken where the table is narrower
        click.echo(group_title(group))
        print_table(["setting", quantity(x).title, quantity(y).title, "runs"], rows)


def _backtest(folder: Path, probes: int, bound: float, as_json: bool) -> None:
    from wattlaw.advice.backtest import backtest_advise, summary_of_advice

    found = backtest_advise(runs_in(folder), probes, bound)
    overall = summary_of_advice(found)
    if as_json:
        emit_json("backtest", found, overall)
        return
    rows = [
        [f.group, f"{f.chosen:g} W", f"{f.best:g} W", f"{100 * f.regret:.1f} %", f"{100 * f.slowdown:+.1f} %",
         "broken" if f.broken else "kept"]
        for f in found
    ]  # fmt: skip
    print_table(["group", "chosen", "best", "regret", "slowdown", "bound"], rows)
    click.echo(
        f"{overall['curves']} curves: mean regret {100 * overall['mean_regret']:.2f} % of the energy at the highest "
        f"cap; the bound of {100 * bound:g} % was broken in {100 * overall['bound_broken']:.1f} %"
    )
