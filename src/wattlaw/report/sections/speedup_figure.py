"""How much faster more devices are, with intervals and the ideal line."""

from __future__ import annotations

from wattlaw.report.content import MAX_PANELS, Figure, PageTable, Panel, Section, not_drawn
from wattlaw.report.context import Context, WorkloadGroup
from wattlaw.report.figures.chart import (
    Altair,
    Cell,
    VegaSpec,
    altair,
    chart,
    legend_above,
    spec,
    tooltip,
)
from wattlaw.report.setting_names import natural
from wattlaw.report.speedups import SpeedupPoint, series_name, speedups

NAMES = {"speedup": "speedup"}

MAX_LINES = 5
MAX_ROWS = 400
TITLE = "Speedup with more devices"
NONE = (
    "no settings differ only in their number of devices; sweep two or more, such as "
    "devices = [1, 2], to see a speedup"
)
CAPTION = (
    "Samples per second relative to the fewest devices that were run, at the same batch per "
    "device. Bars are 90 % intervals over repeats. The thin dotted line is ideal: twice the "
    "devices, twice the rate."
)

Lines = dict[str, list[SpeedupPoint]]
"""Speedups by the name of their series, such as "batch 32"."""


def speedup(context: Context) -> Section | None:
    """Draw a panel for each workload and a line for each batch size, precision and so on."""
    drawn = []
    for group in context.groups:
        lines = _lines(context, group)
        if lines:
            drawn.append((group, lines))
    if not drawn:
        if not context.rows:
            return None
        return Section("speedup", TITLE, 10, missing=NONE)
    panels = []
    for group, lines in drawn[:MAX_PANELS]:
        panels.append(Panel(group.name, _chart(group, spread_over(lines, MAX_LINES))))
    caption = CAPTION + not_drawn(len(panels), len(drawn), "workloads")
    if any(len(lines) > MAX_LINES for _, lines in drawn):
        caption += f" A panel draws {MAX_LINES} lines; the table has more."
    figure = Figure("speedup", TITLE, caption, panels, _table(drawn))
    return Section("speedup", TITLE, 10, figures=[figure])


def _lines(context: Context, group: WorkloadGroup) -> Lines:
    found: Lines = {}
    for fit in context.fits:
        points = speedups(fit) if group.owns(fit.group) else []
        if points:
            found.setdefault(series_name(fit, group) or group.device_words[1], points)
    return {name: found[name] for name in sorted(found, key=natural)}


def spread_over(lines: Lines, most: int) -> Lines:
    """Return at most ``most`` lines, including the first and the last."""
    names = list(lines)
    if len(names) <= most:
        return lines
    kept = [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]
    return {name: lines[name] for name in kept}


def ticks(sizes: list[float]) -> list[float]:
    """Return the sizes that have room on an axis: the last, and those well below the next."""
    found = sizes[-1:]
    for size in reversed(sizes[:-1]):
        if found[0] / size >= 1.2 or len(sizes) <= 5:
            found.insert(0, size)
    return found


def _chart(group: WorkloadGroup, lines: Lines) -> VegaSpec:
    alt = altair()
    sizes = sorted({point.devices for points in lines.values() for point in points})
    x, y = _axes(group.device_words[1], sizes)
    names, hue = list(lines), group.colour
    legend = legend_above(names, symbolStrokeColor=hue)
    shape = alt.Shape("name:N", sort=names, legend=legend)
    dash = alt.StrokeDash("name:N", sort=names, legend=None)
    ends: list[dict[str, Cell]] = [
        {"devices": size, "speedup": size / sizes[0]} for size in (sizes[0], sizes[-1])
    ]
    ideal = chart(ends).mark_line(color="var(--soft)", strokeDash=[2, 3], strokeWidth=1)
    tips = tooltip(name="setting", at="devices", text="speedup", efficiency="of ideal")
    base = chart(_data(lines)).encode(x=x, tooltip=tips)
    bars = base.mark_rule(color=hue, strokeWidth=1.5, opacity=0.7)
    bars = bars.encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line(color=hue, strokeWidth=1.75).encode(y=y, strokeDash=dash)
    dots = base.mark_point(color=hue, fill=hue, size=52, opacity=1).encode(y=y, shape=shape)
    return spec(ideal.encode(x=x, y=y) + bars + line + dots)


def _axes(words: str, sizes: list[float]) -> tuple[Altair, Altair]:
    """Return linear axes, or powers of two if the sizes span a factor of eight."""
    alt = altair()
    axis: dict[str, object] = {"tickCount": 5}
    scale: dict[str, object] = {"zero": False}
    if sizes[-1] / sizes[0] >= 8:
        axis = {"values": [2.0**k for k in range(-6, 16)], "format": "~g"}
        scale = {"type": "log", "base": 2}
    places = alt.Axis(values=ticks(sizes), format="d", grid=False)
    x_scale = alt.Scale(nice=False, padding=14, **scale)
    x = alt.X("devices:Q", title=words, scale=x_scale, axis=places)
    y = alt.Y("speedup:Q", title="speedup", scale=alt.Scale(**scale), axis=alt.Axis(**axis))
    return x, y


def _data(lines: Lines) -> list[dict[str, Cell]]:
    found: list[dict[str, Cell]] = []
    for index, (name, points) in enumerate(lines.items()):
        # lines are moved apart a little, so that their bars do not hide each other
        offset = 0.012 * (index - (len(lines) - 1) / 2)
        for point in points:
            found.append(
                {
                    "name": name,
                    "devices": point.devices * (1 + offset),
                    "at": f"{point.devices:g}",
                    "speedup": point.value,
                    "low": point.low or point.value,
                    "high": point.high or point.value,
                    "text": point.words,
                    "efficiency": point.efficiency,
                }
            )
    return found


def _table(drawn: list[tuple[WorkloadGroup, Lines]]) -> PageTable:
    rows = []
    for group, lines in drawn:
        for name, points in lines.items():
            for point in points:
                if point.devices != point.base:
                    size = f"{point.devices:g}"
                    rows.append([group.name, name, size, point.words, point.efficiency])
    columns = ["workload", "setting", "devices", "speedup [90 %]", "of ideal"]
    return PageTable(columns, rows[:MAX_ROWS], TITLE)
