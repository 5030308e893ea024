"""``wattlaw fit``: the law of each group of runs, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse_others
from wattlaw.cli.output import OneOf, emit_json, json_option, runs_in, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import UsageError

if TYPE_CHECKING:
    from wattlaw.core.findings import Fit, Interval

NAMES = {"fit": "fit"}

TARGETS_OF_BACKTEST = ("time_per_sample_s", "elapsed_s")


@click.command(short_help="Fit how a quantity scales, with intervals.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--target", default="time_per_sample_s", show_default=True, help="The quantity to explain."
)
@click.option(
    "--over",
    default="devices",
    show_default=True,
    help="The factor that explains it: devices, power_cap_w, an option …",
)
@click.option(
    "--law",
    default="auto",
    show_default=True,
    help="auto, or a name from `wattlaw list laws`.",
)
@click.option(
    "--backtest",
    type=OneOf(["largest", "next", "random"]),
    help="Hide sizes and predict them from the others.",
)
@json_option
def fit(
    folder: Path, target: str, over: str, law: str, backtest: str | None, as_json: bool
) -> None:
    """Fit how a quantity scales, for each group of runs in DIR.

    Two sizes give a speedup, three or more the law with the least held-out error. Intervals are
    90 % intervals.
    """
    from wattlaw.analysis.fit import fit_groups

    if backtest:
        refuse_others("--backtest", "backtest", "target", "as_json")
        _backtest(folder, backtest, target, as_json)
        return
    fits, notes = fit_groups(runs_in(folder), target, over, law)
    if as_json:
        emit_json("fit", fits, warnings=notes)
        return
    rows = [_row(f, name, value) for f in fits for name, value in f.parameters.items()]
    head = ["group", "law", "parameter", "value", "90 % interval", "runs", "held-out error"]
    print_table(head, rows, title=f"{target} over {over}")
    say_warnings([*notes, *(note for f in fits for note in f.warnings)])


def _backtest(folder: Path, hide: str, target: str, as_json: bool) -> None:
    from wattlaw.advice.backtest import backtest_fit, summary

    if target not in TARGETS_OF_BACKTEST:
        raise UsageError(
            "--backtest predicts time_per_sample_s or elapsed_s (the time to a target), "
            f"not {target}"
        )
    found = backtest_fit(runs_in(folder), hide, to_target=target == "elapsed_s")  # type: ignore[arg-type]
    overall = summary(found)
    if as_json:
        emit_json("backtest", found, overall)
        return
    rows = []
    for forecast in found:
        measured = [f"{forecast.hidden:g}", f"{forecast.predicted:.4g}"]
        measured += [f"{forecast.low:.4g} … {forecast.high:.4g}", f"{forecast.measured:.4g}"]
        errors = [_signed(forecast.error), _signed(forecast.baseline_error)]
        rows.append([forecast.group, *measured, *errors])
    head = ["group", "hidden", "predicted", "90 % interval", "measured", "error", "power law's"]
    print_table(head, rows)
    error, baseline = _percent(overall["median_error"]), _percent(overall["baseline_median_error"])
    click.echo(
        f"{overall['n']} hidden: median error {error} (power law {baseline}), "
        f"{100 * overall['coverage_90']:.0f} % within 90 % intervals"
    )


def _row(fit: Fit, name: str, value: Interval) -> list[str]:
    from wattlaw.analysis.groups import group_title

    error = "" if fit.held_out_error is None else _percent(fit.held_out_error)
    title = group_title(fit.group)
    return [title, fit.law, name, f"{value.value:.4g}", _ends(value), str(fit.n), error]


def _ends(value: Interval) -> str:
    if value.low is None or value.high is None:
        return "too few repeats"
    return f"{value.low:.4g} … {value.high:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"
