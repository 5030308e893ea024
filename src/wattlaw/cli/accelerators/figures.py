"""``wattlaw accelerators``: figures, the frontier, what was achieved, and what to choose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wattlaw.cli.accelerators.filters import (
    CATALOGUE,
    OUT,
    PATH,
    entries,
    filters,
    pictured,
    print_entries,
)
from wattlaw.cli.output import OneOf, emit_json, json_option, runs_in, say, say_warnings
from wattlaw.cli.tables import print_table

if TYPE_CHECKING:
    from wattlaw.accelerators.catalogue.achieved import Achieved
    from wattlaw.accelerators.choosing.choose import Candidate
    from wattlaw.core.findings import Interval
    from wattlaw.core.reading import Reading


@click.command(short_help="Draw promised peak against peak power.")
@filters
@OUT
@click.option("--zoom", default="", help="A segment to zoom into, or 'each' for a file a segment.")
@click.option("--labels/--no-labels", default=True, help="Write the names beside the points.")
@click.option("--title", default="", help="Title of the figure.")
@json_option
def plot(
    out: Path | None, zoom: str, labels: bool, title: str, as_json: bool, **chosen: Any
) -> None:
    """Draw the figure of the surveys: promised peak against peak power.

    With --survey YEAR the figures are those that the survey of that year gave. --json prints what was drawn.
    """
    from wattlaw.accelerators.catalogue.entry import SEGMENTS, segment
    from wattlaw.accelerators.figures.scatter import plot as draw
    from wattlaw.accelerators.figures.scatter import write

    found = pictured(chosen)
    path = out or Path("accelerators.html")
    names = [s.name for s in SEGMENTS] if zoom == "each" else [zoom]
    files = [
        path.with_name(f"{path.stem}-{n}{path.suffix}") if zoom == "each" else path for n in names
    ]
    for name, to in zip(names, files, strict=True):
        write(draw(found, title, name, labels), to)
        say(f"wrote {to}")
    if as_json:
        drawn = [e for e in found if e.op_per_joule and zoom in ("", "each", segment(e.power_w))]
        emit_json("accelerators", drawn, {"rows": len(drawn), "files": [str(f) for f in files]})


@click.command(short_help="Show promised efficiency over the years.")
@filters
@click.option(
    "--by",
    type=OneOf(["segment", "precision", "technology", "form_factor", "use"]),
    default="segment",
)
@OUT
@json_option
def trend(by: Any, out: Path | None, as_json: bool, **chosen: Any) -> None:
    """Show promised efficiency over the years; with -o also draw it, beside the frontier and what there was of each."""
    from wattlaw.accelerators.catalogue.survey import trend as over_years
    from wattlaw.accelerators.figures.scatter import write
    from wattlaw.accelerators.figures.trends import plot_trend
    from wattlaw.core.units import show as told

    found = pictured(chosen)
    rows = over_years(found, by)
    if out:
        write(plot_trend(found, by=by), out)
        say(f"wrote {out}")
    if as_json:
        emit_json("accelerators trend", rows, {"rows": len(rows)})
        return
    unit = "op/s/W"
    cells = [
        [
            r.group,
            str(r.year),
            str(r.entries),
            told(r.median_op_per_joule, unit),
            told(r.best_op_per_joule, unit),
            r.best,
        ]
        for r in rows
    ]
    print_table([by, "year", "entries", "median", "best", "whose"], cells)


@click.command(short_help="List accelerators that no other beats in peak and power.")
@filters
@json_option
def frontier(as_json: bool, **chosen: Any) -> None:
    """List the accelerators that no other beats in both peak and power."""
    from wattlaw.accelerators.catalogue.survey import frontier as best

    found = best(pictured(chosen))
    if as_json:
        emit_json("accelerators", found, {"rows": len(found)})
        return
    print_entries(found)


@click.command(short_help="Show what runs achieved of what their devices promise.")
@click.argument("folder", metavar="[DIR]", required=False, type=PATH)
@click.option(
    "--precision", default="", help="Taken where a run records none, as imported ones do not."
)
@CATALOGUE
@OUT
@json_option
def measured(
    folder: Path | None, precision: str, catalogue: Path | None, out: Path | None, as_json: bool
) -> None:
    """Show what the runs in DIR achieved of what their devices promise.

    Without DIR: the single-node results of MLPerf Training that come with wattlaw.
    """
    from wattlaw.accelerators.catalogue.achieved import achieved_all, mlperf_achieved
    from wattlaw.accelerators.figures.scatter import write
    from wattlaw.accelerators.figures.trends import plot_measured

    found = achieved_all(runs_in(folder), catalogue, precision) if folder else mlperf_achieved()
    if out:
        write(plot_measured(found), out)
        say(f"wrote {out}")
    if as_json:
        emit_json("accelerators measured", found, {"rows": len(found)})
        return
    columns = [
        "workload",
        "accelerator",
        "precision",
        "devices",
        "samples/s each",
        "share of peak",
        "flop/J",
        "source",
    ]
    print_table(columns, [_achieved(r) for r in found])
    unknown = dict.fromkeys(r.share_of_peak.how for r in found if r.share_of_peak.value is None)
    for why in unknown:
        say(f"unknown share: {why}")


@click.command(short_help="Rank accelerators for a workload within a power budget.")
@click.option(
    "--workload",
    required=True,
    help="A workload of `wattlaw list workloads`, mlperf-bert or mlperf-resnet.",
)
@click.option("--preset", default="base", show_default=True, help="Preset of the workload.")
@click.option(
    "--budget-kw", type=float, default=100.0, show_default=True, help="Power for the devices, kW."
)
@click.option("--samples", type=float, default=1e6, show_default=True, help="Samples to train on.")
@click.option(
    "--by", type=OneOf(["time", "energy"]), default="time", show_default=True, help="What ranks."
)
@click.option(
    "--runs", type=PATH, default=None, help="Folder of own runs that correct the prediction."
)
@click.option(
    "--most", type=click.IntRange(min=1), default=20, show_default=True, help="Candidates to print."
)
@filters
@json_option
def choose(
    workload: str, preset: str, budget_kw: float, samples: float, by: Any, runs: Path | None, most: int,
    as_json: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Rank accelerators for a workload by predicted time or energy within a power budget."""
    from wattlaw.accelerators.choosing.choose import choose as rank

    # what is sold for inference alone is no candidate for training unless it is asked for
    chosen["use"] = chosen["use"] or ("training", "unknown")
    found = rank(
        workload, entries(chosen), budget_kw=budget_kw, samples=samples, preset=preset, by=by,
        runs=runs_in(runs) if runs else (),
    )  # fmt: skip
    overall = {
        "basis": found.basis,
        "median_error": found.median_error,
        "devices_held_out": found.devices_held_out,
    }
    if as_json:
        emit_json("accelerators choose", found.candidates, overall, found.warnings)
        return
    rows = [
        [
            c.label,
            str(c.year or "?"),
            str(c.devices),
            _ends(c.time_s, "s"),
            _ends(c.energy_j, "J"),
            _basis(c),
        ]
        for c in found.candidates[:most]
    ]
    known = found.median_error is not None
    span = " [90 %]" if known else ""
    title = f"training on {samples:,.0f} samples within {budget_kw:g} kW".replace(",", " ")
    print_table(
        ["accelerator", "year", "devices", f"time{span}", f"energy at most{span}", "from"],
        rows,
        title,
    )
    error = f"left-out devices are predicted to {found.median_error:.0%} (median)" if known else (
        f"how far this errs for {workload} is not known, so there is no interval"
    )  # fmt: skip
    say(f"{found.basis}; {error}")
    say_warnings(found.warnings)


def _achieved(row: Achieved) -> list[str]:
    from wattlaw.core.units import show as told

    def value(reading: Reading, unit: str) -> str:
        return told(reading.value, unit) if reading.value is not None else "unknown"

    share = row.share_of_peak.value
    return [
        row.workload, row.accelerator, row.precision, str(row.devices), value(row.samples_per_s, ""),
        f"{told(100 * share)} %" if share is not None else "unknown", value(row.flop_per_joule, ""), row.source,
    ]  # fmt: skip


def _basis(candidate: Candidate) -> str:
    if candidate.measured:
        return "result"
    doubts = [(candidate.link_taken, "link taken"), (candidate.held_at_floor, "step floor")]
    return ", ".join(["roofline", *(words for doubted, words in doubts if doubted)])


def _ends(interval: Interval, unit: str) -> str:
    from wattlaw.core.units import show as told

    if interval.low is None or interval.high is None:
        return told(interval.value, unit)
    return f"{told(interval.value, unit)} [{told(interval.low, unit)}, {told(interval.high, unit)}]"
