"""Time and energy per sample of every setting. Estimated energies stand in a figure of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wattlaw.core.plugins import need
from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Reading
from wattlaw.core.units import counted
from wattlaw.report.context import Context, Group, Row
from wattlaw.report.figure import (
    MOST_PANELS,
    Figure,
    Panel,
    Section,
    Table,
    Unit,
    chart,
    has_long,
    least_first,
    left_out,
    shown,
    spans,
    spec,
)

NAMES = {"cost": "cost"}

SPREAD = "The dot is the geometric mean of the repeats, the bar its 90 % interval."


def cost(context: Context) -> Section | None:
    """Draw time per sample, measured energy per sample, and apart from it the estimated one."""
    if not any(g.rows for g in context.groups):
        return None
    figures = [
        _figure(context, "time", "Time per sample", "time_per_sample_s", "measured", SPREAD),
        _figure(
            context,
            "energy",
            "Energy per sample, measured",
            "energy_per_sample_j",
            "measured",
            SPREAD,
        ),
        _figure(
            context,
            "energy-estimate",
            "Energy per sample, estimated",
            "energy_per_sample_j",
            "estimated",
            f"An estimate, not a measurement: {_models(context)} How far off it is, is not known.",
        ),
    ]
    found = [f for f in figures if f]
    missing = _no_energy(context)
    return (
        Section("cost", "What a sample costs", 20, figures=found, missing=missing)
        if found or missing
        else None
    )


def _figure(
    context: Context, name: str, title: str, target: str, status: str, caption: str
) -> Figure | None:
    chosen = []
    for group in context.groups:
        rows = [
            r for r in group.rows if r.reading(target).status == status and r.reading(target).value
        ]
        if rows:
            chosen.append((group, rows))
    if sum(len(rows) for _, rows in chosen) < 2:
        return None  # a picture compares; one value stands in the table
    cut = [(g, least_first(rows, target)) for g, rows in chosen[:MOST_PANELS]]
    caption += left_out(sum(len(r) for _, r in cut), sum(len(r) for _, r in chosen), "settings")
    panels = [Panel(g.name, _chart(g, rows, target), 24 * len(rows) + 8) for g, rows in cut]
    return Figure(
        name,
        title,
        caption,
        panels,
        _table(cut, target, title),
        wide=has_long([r for _, rows in cut for r in rows]),
    )


def _chart(group: Group, rows: Sequence[Row], target: str) -> dict[str, Any]:
    alt = need("altair", "the report")
    unit = quantity(target).unit
    readings = [r.reading(target) for r in rows]
    scaled = Unit([r.value for r in readings], unit)
    labels = [r.short for r in rows]
    scale = alt.Scale(type="log") if spans(r.value for r in readings) > 20 else alt.Scale(zero=True)
    x = alt.X("value:Q", title=_axis(rows, scaled, target), scale=scale, axis=alt.Axis(tickCount=5))
    y = alt.Y("name:N", sort=labels, title=None, axis=alt.Axis(grid=False))
    data = [_point(row, reading, scaled, unit) for row, reading in zip(rows, readings, strict=True)]
    tips = [
        alt.Tooltip(f"{n}:N", title=t)
        for n, t in (("label", "setting"), ("text", "mean"), ("n", "repeats"))
    ]
    base = chart(data).encode(y=y, tooltip=tips)
    bars = base.mark_rule(
        color=group.colour, strokeWidth=4, opacity=0.35, strokeCap="round"
    ).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    hollow = readings[0].status == "estimated"
    has_ends = any(r.low is not None for r in readings)
    fill = "var(--paper)" if hollow else group.colour
    dots = base.mark_point(
        color=group.colour, fill=fill, size=64, opacity=1, strokeWidth=1.75
    ).encode(x=x)
    return spec(bars + dots if has_ends else dots)


def _axis(rows: Sequence[Row], scaled: Unit, target: str) -> str:
    if target == "time_per_sample_s":
        return scaled.title("time per sample")
    kinds = list(dict.fromkeys(r.boundaries for r in rows))
    if len(kinds) > 1:
        return scaled.title("energy per sample, of different parts")
    return scaled.title(f"{kinds[0].upper()} energy per sample")


def _point(
    row: Row, reading: Reading, scaled: Unit, unit: str
) -> dict[str, str | int | float | None]:
    return {
        "label": row.label,
        "name": row.short,
        "value": scaled(reading.value),
        "low": scaled(reading.low),
        "high": scaled(reading.high),
        "text": shown(reading, unit),
        "n": str(reading.n or 1),
    }


def _table(chosen: Sequence[tuple[Group, Sequence[Row]]], target: str, title: str) -> Table:
    unit = quantity(target).unit
    rows, keys = [], []
    is_energy = unit == "J"
    for group, members in chosen:
        for row in members:
            reading = row.reading(target)
            within = [row.boundaries] if is_energy else []
            rows.append(
                [
                    group.name,
                    row.label,
                    shown(reading, unit),
                    str(reading.n or 1),
                    reading.status,
                    *within,
                ]
            )
            keys.append(
                [group.name, row.label, reading.value, reading.n or 1, reading.status, *within]
            )
    columns = [
        "workload",
        "setting",
        "mean [90 % interval]",
        "repeats",
        "status",
        *(["of"] if is_energy else []),
    ]
    return Table(columns, rows, title, keys)


def _models(context: Context) -> str:
    rows = (r.reading("energy_per_sample_j") for g in context.groups for r in g.rows)
    hows = (r.how for r in rows if r.status == "estimated" and r.how)
    # "cpu: model: …; pauses left out" is a boundary, the model and a remark of that run
    words = list(
        dict.fromkeys(
            how.partition("model: ")[2].removesuffix("; pauses left out") or how for how in hows
        )
    )[:3]
    return "; ".join(words or ["the records name no model"]) + "."


def _no_energy(context: Context) -> str:
    rows = [r.reading("energy_per_sample_j") for g in context.groups for r in g.rows]
    lost = [r for r in rows if r.status == "missing"]
    if not lost:
        return ""
    reasons = _reasons(context)[:3] or list(dict.fromkeys(r.how for r in lost if r.how))[:3]
    scope = (
        "Energy"
        if len(lost) == len(rows)
        else f"Energy of {len(lost)} of {counted(len(rows), 'setting')}"
    )
    why = "; ".join("it was not recorded" if r == "not recorded" else r for r in reasons)
    return f"{scope} is missing, because {why or 'no meter gave one'}."


def _reasons(context: Context) -> list[str]:
    readings = (
        r for run in context.runs for n, r in run.quantities.items() if n.endswith("_energy_j")
    )
    return list(dict.fromkeys(r.how for r in readings if r.status == "missing" and r.how))
