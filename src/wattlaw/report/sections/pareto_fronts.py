"""The Pareto front of time and cost, with the recommended setting marked."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from wattlaw.core.quantities import quantity
from wattlaw.core.units import show
from wattlaw.report.content import MAX_PANELS, Figure, PageTable, Panel, Section, not_drawn
from wattlaw.report.context import Context, SettingRow, WorkloadGroup
from wattlaw.report.figures.chart import (
    Altair,
    AxisUnit,
    Cell,
    VegaSpec,
    altair,
    chart,
    needs_log,
    spec,
    tooltip,
)

NAMES = {"pareto": "pareto"}

MAX_POINTS = 400
MAX_ROWS = 400
FEW = 24
FAR = 2.0
"""Settings that are this many times slower or costlier than the front are left out of the chart."""

TIME, ENERGY, DEVICE_TIME = "time_per_sample_s", "energy_per_sample_j", "device_time_per_sample_s"
TITLE = "Fast or frugal"
CAPTION = (
    "Each point is a setting: {} against time per sample. Down and to the left is better. The "
    "line joins the settings that no other beats in both. The ring marks the recommended one."
)
NO_ENERGY = " No energy was measured, so the cost is device time."
CUT = " Settings more than twice as slow or as costly as any on the line are not drawn."


_YES = {True: "yes", False: ""}


class CostPoint(NamedTuple):
    """One setting: time and cost per sample, and whether it is on the front or recommended."""

    row: SettingRow
    time_s: float
    cost: float
    is_front: bool
    is_advised: bool

    @property
    def verdict(self) -> str:
        if self.is_advised:
            return "recommended"
        return "on the front" if self.is_front else "beaten by another in both"


def pareto(context: Context) -> Section | None:
    """Draw measured energy against time if all have it, else device time against time."""
    measured = list(filter(_is_measured, context.groups))
    others = [group for group in context.groups if group not in measured]
    energy = _figure(context, measured, "pareto-energy", ENERGY, "energy per sample")
    time = _figure(context, others, "pareto-devices", DEVICE_TIME, "device time per sample")
    found = list(filter(None, (energy, time)))
    if not found:
        return None
    return Section("pareto", TITLE, 40, figures=found)


def _is_measured(group: WorkloadGroup) -> bool:
    return {row.reading(ENERGY).status for row in group.rows} == {"measured"}


def _figure(
    context: Context, groups: list[WorkloadGroup], name: str, target: str, words: str
) -> Figure | None:
    drawn = []
    is_cut = False
    for group in groups:
        points = _points(context, group, target)
        if len(points) > 1:
            drawn.append((group, points))
            is_cut = is_cut or len(near(points)) < len(points)
    if not drawn:
        return None
    panels = []
    for group, points in drawn[:MAX_PANELS]:
        panels.append(Panel(group.name, _chart(group, points, target, words)))
    caption = CAPTION.format(words)
    if target == DEVICE_TIME:
        caption += NO_ENERGY
    if is_cut:
        caption += CUT
    caption += not_drawn(len(panels), len(drawn), "workloads")
    title = f"{words.capitalize()} against time"
    return Figure(name, title, caption, panels, _table(drawn, target, words))


def _table(
    drawn: list[tuple[WorkloadGroup, list[CostPoint]]], target: str, words: str
) -> PageTable:
    unit = quantity(target).unit
    rows = []
    for group, points in drawn:
        for point in points:
            figures = [show(point.time_s, "s"), show(point.cost, unit)]
            marks = [_YES[point.is_front], _YES[point.is_advised]]
            rows.append([group.name, point.row.label, *figures, *marks])
    columns = ["workload", "setting", "time per sample", words, "on the front", "recommended"]
    return PageTable(columns, rows[:MAX_ROWS], TITLE)


def _points(context: Context, group: WorkloadGroup, target: str) -> list[CostPoint]:
    advised = set(group.advised_rows(context.advice))
    pairs = []
    for row in group.rows:
        time, cost = row.reading(TIME).value, row.reading(target).value
        if time is not None and cost is not None:
            pairs.append((time, cost, row))
    pairs.sort(key=lambda pair: pair[:2])
    found, best = [], inf
    for time, cost, row in pairs:
        found.append(CostPoint(row, time, cost, cost < best, row in advised))
        best = min(best, cost)
    return found


def near(points: list[CostPoint]) -> list[CostPoint]:
    """Return the points to draw: all of a few, else the front and its surroundings."""
    if len(points) <= FEW:
        return points
    chosen = [p for p in points if p.is_front or p.is_advised]
    slowest = FAR * max(p.time_s for p in chosen)
    costliest = FAR * max(p.cost for p in chosen)
    beaten = []
    for p in points:
        is_near = p.time_s <= slowest and p.cost <= costliest
        if is_near and not (p.is_front or p.is_advised):
            beaten.append(p)
    return chosen + beaten[:: 1 + len(beaten) // MAX_POINTS]


def _chart(group: WorkloadGroup, points: Sequence[CostPoint], target: str, words: str) -> VegaSpec:
    alt = altair()
    unit = quantity(target).unit
    kept = near(list(points))
    times = [point.time_s for point in kept]
    costs = [point.cost for point in kept]
    x_unit, y_unit = AxisUnit(times, "s"), AxisUnit(costs, unit)
    base = chart([_datum(point, x_unit, y_unit, unit) for point in kept]).encode(
        x=alt.X("time:Q", title=x_unit.title("time per sample"), **_axis(times)),
        y=alt.Y("cost:Q", title=y_unit.title(words), **_axis(costs)),
    )
    hue = group.colour
    line = base.transform_filter("datum.front").mark_line(
        color=hue, interpolate="step-after", strokeWidth=1.25, opacity=0.6
    )
    size = 60 if len(kept) <= 40 else 28
    dots = base.mark_point(color=hue, size=size, strokeWidth=1.5, opacity=1).encode(
        fill=alt.condition("datum.front", alt.value(hue), alt.value("var(--paper)")),
        tooltip=tooltip(
            label="setting", time_text="time per sample", cost_text=words, verdict="advice"
        ),
    )
    if not any(point.is_advised for point in kept):
        return spec(line + dots)
    ring = base.transform_filter("datum.advised").mark_point(
        size=260, color="var(--ink)", strokeWidth=1.5, opacity=1, fill=None
    )
    return spec(line + dots + ring)


def _axis(values: list[float]) -> dict[str, Altair]:
    alt = altair()
    if needs_log(values):
        scale, axis = alt.Scale(type="log", padding=18), alt.Axis(tickCount=5, grid=False)
    else:
        scale, axis = alt.Scale(zero=False, padding=18, nice=False), alt.Axis(tickCount=5)
    return {"scale": scale, "axis": axis}


def _datum(point: CostPoint, times: AxisUnit, costs: AxisUnit, unit: str) -> dict[str, Cell]:
    return {
        "label": point.row.label,
        "time": times(point.time_s),
        "cost": costs(point.cost),
        "front": point.is_front,
        "advised": point.is_advised,
        "time_text": show(point.time_s, "s"),
        "cost_text": show(point.cost, unit),
        "verdict": point.verdict,
    }
