"""What lies behind the points of the surveys' figure: axes, segments, lines of equal efficiency, the frontier."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from wattlaw.accelerators.catalogue.entry import SEGMENTS, Entry
from wattlaw.accelerators.catalogue.survey import frontier
from wattlaw.accelerators.figures.label_placement import Box
from wattlaw.accelerators.figures.scatter_frame import Frame, decades, share, slope

INK, SOFT, FAINT = "#1b1f24", "#59616b", "#c3c9cf"
PREFIXED = "replace(format(datum.value, '~s'), regexp('([a-zA-Zµ]?)$'), ' $1')"
"""Vega's expression of an axis label with a prefix, to which the unit is added."""

_BANDS = ("#eef1f4", "#f8f9fa")


def backdrop(
    alt: Any,
    frame: Frame,
    entries: Sequence[Entry],
    lines: list[dict[str, Any]],
    words: list[dict[str, Any]],
) -> list[Any]:
    """Return the layers; ``lines`` are those of equal efficiency, ``words`` their names."""
    return [
        _bands(alt, frame),
        _band_titles(alt, frame),
        *_iso(alt, frame, lines, words),
        _front(alt, frame, entries),
    ]


def frontier_boxes(entries: Sequence[Entry], frame: Frame) -> list[Box]:
    """Return thin boxes along the step line of the frontier, so that no label lies on it."""
    corners = [frame.pixel(e.power_w or 1, e.peak_op_per_s or 1) for e in frontier(entries)]
    boxes = []
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        boxes.append(Box(x, y - 1.5, next_x, y + 1.5))
        boxes.append(Box(next_x - 1.5, min(y, next_y), next_x + 1.5, max(y, next_y)))
    return boxes


def chart(alt: Any, rows: list[dict[str, Any]]) -> Any:
    """Return a chart of rows that stand in the spec itself."""
    return alt.Chart(alt.InlineData(values=rows))


def x_of(alt: Any, frame: Frame, field: str) -> Any:
    """Return the encoding of a field of powers."""
    scale = alt.Scale(type="log", domain=list(frame.power), nice=False)
    axis = alt.Axis(title="peak power", labelExpr=PREFIXED + "+'W'", values=decades(frame.power))
    return alt.X(f"{field}:Q", scale=scale, axis=axis)


def y_of(alt: Any, frame: Frame, field: str) -> Any:
    """Return the encoding of a field of peaks."""
    scale = alt.Scale(type="log", domain=list(frame.peak), nice=False)
    axis = alt.Axis(
        title="promised peak", labelExpr=PREFIXED + "+'op/s'", values=decades(frame.peak)
    )
    return alt.Y(f"{field}:Q", scale=scale, axis=axis)


def _bands(alt: Any, frame: Frame) -> Any:
    rows = [
        {
            "low": max(s.low, frame.power[0]),
            "high": min(s.high, frame.power[1]),
            "shade": _BANDS[i % 2],
        }
        for i, s in enumerate(SEGMENTS)
        if s.low < frame.power[1] and s.high > frame.power[0]
    ]
    return (
        chart(alt, rows)
        .mark_rect(tooltip=None)
        .encode(
            x=x_of(alt, frame, "low"),
            x2="high:Q",
            y=alt.value(0),
            y2=alt.value(frame.height),
            color=alt.Color("shade:N", scale=None),
        )
    )


def _band_titles(alt: Any, frame: Frame) -> Any:
    rows = []
    for band in SEGMENTS:
        low, high = max(band.low, frame.power[0]), min(band.high, frame.power[1])
        if low < high and frame.width * (share(high, frame.power) - share(low, frame.power)) > 75:
            rows.append(
                {"middle": math.sqrt(low * high), "words": _broken(band.title, low, high, frame)}
            )
    return (
        chart(alt, rows)
        .mark_text(
            fontSize=11,
            color=SOFT,
            fontStyle="italic",
            lineBreak="\n",
            baseline="top",
            tooltip=None,
        )
        .encode(x=x_of(alt, frame, "middle"), y=alt.value(7), text="words:N")
    )


def _iso(
    alt: Any, frame: Frame, lines: list[dict[str, Any]], words: list[dict[str, Any]]
) -> list[Any]:
    drawn = (
        chart(alt, lines)
        .mark_rule(color=FAINT, strokeWidth=1, strokeDash=[4, 3], tooltip=None)
        .encode(
            x=x_of(alt, frame, "power"), x2="power2:Q", y=y_of(alt, frame, "peak"), y2="peak2:Q"
        )
    )
    told = (
        chart(alt, words)
        .mark_text(
            color=SOFT,
            fontSize=10,
            align="left",
            baseline="bottom",
            angle=slope(frame) % 360,
            dy=-2,
            dx=8,
        )
        .encode(x=x_of(alt, frame, "power"), y=y_of(alt, frame, "peak"), text="words:N")
    )
    return [drawn, told]


def _front(alt: Any, frame: Frame, entries: Sequence[Entry]) -> Any:
    rows = [{"power": e.power_w, "peak": e.peak_op_per_s} for e in frontier(entries)]
    return (
        chart(alt, rows)
        .mark_line(
            interpolate="step-after", color=SOFT, strokeWidth=1.2, opacity=0.55, tooltip=None
        )
        .encode(x=x_of(alt, frame, "power"), y=y_of(alt, frame, "peak"))
    )


def _broken(words: str, low: float, high: float, frame: Frame) -> str:
    wide = frame.width * (share(high, frame.power) - share(low, frame.power))
    return (
        words
        if wide > 6.2 * len(words)
        else words.replace("data-centre ", "data-centre\n").replace("low ", "low\n")
    )
