"""Plot the results of replay_accuracy.py: energy error by window length, one panel per device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLOURS = {"square": "#0072b2", "ramp": "#009e73", "bursts": "#d55e00"}
PANELS = (
    "counter, 20 ms",
    "counter, 100 ms",
    "counter, 100 ms, edges unknown",
    "power, 20 ms, mean of 10 ms",
    "power, 100 ms, mean of 100 ms",
    "power, 100 ms, mean of 25 ms",
)
MIN_ERROR = 1e-3
"""Smallest error on the axis, %. Smaller errors are drawn here."""

TARGETS = {"counter": 0.5, "power": 1.0}
"""Target of the 95th percentile for windows of at least 10 s, %."""


def draw(rows: Sequence[dict[str, Any]], files: Sequence[str]) -> None:
    """Write the figure to each file, as SVG or PNG by the ending of its name."""
    import altair as alt
    import vl_convert

    panels = []
    for name in PANELS:
        shown = [row for row in rows if row["device"] == name and row["load"] != "all"]
        panels.append(panel(alt, shown, name))
    top, bottom = alt.hconcat(*panels[:3], spacing=18), alt.hconcat(*panels[3:], spacing=18)
    title = alt.Title(
        "Energy error by window length, replayed devices",
        subtitle="Line: 95th percentile. Dots: median. Dashed: target for windows of 10 s or more.",
        anchor="start",
        offset=10,
    )
    axis = {"gridColor": "#e3e6e9", "domain": False, "ticks": False, "labelColor": "#59616b"}
    chart = (
        alt.vconcat(top, bottom, spacing=14)
        .properties(title=title)
        .configure(font="Helvetica, Arial, 'Liberation Sans', sans-serif", background="#ffffff")
        .configure_view(stroke=None)
        .configure_axis(**axis, titleColor="#59616b", titleFontWeight="normal")
        .configure_legend(orient="bottom", labelColor="#59616b", title=None)
    )
    spec = chart.to_json()
    for file in files:
        if file.endswith(".svg"):
            Path(file).write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        else:
            Path(file).write_bytes(vl_convert.vegalite_to_png(spec, scale=2))


def panel(alt: Any, rows: Sequence[dict[str, Any]], name: str) -> Any:
    """Return the chart of one device: 95th percentile, median and target by window length."""
    shown = [
        {"load": r["load"], "length_s": r["length_s"], what: max(MIN_ERROR, 100 * r[what])}
        for r in rows
        for what in ("p95", "median")
        if r[what] is not None
    ]
    x = alt.X("length_s:Q", title="window, s", scale=alt.Scale(type="log", domain=[0.08, 120]),
              axis=alt.Axis(values=[0.1, 1, 10, 100], format="~g"))  # fmt: skip
    colour = alt.Color(
        "load:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    )
    scale = alt.Scale(type="log", domain=[MIN_ERROR, 100])
    axis = alt.Axis(values=[0.001, 0.01, 0.1, 1, 10, 100], format="~g")
    y = {
        what: alt.Y(f"{what}:Q", title="error, %", scale=scale, axis=axis)
        for what in ("p95", "median")
    }
    base = alt.Chart(alt.InlineData(values=shown)).encode(x=x, color=colour)
    target = alt.InlineData(
        values=[{"length_s": at, "p95": TARGETS[name.split(",")[0]]} for at in (10, 100)]
    )
    rule = (
        alt.Chart(target)
        .mark_line(strokeDash=[5, 4], color="#1b1f24", strokeWidth=1)
        .encode(x=x, y=y["p95"])
    )
    return (
        base.transform_filter("isValid(datum.p95)").mark_line(strokeWidth=2).encode(y=y["p95"])
        + base.transform_filter("isValid(datum.median)")
        .mark_point(filled=True, size=22, opacity=0.8)
        .encode(y=y["median"])
        + rule
    ).properties(width=215, height=170, title=alt.Title(name, fontSize=12, anchor="start"))
