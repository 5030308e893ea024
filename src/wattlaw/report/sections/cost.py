"""Time and energy per sample of every setting. Estimated energies have a figure of their own."""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Reading
from wattlaw.core.units import counted
from wattlaw.report.content import MOST_PANELS, Figure, PageTable, Panel, Section, not_drawn
from wattlaw.report.context import Context, SettingRow, WorkloadGroup, least_rows
from wattlaw.report.figures.chart import (
    AxisUnit,
    Cell,
    VegaSpec,
    altair,
    chart,
    has_long,
    names_axis,
    needs_log,
    spec,
    tooltip,
)
from wattlaw.report.formatting import shown

NAMES = {"cost": "cost"}

TIME, ENERGY = "time_per_sample_s", "energy_per_sample_j"
MEANS = "The dot is the geometric mean of the repeats, the bar its 90 % interval."
MOST_REASONS = 3

Chosen = list[tuple[WorkloadGroup, list[SettingRow]]]


def cost(context: Context) -> Section | None:
    """Draw time per sample, measured energy per sample, and apart from it the estimated one."""
    if not context.rows:
        return None
    estimate = (
        f"An estimate, not a measurement: {_models(context)} How far off it is, is not known."
    )
    title = "Energy per sample"
    figures = [
        _figure(context, "time", "Time per sample", TIME, "measured", MEANS),
        _figure(context, "energy", f"{title}, measured", ENERGY, "measured", MEANS),
        _figure(context, "energy-estimate", f"{title}, estimated", ENERGY, "estimated", estimate),
    ]
    found = [figure for figure in figures if figure]
    missing = _why_no_energy(context)
    if not found and not missing:
        return None
    return Section("cost", "What a sample costs", 20, figures=found, missing=missing)


def _figure(
    context: Context, name: str, title: str, target: str, status: str, caption: str
) -> Figure | None:
    chosen: Chosen = []
    for group in context.groups:
        readings = [(row, row.reading(target)) for row in group.rows]
        rows = [row for row, reading in readings if reading.status == status and reading.value]
        if rows:
            chosen.append((group, rows))
    total = sum(len(rows) for _, rows in chosen)
    if total < 2:
        return None  # a figure compares; a single value is in the table
    drawn = [(group, least_rows(rows, target)) for group, rows in chosen[:MOST_PANELS]]
    panels = []
    for group, rows in drawn:
        panels.append(Panel(group.name, _chart(group, rows, target), 24 * len(rows) + 8))
    count = sum(len(rows) for _, rows in drawn)
    return Figure(
        name,
        title,
        caption + not_drawn(count, total, "settings"),
        panels,
        _table(drawn, target, title),
        wide=has_long(row.short for _, rows in drawn for row in rows),
    )


def _chart(group: WorkloadGroup, rows: Sequence[SettingRow], target: str) -> VegaSpec:
    alt = altair()
    unit = quantity(target).unit
    readings = [row.reading(target) for row in rows]
    values = [reading.value for reading in readings]
    axis_unit = AxisUnit(values, unit)
    scale = alt.Scale(type="log") if needs_log(values) else alt.Scale(zero=True)
    title = _axis_title(rows, axis_unit, target)
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))
    data = [_datum(row, row.reading(target), axis_unit, unit) for row in rows]
    base = chart(data).encode(
        y=names_axis("name", [row.short for row in rows]),
        tooltip=tooltip(label="setting", text="mean", n="repeats"),
    )
    is_estimate = readings[0].status == "estimated"
    fill = "var(--paper)" if is_estimate else group.colour
    dots = base.mark_point(
        color=group.colour, fill=fill, size=64, opacity=1, strokeWidth=1.75
    ).encode(x=x)
    if all(reading.low is None for reading in readings):
        return spec(dots)
    bars = base.mark_rule(color=group.colour, strokeWidth=4, opacity=0.35, strokeCap="round")
    return spec(bars.encode(x=alt.X("low:Q", scale=scale), x2="high:Q") + dots)


def _axis_title(rows: Sequence[SettingRow], unit: AxisUnit, target: str) -> str:
    if target == TIME:
        return unit.title("time per sample")
    boundaries = {row.boundaries for row in rows}
    if len(boundaries) > 1:
        return unit.title("energy per sample, of different parts")
    return unit.title(f"{boundaries.pop().upper()} energy per sample")


def _datum(row: SettingRow, reading: Reading, axis_unit: AxisUnit, unit: str) -> dict[str, Cell]:
    return {
        "label": row.label,
        "name": row.short,
        "value": axis_unit(reading.value),
        "low": axis_unit(reading.low),
        "high": axis_unit(reading.high),
        "text": shown(reading, unit),
        "n": str(reading.n or 1),
    }


def _table(drawn: Chosen, target: str, title: str) -> PageTable:
    unit = quantity(target).unit
    columns = ["workload", "setting", "mean [90 % interval]", "repeats", "status"]
    if target == ENERGY:
        columns.append("of")
    rows: list[list[str]] = []
    keys: list[list[Cell]] = []
    for group, members in drawn:
        for row in members:
            reading = row.reading(target)
            count = reading.n or 1
            end = [row.boundaries] if target == ENERGY else []
            name = [group.name, row.label]
            rows.append([*name, shown(reading, unit), str(count), reading.status, *end])
            keys.append([*name, reading.value, count, reading.status, *end])
    return PageTable(columns, rows, title, keys)


def _models(context: Context) -> str:
    """Return the models behind the estimates; "cpu: model: …; pauses left out" names one."""
    found: dict[str, None] = {}
    for _, row in context.rows:
        reading = row.reading(ENERGY)
        if reading.status == "estimated" and reading.how:
            model = reading.how.partition("model: ")[2].removesuffix("; pauses left out")
            found[model or reading.how] = None
    return "; ".join(list(found)[:MOST_REASONS] or ["the records name no model"]) + "."


def _why_no_energy(context: Context) -> str:
    rows = [row.reading(ENERGY) for _, row in context.rows]
    missing = [reading for reading in rows if reading.status == "missing"]
    if not missing:
        return ""
    scope = "Energy"
    if len(missing) < len(rows):
        scope = f"Energy of {len(missing)} of {counted(len(rows), 'setting')}"
    reasons = _reasons(context) or dict.fromkeys(r.how for r in missing if r.how)
    words = []
    for reason in list(reasons)[:MOST_REASONS]:
        words.append("it was not recorded" if reason == "not recorded" else reason)
    return f"{scope} is missing, because {'; '.join(words) or 'no meter measured it'}."


def _reasons(context: Context) -> dict[str, None]:
    found: dict[str, None] = {}
    for run in context.runs:
        for name, reading in run.quantities.items():
            if name.endswith("_energy_j") and reading.status == "missing" and reading.how:
                found[reading.how] = None
    return found
