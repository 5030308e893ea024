"""One trial of each workload over time: its steps, and the power or busy cores of its devices."""

from __future__ import annotations

from typing import NamedTuple

from wattlaw.core.run import Run
from wattlaw.core.units import show
from wattlaw.measuring.files.trial_trace import Points, Trace, read_trace
from wattlaw.records.trial_folders import attempt_of
from wattlaw.report.content import MAX_PANELS, Figure, PageTable, Panel, Section
from wattlaw.report.context import Context, WorkloadGroup
from wattlaw.report.figures.chart import (
    Altair,
    AxisUnit,
    Cell,
    VegaSpec,
    altair,
    chart,
    spec,
    tooltip,
)

NAMES = {"traces": "traces"}

TITLE = "One trial of each, over time"
HEIGHT = 150
STEPS = (
    "The slowest rank of each step, without the warm-up. A stair or a slope shows a change that "
    "the median hides."
)
WINDOW = "The shaded part is the measured window; start-up and warm-up come before it."


class TracedQuantity(NamedTuple):
    """A quantity over time: title of its figure, caption, title of its axis, unit."""

    title: str
    caption: str
    axis: str
    unit: str


QUANTITIES = {
    "power_w": TracedQuantity(
        "Power over time", "Power as the meter of each device read it.", "power", "W"
    ),
    "busy_cores": TracedQuantity(
        "Busy cores over time",
        "No meter read power here. These are the cores that the job kept busy, over 0.5 s.",
        "cores busy",
        "",
    ),
}


class TracedTrial(NamedTuple):
    """The trial that represents a workload."""

    group: WorkloadGroup
    run: Run
    trace: Trace


def traces(context: Context) -> Section | None:
    """Draw steps and telemetry of one trial for each workload, of the recommended setting first."""
    found = []
    for group in context.groups[:MAX_PANELS]:
        trial = _trial(context, group)
        if trial:
            found.append(trial)
    if not found:
        return None
    panels = [Panel(one.group.name, _steps_chart(one), HEIGHT) for one in found]
    figures = [Figure("steps", "Time of every step", STEPS, panels, _steps_table(found))]
    for name, traced in QUANTITIES.items():
        drawn = [one for one in found if one.trace.quantity == name and one.trace.lines]
        if drawn:
            figures.append(_telemetry(drawn, traced))
    return Section("traces", TITLE, 47, figures=figures)


def _trial(context: Context, group: WorkloadGroup) -> TracedTrial | None:
    for row in [*group.advised_rows(context.advice), *group.rows[-1:]]:
        for run in row.runs:
            attempt = attempt_of(context.folder, run)
            if attempt:
                trace = read_trace(attempt)
                if trace and len(trace.steps) > 1:
                    return TracedTrial(group, run, trace)
    return None


def _telemetry(drawn: list[TracedTrial], traced: TracedQuantity) -> Figure:
    panels, rows = [], []
    for one in drawn:
        panels.append(Panel(one.group.name, _lines_chart(one, traced), HEIGHT))
        for device, points in one.trace.lines.items():
            rows.append([one.group.name, one.run.trial, device, *_range(points, traced.unit)])
    columns = ["workload", "trial", "device", "least", "greatest"]
    table = PageTable(columns, rows, traced.title)
    name = traced.title.lower().replace(" ", "-")
    return Figure(name, traced.title, f"{traced.caption} {WINDOW}", panels, table)


def _range(points: Points, unit: str) -> list[str]:
    values = [value for _, value in points]
    return [show(min(values), unit), show(max(values), unit)]


def _steps_chart(one: TracedTrial) -> VegaSpec:
    unit = AxisUnit([value for _, value in one.trace.steps], "s")
    data: list[dict[str, Cell]] = []
    for time, value in one.trace.steps:
        texts = {"at": show(time, "s"), "text": show(value, "s"), "trial": one.run.trial}
        data.append({"time": time, "value": unit(value), **texts})
    base = chart(data).encode(
        x=_time_axis(),
        y=_value_axis(unit.title("time per step")),
        tooltip=tooltip(trial="trial", at="time", text="step"),
    )
    hue = one.group.colour
    line = base.mark_line(color=hue, strokeWidth=1, opacity=0.55, interpolate="linear")
    return spec(line + base.mark_point(color=hue, filled=True, size=16, opacity=0.9))


def _time_axis() -> Altair:
    alt = altair()
    return alt.X(
        "time:Q",
        title="since the first measured step (s)",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(grid=False, tickCount=6),
    )


def _value_axis(title: str) -> Altair:
    alt = altair()
    scale, axis = alt.Scale(zero=True), alt.Axis(tickCount=4)
    return alt.Y("value:Q", title=title, scale=scale, axis=axis)


def _lines_chart(one: TracedTrial, traced: TracedQuantity) -> VegaSpec:
    alt = altair()
    lines = one.trace.lines
    unit = AxisUnit([value for points in lines.values() for _, value in points], traced.unit)
    data: list[dict[str, Cell]] = []
    for device, points in lines.items():
        for time, value in points:
            texts = {"device": device, "at": show(time, "s"), "text": show(value, traced.unit)}
            data.append({"time": time, "value": unit(value), **texts})
    window = chart([{"time": 0.0, "end": one.trace.end_s}])
    window = window.mark_rect(color="var(--soft)", opacity=0.12)
    is_dashed = 1 < len(lines) <= 4
    series = alt.StrokeDash("device:N", legend=None) if is_dashed else alt.Detail("device:N")
    line = chart(data).mark_line(color=one.group.colour, strokeWidth=1.5)
    line = line.encode(
        series,
        x=_time_axis(),
        y=_value_axis(unit.title(traced.axis)),
        tooltip=tooltip(device="device", at="time", text=traced.axis),
    )
    return spec(window.encode(x=_time_axis(), x2="end:Q") + line)


def _steps_table(found: list[TracedTrial]) -> PageTable:
    rows = []
    for one in found:
        steps = one.trace.steps
        rows.append([one.group.name, one.run.trial, str(len(steps)), *_range(steps, "s")])
    columns = ["workload", "trial", "points", "fastest step", "slowest step"]
    return PageTable(columns, rows, TITLE)
