"""The settings that no other beats in both time and cost, with the advised one marked."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from wattlaw.core.plugins import need
from wattlaw.core.units import show
from wattlaw.report.context import Context, Group, Row
from wattlaw.report.figure import (
    MOST_PANELS,
    Cell,
    Figure,
    Panel,
    Section,
    Table,
    Unit,
    chart,
    left_out,
    spans,
    spec,
)

NAMES = {"pareto": "pareto"}

MOST_POINTS = 400
FEW = 24
FAR = 2.0
"""Settings so many times slower or dearer than any on the front are left out of the picture."""

TITLE = "Fast or frugal"
CUT = " Settings more than twice as slow or as dear as any on the line are not drawn."


class Point(NamedTuple):
    """One setting: seconds per sample, its cost per sample, and whether no other beats it in both."""

    row: Row
    time_s: float
    cost: float
    front: bool
    advised: bool


def pareto(context: Context) -> Section | None:
    """Draw measured energy against time where there is some, else device-seconds against time."""
    measured = [g for g in context.groups if _all_measured(g)]
    figures = [
        _figure(
            context, measured, "pareto-energy", "energy_per_sample_j", "J", "energy per sample"
        ),
        _figure(
            context,
            [g for g in context.groups if g not in measured],
            "pareto-devices",
            "device_time_per_sample_s",
            "s",
            "device time per sample",
        ),
    ]
    found = [f for f in figures if f]
    return Section("pareto", TITLE, 40, figures=found) if found else None


def _all_measured(group: Group) -> bool:
    statuses = [r.reading("energy_per_sample_j").status for r in group.rows]
    return bool(statuses) and all(s == "measured" for s in statuses)


def _figure(
    context: Context, groups: list[Group], name: str, target: str, unit: str, words: str
) -> Figure | None:
    drawn = [(g, points) for g in groups if len(points := _points(context, g, target)) > 1]
    if not drawn:
        return None
    panels = [Panel(g.name, _chart(g, points, unit, words)) for g, points in drawn[:MOST_PANELS]]
    caption = (
        f"Each point is a setting: {words} against time per sample; down and to the left is better. On the line lie "
        "the settings that no other beats in both. The ring marks the advised one."
        + (" No energy was measured, so the cost is device time." if unit == "s" else "")
        + (CUT if any(len(near(points)) < len(points) for _, points in drawn) else "")
        + left_out(len(panels), len(drawn), "workloads")
    )
    rows = [
        [
            g.name,
            p.row.label,
            show(p.time_s, "s"),
            show(p.cost, unit),
            "yes" if p.front else "",
            "yes" if p.advised else "",
        ]
        for g, points in drawn
        for p in points
    ]
    table = Table(
        ["workload", "setting", "time per sample", words, "on the front", "advised"],
        rows[:400],
        TITLE,
    )
    return Figure(name, f"{words.capitalize()} against time", caption, panels, table)


def _points(context: Context, group: Group, target: str) -> list[Point]:
    advised = {
        id(row) for a in context.advice if group.owns(a.group) and (row := group.row_of(a.setting))
    }
    pairs = []
    for row in group.rows:
        time, cost = row.reading("time_per_sample_s").value, row.reading(target).value
        if time is not None and cost is not None:
            pairs.append((time, cost, row))
    pairs.sort(key=lambda p: p[:2])
    found, best = [], math.inf
    for time, cost, row in pairs:
        found.append(Point(row, time, cost, cost < best, id(row) in advised))
        best = min(best, cost)
    return found


def near(points: list[Point]) -> list[Point]:
    """Return all of a few points; of many the front, what is advised, and what lies within FAR of the front's ends."""
    if len(points) <= FEW:
        return points
    chosen = [p for p in points if p.front or p.advised]
    slow, dear = (FAR * max(getattr(p, n) for p in chosen) for n in ("time_s", "cost"))
    beaten = [
        p for p in points if not (p.front or p.advised) and p.time_s <= slow and p.cost <= dear
    ]
    return chosen + beaten[:: 1 + len(beaten) // MOST_POINTS]


def _chart(group: Group, points: list[Point], unit: str, words: str) -> dict[str, Any]:
    alt = need("altair", "the report")
    kept = near(points)
    times, costs = Unit([p.time_s for p in kept], "s"), Unit([p.cost for p in kept], unit)
    x = alt.X(
        "time:Q", title=times.title("time per sample"), **_axis(alt, [p.time_s for p in kept])
    )
    y = alt.Y("cost:Q", title=costs.title(words), **_axis(alt, [p.cost for p in kept]))
    base = chart([_datum(p, times, costs, unit) for p in kept]).encode(x=x, y=y)
    line = base.transform_filter("datum.front").mark_line(
        color=group.colour, interpolate="step-after", strokeWidth=1.25, opacity=0.6
    )
    names = {"label": "setting", "t": "time per sample", "c": words, "advice": "advice"}
    dots = base.mark_point(
        color=group.colour, size=60 if len(kept) <= 40 else 28, strokeWidth=1.5, opacity=1
    )
    dots = dots.encode(
        fill=alt.condition("datum.front", alt.value(group.colour), alt.value("var(--paper)")),
        tooltip=[alt.Tooltip(f"{n}:N", title=t) for n, t in names.items()],
    )
    if not any(p.advised for p in kept):
        return spec(line + dots)
    ring = base.transform_filter("datum.advised")
    return spec(
        line
        + dots
        + ring.mark_point(size=260, color="var(--ink)", strokeWidth=1.5, opacity=1, fill=None)
    )


def _axis(alt: Any, values: list[float]) -> dict[str, Any]:
    if spans(values) > 20:
        return {
            "scale": alt.Scale(type="log", padding=18),
            "axis": alt.Axis(tickCount=5, grid=False),
        }
    return {"scale": alt.Scale(zero=False, padding=18, nice=False), "axis": alt.Axis(tickCount=5)}


def _datum(point: Point, times: Unit, costs: Unit, unit: str) -> dict[str, Cell]:
    return {
        "label": point.row.label,
        "time": times(point.time_s),
        "cost": costs(point.cost),
        "front": point.front,
        "advised": point.advised,
        "t": show(point.time_s, "s"),
        "c": show(point.cost, unit),
        "advice": "advised"
        if point.advised
        else "on the front"
        if point.front
        else "beaten by another in both",
    }
