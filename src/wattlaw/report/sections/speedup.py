"""How much faster more devices are, with intervals and the ideal line."""

from __future__ import annotations

from typing import Any

from wattlaw.core.findings import Fit
from wattlaw.core.plugins import need
from wattlaw.report.context import Context, Group, natural
from wattlaw.report.figure import (
    MOST_PANELS,
    Cell,
    Figure,
    Panel,
    Section,
    Table,
    chart,
    left_out,
    legend_room,
    spec,
)
from wattlaw.report.speedups import Speedup, series_name, speedups

NAMES = {"speedup": "speedup"}

MOST_LINES = 5
TITLE = "Speed-up with more devices"
NONE = (
    "no settings differ in their number of devices alone; sweep two or more, such as devices = [1, 2], "
    "to see a speed-up"
)
CAPTION = (
    "Samples per second against the fewest devices that were run, at the same batch per device. Bars are 90 % "
    "intervals over repeats; the thin dotted line is ideal: twice the devices, twice the rate."
)


def speedup(context: Context) -> Section | None:
    """Draw one panel a workload and one line a batch size, precision or whatever else was varied."""
    drawn = [(g, lines) for g in context.groups if (lines := _lines(context, g))]
    if not drawn:
        return (
            Section("speedup", TITLE, 10, missing=NONE)
            if any(g.rows for g in context.groups)
            else None
        )
    panels = [
        Panel(g.name, _chart(g, spread_over(lines, MOST_LINES))) for g, lines in drawn[:MOST_PANELS]
    ]
    caption = CAPTION + left_out(len(panels), len(drawn), "workloads")
    if any(len(lines) > MOST_LINES for _, lines in drawn):
        caption += (
            f" Of more than {MOST_LINES} lines, {MOST_LINES} are drawn; the table below has more."
        )
    figure = Figure("speedup", TITLE, caption, panels, _table(drawn))
    return Section("speedup", TITLE, 10, figures=[figure])


def _lines(context: Context, group: Group) -> dict[str, list[Speedup]]:
    found: dict[str, list[Speedup]] = {}
    for fit in context.fits:
        if group.owns(fit.group) and (points := speedups(fit)):
            found.setdefault(_name(fit, group), points)
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def spread_over(lines: dict[str, list[Speedup]], most: int) -> dict[str, list[Speedup]]:
    """Return at most so many lines, the first and the last among them."""
    names = list(lines)
    if len(names) <= most:
        return lines
    kept = [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]
    return {n: lines[n] for n in kept}


def ticks(sizes: list[float]) -> list[float]:
    """Return the sizes that fit on an axis as labels: the last, and those well below the next."""
    found = sizes[-1:]
    for size in reversed(sizes[:-1]):
        if found[0] / size >= 1.2 or len(sizes) <= 5:
            found.insert(0, size)
    return found


def _name(fit: Fit, group: Group) -> str:
    return series_name(fit, group) or group.device_words[1]


def _chart(group: Group, lines: dict[str, list[Speedup]]) -> dict[str, Any]:
    alt = need("altair", "the report")
    sizes = sorted({p.devices for points in lines.values() for p in points})
    x, y = _axes(alt, group.device_words[1], sizes)
    names, hue = list(lines), group.colour
    legend = alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        symbolStrokeColor=hue,
        **legend_room(names),
    )
    shape = alt.Shape("name:N", sort=names, legend=legend if len(names) > 1 else None)
    dash = alt.StrokeDash("name:N", sort=names, legend=None)
    ends: list[dict[str, Cell]] = [
        {"devices": s, "speedup": s / sizes[0]} for s in (sizes[0], sizes[-1])
    ]
    ideal = (
        chart(ends)
        .mark_line(color="var(--soft)", strokeDash=[2, 3], strokeWidth=1)
        .encode(x=x, y=y)
    )
    base = chart(_rows(lines)).encode(
        x=x, tooltip=[alt.Tooltip(f"{n}:N", title=t) for n, t in _TIPS]
    )
    bars = base.mark_rule(color=hue, strokeWidth=1.5, opacity=0.7).encode(
        y=alt.Y("low:Q"), y2="high:Q"
    )
    line = base.mark_line(color=hue, strokeWidth=1.75).encode(y=y, strokeDash=dash)
    dots = base.mark_point(color=hue, fill=hue, size=52, opacity=1).encode(y=y, shape=shape)
    return spec(ideal + bars + line + dots)


def _axes(alt: Any, words: str, sizes: list[float]) -> tuple[Any, Any]:
    """Return the axes: linear, or in powers of two where the sizes span a factor of eight."""
    wide = sizes[-1] / sizes[0] >= 8
    kind = {"type": "log", "base": 2} if wide else {"zero": False}
    places = alt.Axis(values=ticks(sizes), format="d", grid=False)
    steps = (
        {"values": [2.0**k for k in range(-6, 16)], "format": "~g"} if wide else {"tickCount": 5}
    )
    x = alt.X(
        "devices:Q", title=words, scale=alt.Scale(nice=False, padding=14, **kind), axis=places
    )
    return x, alt.Y("speedup:Q", title="speed-up", scale=alt.Scale(**kind), axis=alt.Axis(**steps))


_TIPS = [("name", "setting"), ("at", "devices"), ("text", "speed-up"), ("efficiency", "of ideal")]


def _rows(lines: dict[str, list[Speedup]]) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for index, (name, points) in enumerate(lines.items()):
        # lines are moved apart a little, so that bars of two of them do not hide each other
        nudge = 1 + 0.012 * (index - (len(lines) - 1) / 2) if len(lines) <= 6 else 1.0
        rows += [
            {
                "name": name,
                "devices": p.devices * nudge,
                "at": f"{p.devices:g}",
                "speedup": p.value,
                "low": p.low if p.low is not None else p.value,
                "high": p.high if p.high is not None else p.value,
                "text": p.words,
                "efficiency": f"{100 * p.value * p.base / p.devices:.0f} %",
            }
            for p in points
        ]
    return rows


def _table(drawn: list[tuple[Group, dict[str, list[Speedup]]]]) -> Table:
    rows = [
        [group.name, name, f"{p.devices:g}", p.words, f"{100 * p.value * p.base / p.devices:.0f} %"]
        for group, lines in drawn
        for name, points in lines.items()
        for p in points
        if p.devices != p.base
    ]
    return Table(
        ["workload", "setting", "devices", "speed-up [90 %]", "of ideal"], rows[:400], TITLE
    )
