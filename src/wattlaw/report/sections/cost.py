"""Time and energy per sample of every setting. Estimated energies have a figure of their own."""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Reading
from wattlaw.core.run import NOT_RECORDED
from wattlaw.core.units import counted
from wattlaw.report.content import Figure, PageTable, Panel, Section
from wattlaw.report.context import Context, SettingRow, WorkloadGroup, short_names
from wattlaw.report.figures.chart import (
    AxisUnit,
    Cell,
    VegaSpec,
    altair,
    chart,
    names_axis,
    needs_log,
    spec,
    tooltip,
)
from wattlaw.report.figures.shown_settings import ShownSettings, settings_with
from wattlaw.report.formatting import shown

NAMES = {"cost": "cost"}

TIME, ENERGY = "time_per_sample_s", "energy_per_sample_j"
MEANS = "The dot is the geometric mean of the repeats, the bar its 90 % interval."
MAX_REASONS = 3


def cost(context: Context) -> Section | None:
    """Draw time per sample, measured energy per sample and, separately, estimated energy."""
    if not context.rows:
        return None
    estimate = f"An estimate, not a measurement: {_models(context)} Its error is unknown."
    title = "Energy per sample"
    figures = (
        _figure(context, "time", "Time per sample", TIME, "measured", MEANS),
        _figure(context, "energy", f"{title}, measured", ENERGY, "measured", MEANS),
        _figure(context, "energy-estimate", f"{title}, estimated", ENERGY, "estimated", estimate),
    )
    found = list(filter(None, figures))
    missing = _why_no_energy(context)
    if not found and not missing:
        return None
    return Section("cost", "What a sample costs", 20, figures=found, missing=missing)


def _figure(
    context: Context, name: str, title: str, target: str, status: str, caption: str
) -> Figure | None:
    def has_value(row: SettingRow) -> bool:
        reading = row.reading(target)
        return reading.status == status and bool(reading.value)

    shown_settings = settings_with(context, has_value, target)
    if shown_settings.total < 2:
        return None  # a figure compares; a single value is in the table
    panels = []
    for group, rows in shown_settings.groups:
        panels.append(Panel(group.name, _chart(group, rows, target), 24 * len(rows) + 8))
    return Figure(
        name,
        title,
        caption + shown_settings.not_drawn,
        panels,
        _table(shown_settings, target, title),
        wide=shown_settings.has_long_names,
    )


def _chart(group: WorkloadGroup, rows: Sequence[SettingRow], target: str) -> VegaSpec:
    alt = altair()
    unit = quantity(target).unit
    readings = [row.reading(target) for row in rows]
    values = [reading.value for reading in readings]
    has_interval = any(reading.low is not None for reading in readings)
    axis_unit = AxisUnit(values, unit)
    scale = alt.Scale(type="log") if needs_log(values) else alt.Scale(zero=True)
    title = _axis_title(rows, axis_unit, target)
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))
    data = [_datum(row, row.reading(target), axis_unit, unit) for row in rows]
    base = chart(data).encode(
        y=names_axis("name", short_names(rows)),
        tooltip=tooltip(label="setting", text="mean", n="repeats"),
    )
    is_estimate = readings[0].status == "estimated"
    fill = "var(--paper)" if is_estimate else group.colour
    dots = base.mark_point(
        color=group.colour, fill=fill, size=64, opacity=1, strokeWidth=1.75
    ).encode(x=x)
    if not has_interval:
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


def _table(shown_settings: ShownSettings, target: str, title: str) -> PageTable:
    unit = quantity(target).unit
    columns = ["workload", "setting", "mean [90 % interval]", "repeats", "status"]
    rows: list[list[str]] = []
    keys: list[list[Cell]] = []
    for group, row in shown_settings:
        reading = row.reading(target)
        count = reading.n or 1
        name = [group.name, row.label]
        rows.append([*name, shown(reading, unit), str(count), reading.status])
        keys.append([*name, reading.value, count, reading.status])
        if target == ENERGY:
            rows[-1].append(row.boundaries)
            keys[-1].append(row.boundaries)
    if target == ENERGY:
        columns.append("of")
    return PageTable(columns, rows, title, keys)


def _models(context: Context) -> str:
    """Return the models behind the estimates; "cpu: model: …; pauses left out" names one."""
    found: dict[str, None] = {}
    for _, row in context.rows:
        reading = row.reading(ENERGY)
        if reading.status == "estimated" and reading.how:
            model = reading.how.partition("model: ")[2].removesuffix("; pauses left out")
            found[model or reading.how] = None
    return "; ".join(list(found)[:MAX_REASONS] or ["the records name no model"]) + "."


def _why_no_energy(context: Context) -> str:
    missing = []
    for _, row in context.rows:
        reading = row.reading(ENERGY)
        if reading.status == "missing":
            missing.append(reading.how)
    if not missing:
        return ""
    scope = "Energy"
    if len(missing) < len(context.rows):
        scope = f"Energy of {len(missing)} of {counted(len(context.rows), 'setting')}"
    reasons = _reasons(context) or dict.fromkeys(filter(None, missing))
    words = "; ".join(list(reasons)[:MAX_REASONS]) or "no meter measured it"
    if words == NOT_RECORDED.how:
        words = "it was not recorded"
    return f"{scope} is missing, because {words}."


def _reasons(context: Context) -> dict[str, None]:
    found: dict[str, None] = {}
    for run in context.runs:
        for name, reading in run.quantities.items():
            if name.endswith("_energy_j") and reading.status == "missing" and reading.how:
                found[reading.how] = None
    return found
