"""``wattlaw accelerators``: figures, Pareto frontier, share of peak, and choosing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.accelerators.filters import (
    CATALOGUE,
    OUT,
    PATH,
    Chosen,
    entries,
    filters,
    plotted_entries,
    print_entries,
    show_known,
)
from wattlaw.cli.flags import refuse
from wattlaw.cli.output import (
    OneOf,
    emit_json,
    json_option,
    runs_in,
    say,
    say_warnings,
)
from wattlaw.cli.tables import print_table
from wattlaw.core.units import show

if TYPE_CHECKING:
    from wattlaw.accelerators.catalogue.achieved import AchievedShare
    from wattlaw.accelerators.catalogue.survey import GroupBy
    from wattlaw.accelerators.choosing.choose import (
        AcceleratorCandidate,
        AcceleratorChoice,
        RankBy,
    )
    from wattlaw.core.findings import Interval

ACHIEVED_COLUMNS = (
    *("workload", "accelerator", "precision", "devices"),
    *("samples/s each", "share of peak", "flop/J", "source"),
)


@click.command(short_help="Draw peak performance against peak power.")
@filters
@OUT
@click.option(
    "--zoom", default="", help="A segment to zoom into, or 'each' for a file per segment."
)
@click.option("--labels/--no-labels", default=True, help="Write the names beside the points.")
@click.option("--title", default="", help="Title of the figure.")
@json_option
def plot(
    out: Path | None, zoom: str, labels: bool, title: str, as_json: bool, **chosen: Chosen
) -> None:
    """Draw the figure of the surveys: peak performance against peak power.

    With --survey YEAR it shows the values of that year's survey. --json prints what was drawn.
    """
    from wattlaw.accelerators.catalogue.entry import SEGMENT_NAMES, segment
    from wattlaw.accelerators.figures.scatter import plot as draw
    from wattlaw.accelerators.figures.style import write

    found = plotted_entries(chosen)
    path = out or Path("accelerators.html")
    files = {zoom: path}
    if zoom == "each":
        files = {n: path.with_name(f"{path.stem}-{n}{path.suffix}") for n in SEGMENT_NAMES}
    for name, file in files.items():
        write(draw(found, title, name, labels), file)
        say(f"wrote {file}")
    if as_json:
        drawn = [e for e in found if e.op_per_joule]
        if zoom not in ("", "each"):
            drawn = [e for e in drawn if segment(e.power_w) == zoom]
        written = [str(file) for file in files.values()]
        emit_json("accelerators", drawn, {"rows": len(drawn), "files": written})


@click.command(short_help="Show efficiency over the years.")
@filters
@click.option(
    "--by",
    type=OneOf(["segment", "precision", "technology", "form_factor", "use"]),
    default="segment",
    show_default=True,
    help="How entries are grouped.",
)
@OUT
@json_option
def trend(by: GroupBy, out: Path | None, as_json: bool, **chosen: Chosen) -> None:
    """Show efficiency over the years; -o also draws it, with frontiers, number formats and
    technologies.
    """
    from wattlaw.accelerators.catalogue.survey import trend as trend_of

    found = plotted_entries(chosen)
    rows = trend_of(found, by)
    if out:
        from wattlaw.accelerators.figures.style import write
        from wattlaw.accelerators.figures.trends import plot_trend

        write(plot_trend(found, by=by), out)
        say(f"wrote {out}")
    if as_json:
        emit_json("accelerators trend", rows, {"rows": len(rows)})
        return
    cells = []
    for row in rows:
        middle = show(row.median_op_per_joule, "OPS/W")
        best = show(row.best_op_per_joule, "OPS/W")
        cells.append([row.group, str(row.year), str(row.entries), middle, best, row.best])
    print_table([by, "year", "entries", "median", "best", "best accelerator"], cells)


@click.command(short_help="List the accelerators on the Pareto frontier.")
@filters
@json_option
def frontier(as_json: bool, **chosen: Chosen) -> None:
    """List the Pareto frontier: accelerators that no other beats in both peak and power."""
    from wattlaw.accelerators.catalogue.survey import frontier as frontier_of

    found = frontier_of(plotted_entries(chosen))
    if as_json:
        emit_json("accelerators", found, {"rows": len(found)})
        return
    print_entries(found)


@click.command(short_help="Show the share of peak that runs achieved.")
@click.argument("folder", metavar="[DIR]", required=False, type=PATH)
@click.option(
    "--precision", default="", help="Precision of runs that record none, as imported ones do."
)
@CATALOGUE
@OUT
@json_option
def measured(
    folder: Path | None, precision: str, catalogue: Path | None, out: Path | None, as_json: bool
) -> None:
    """Show the share of their devices' peak that the runs in DIR achieved.

    Without DIR: the single-node results of MLPerf Training that come with wattlaw.
    """
    from wattlaw.accelerators.catalogue.achieved import achieved_all, mlperf_achieved

    if folder:
        found = achieved_all(runs_in(folder), catalogue, precision)
    else:
        refuse(["precision", "catalogue"], "without DIR")
        found = mlperf_achieved()
    if out:
        from wattlaw.accelerators.figures.achieved_shares import plot_measured
        from wattlaw.accelerators.figures.style import write

        write(plot_measured(found), out)
        say(f"wrote {out}")
    if as_json:
        emit_json("accelerators measured", found, {"rows": len(found)})
        return
    print_table(ACHIEVED_COLUMNS, [_achieved_cells(r) for r in found])
    reasons = [r.share_of_peak.how for r in found if r.share_of_peak.value is None]
    for why in dict.fromkeys(reasons):
        say(f"unknown share: {why}")


@click.command(short_help="Rank accelerators for a workload and power budget.")
@click.option(
    "--workload",
    required=True,
    help="A workload of `wattlaw list workloads`, mlperf-bert or mlperf-resnet.",
)
@click.option("--preset", default="base", show_default=True, help="Preset of the workload.")
@click.option(
    "--budget-kw", type=float, default=100.0, show_default=True, help="Power of the devices, kW."
)
@click.option("--samples", type=float, default=1e6, show_default=True, help="Samples to train on.")
@click.option(
    "--by",
    type=OneOf(["time", "energy"]),
    default="time",
    show_default=True,
    help="Rank by this quantity.",
)
@click.option("--runs", type=PATH, help="Folder of own runs that correct the prediction.")
@click.option(
    "--most", type=click.IntRange(min=1), default=20, show_default=True, help="Candidates to print."
)
@filters
@json_option
def choose(
    workload: str,
    preset: str,
    budget_kw: float,
    samples: float,
    by: RankBy,
    runs: Path | None,
    most: int,
    as_json: bool,
    **chosen: Chosen,
) -> None:
    """Rank accelerators for a workload by predicted time or energy within a power budget."""
    from wattlaw.accelerators.choosing.choose import choose as rank

    if as_json:
        refuse(["most"], "with --json, which prints every candidate")
    found = rank(
        workload,
        entries(chosen),
        budget_kw=budget_kw,
        samples=samples,
        preset=preset,
        by=by,
        runs=runs_in(runs) if runs else (),
    )
    overall = {
        "basis": found.basis,
        "median_error": found.median_error,
        "devices_held_out": found.devices_held_out,
    }
    if as_json:
        emit_json("accelerators choose", found.candidates, overall, found.warnings)
        return
    count = f"{samples:,.0f}".replace(",", " ")
    _print_choice(found, most, f"training on {count} samples within {budget_kw:g} kW")


def _print_choice(found: AcceleratorChoice, most: int, title: str) -> None:
    rows = []
    for candidate in found.candidates[:most]:
        identity = [candidate.label, str(candidate.year or "?"), str(candidate.devices)]
        time_s, energy_j = _ends(candidate.time_s, "s"), _ends(candidate.energy_j, "J")
        rows.append([*identity, time_s, energy_j, _basis(candidate)])
    if found.median_error is None:
        interval = ""
        error = f"the error for {found.workload} is unknown, so there is no interval"
    else:
        interval = " [90 %]"
        error = f"left-out devices are predicted to {found.median_error:.0%} (median)"
    columns = [f"time{interval}", f"energy at most{interval}"]
    print_table(["accelerator", "year", "devices", *columns, "basis"], rows, title)
    say(f"{found.basis}; {error}")
    say_warnings(found.warnings)


def _achieved_cells(row: AchievedShare) -> list[str]:
    share = "unknown"
    if row.share_of_peak.value is not None:
        share = f"{show(100 * row.share_of_peak.value)} %"
    return [
        row.workload,
        row.accelerator,
        row.precision,
        str(row.devices),
        show_known(row.samples_per_s.value, "", "unknown"),
        share,
        show_known(row.flop_per_joule.value, "", "unknown"),
        row.source,
    ]


def _basis(candidate: AcceleratorCandidate) -> str:
    if candidate.measured:
        return "result"
    words = ["roofline"]
    if candidate.link_taken:
        words.append("link assumed")
    if candidate.held_at_floor:
        words.append("step floor")
    return ", ".join(words)


def _ends(interval: Interval, unit: str) -> str:
    value = show(interval.value, unit)
    if interval.low is None or interval.high is None:
        return value
    return f"{value} [{show(interval.low, unit)}, {show(interval.high, unit)}]"
