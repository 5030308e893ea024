"""``wattlaw advise``: the setting to run next, and how sure that is."""

from __future__ import annotations

from pathlib import Path

import click

from wattlaw.cli.output import emit_json, json_option, say_warnings

NAMES = {"advise": "advise"}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--minimise", default=None, help="A quantity, such as gpu_energy_j; by default measured energy, else device-hours."
)
@click.option("--max-slowdown", type=float, default=None, help="Time allowed over the fastest setting; 0.05 is 5 %.")
@click.option(
    "--confidence", type=float, default=0.5, show_default=True, help="Least probability that the bound holds."
)
@json_option
def advise(folder: Path, minimise: str | None, max_slowdown: float | None, confidence: float, as_json: bool) -> None:
    """Say which setting to run next, for each workload in FOLDER."""
    from wattlaw.laws.advice import advise as advise_runs
    from wattlaw.records import load_runs

    found = advise_runs(load_runs(folder), minimise, max_slowdown, confidence)
    if as_json:
        emit_json("advise", found, warnings=dict.fromkeys(n for a in found for n in a.warnings))
        return
    for advice in found:
        click.echo(advice.words)
    say_warnings(n for a in found for n in a.warnings)
