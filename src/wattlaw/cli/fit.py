"""``wattlaw fit``: the law of each group of runs, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.output import emit_json, json_option, print_table, say_warnings

if TYPE_CHECKING:
    from wattlaw.core.findings import Fit, Interval

NAMES = {"fit": "fit"}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--target", default="time_per_sample_s", show_default=True, help="The quantity to explain.")
@click.option(
    "--over", default="devices", show_default=True, help="What explains it: devices, power_cap_w, an option …"
)
@click.option("--law", default="auto", show_default=True, help="speedup, power, amdahl, usl, alpha-beta or auto.")
@json_option
def fit(folder: Path, target: str, over: str, law: str, as_json: bool) -> None:
    """Fit how a quantity scales, for each group of runs in FOLDER.

    Two sizes give a speedup, three or more a power law t = alpha·N^(-beta); ends are 90 % intervals.
    """
    from wattlaw.laws.fit import fit_groups
    from wattlaw.records import load_runs

    fits, notes = fit_groups(load_runs(folder), target, over, law)
    if as_json:
        emit_json("fit", fits, warnings=notes)
        return
    rows = [_row(f, name, value) for f in fits for name, value in f.parameters.items()]
    print_table(
        ["group", "law", "parameter", "value", "90 % interval", "runs", "held-out error"],
        rows,
        title=f"{target} over {over}",
    )
    say_warnings([*notes, *(n for f in fits for n in f.warnings)])


def _row(fit: Fit, name: str, value: Interval) -> list[str]:
    from wattlaw.laws.groups import title

    error = "" if fit.held_out_error is None else f"{100 * fit.held_out_error:.1f} %"
    return [title(fit.group), fit.law, name, f"{value.value:.4g}", _ends(value), str(fit.n), error]


def _ends(value: Interval) -> str:
    if value.low is None or value.high is None:
        return "too few repeats"
    return f"{value.low:.4g} … {value.high:.4g}"
