"""One trial of each workload over time: its steps, and the power or the busy cores of its devices."""

from __future__ import annotations

from typing import Any

from wattlaw.core.plugins import need
from wattlaw.core.run import Run
from wattlaw.core.units import show
from wattlaw.report.context import Context, Group
from wattlaw.report.figure import (
    MOST_PANELS,
    Cell,
    Figure,
    Panel,
    Section,
    Table,
    Unit,
    chart,
    spec,
)
from wattlaw.report.folder import attempt_of
from wattlaw.report.trace import Points, Trace, read_trace

NAMES = {"traces": "traces"}

TITLE = "One trial of each, over time"
AXIS = {"power_w": ("power", "W"), "busy_cores": ("cores busy", "")}
Chosen = tuple[Group, Run, Trace]


def traces(context: Context) -> Section | None:
    """Draw steps and telemetry of one trial a workload, the advised setting's where there is one."""
    found = [(g, *t) for g in context.groups[:MOST_PANELS] if (t := _trace(context, g))]
    if not found:
        return None
    figures = [
        Figure(
            "steps",
            "Time of every step",
            "Each step's slowest rank, warm-up left out. A stair or a slope means that the median hides something.",
            [Panel(g.name, _steps_chart(g, run, trace), 150) for g, run, trace in found],
            _table(found),
        )
    ]
    figures += [f for what in AXIS if (f := _telemetry(found, what))]
    return Section("traces", TITLE, 47, figures=figures)


def _trace(context: Context, group: Group) -> tuple[Run, Trace] | None:
    advised = [
        row for a in context.advice if group.owns(a.group) and (row := group.row_of(a.setting))
    ]
    for row in [*advised, *group.rows[-1:]]:
        for run in row.runs:
            attempt = attempt_of(context.folder, run)
            trace = read_trace(attempt) if attempt else None
            if trace and len(trace.steps) > 1:
                return run, trace
    return None


def _telemetry(found: list[Chosen], what: str) -> Figure | None:
    drawn = [(g, run, t) for g, run, t in found if t.what == what and t.lines]
    if not drawn:
        return None
    words = (
        "Power as each device's meter gave it"
        if what == "power_w"
        else "Nothing measures power here, so this is how many cores the job kept busy, over half a second"
    )
    caption = (
        f"{words}; the shaded part is the measured window, before it lie start-up and warm-up."
    )
    panels = [Panel(g.name, _lines_chart(g, t), 150) for g, _, t in drawn]
    title = "Power over time" if what == "power_w" else "Busy cores over time"
    rows = [
        [g.name, run.trial, device, *_range(points, AXIS[what][1])]
        for g, run, t in drawn
        for device, points in t.lines.items()
    ]
    table = Table(["workload", "trial", "device", "least", "greatest"], rows, title)
    return Figure(title.lower().replace(" ", "-"), title, caption, panels, table)


def _range(points: Points, unit: str) -> list[str]:
    values = [v for _, v in points]
    return [show(min(values), unit), show(max(values), unit)]


def _steps_chart(group: Group, run: Run, trace: Trace) -> dict[str, Any]:
    alt = need("altair", "the report")
    unit = Unit([v for _, v in trace.steps], "s")
    data: list[dict[str, Cell]] = [
        {"time": t, "value": unit(v), "at": show(t, "s"), "text": show(v, "s"), "trial": run.trial}
        for t, v in trace.steps
    ]
    tips = [
        alt.Tooltip(f"{n}:N", title=t)
        for n, t in (("trial", "trial"), ("at", "time"), ("text", "step"))
    ]
    y = alt.Y(
        "value:Q",
        title=unit.title("time per step"),
        scale=alt.Scale(zero=True),
        axis=alt.Axis(tickCount=4),
    )
    base = chart(data).encode(x=_time_axis(alt), y=y, tooltip=tips)
    line = base.mark_line(color=group.colour, strokeWidth=1, opacity=0.55, interpolate="linear")
    return spec(line + base.mark_point(color=group.colour, filled=True, size=16, opacity=0.9))


def _time_axis(alt: Any) -> Any:
    scale = alt.Scale(nice=False, zero=False)
    return alt.X(
        "time:Q",
        title="since the first measured step (s)",
        scale=scale,
        axis=alt.Axis(grid=False, tickCount=6),
    )


def _lines_chart(group: Group, trace: Trace) -> dict[str, Any]:
    alt = need("altair", "the report")
    words, name = AXIS[trace.what]
    unit = Unit([v for points in trace.lines.values() for _, v in points], name)
    data: list[dict[str, Cell]] = [
        {"time": t, "value": unit(v), "device": device, "at": show(t, "s"), "text": show(v, name)}
        for device, points in trace.lines.items()
        for t, v in points
    ]
    window = chart([{"time": 0.0, "end": trace.end_s}]).mark_rect(color="var(--soft)", opacity=0.12)
    y = alt.Y(
        "value:Q", title=unit.title(words), scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4)
    )
    tips = [
        alt.Tooltip(f"{n}:N", title=t)
        for n, t in (("device", "device"), ("at", "time"), ("text", words))
    ]
    dash = (
        alt.StrokeDash("device:N", legend=None)
        if 1 < len(trace.lines) <= 4
        else alt.Detail("device:N")
    )
    line = (
        chart(data)
        .mark_line(color=group.colour, strokeWidth=1.5)
        .encode(dash, x=_time_axis(alt), y=y, tooltip=tips)
    )
    return spec(window.encode(x=_time_axis(alt), x2="end:Q") + line)


def _table(found: list[Chosen]) -> Table:
    rows = [[g.name, run.trial, str(len(t.steps)), *_range(t.steps, "s")] for g, run, t in found]
    return Table(["workload", "trial", "points", "fastest step", "slowest step"], rows, TITLE)
