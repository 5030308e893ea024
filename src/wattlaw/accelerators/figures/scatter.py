"""The figure of the surveys: promised peak against power, log-log, with lines of equal efficiency.

Colour is the precision, shape the form factor, fill training or inference. Vega-Lite by Altair: hover and
filter on a page, and the same spec as SVG, PNG or PDF.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wattlaw.accelerators.catalogue.entry import SEGMENTS, Entry, segment
from wattlaw.accelerators.catalogue.survey import frontier
from wattlaw.accelerators.figures.label_placement import Box, place, text_width
from wattlaw.accelerators.figures.scatter_backdrop import (
    FAINT,
    INK,
    SOFT,
    backdrop,
    chart,
    frontier_boxes,
    x_of,
    y_of,
)
from wattlaw.accelerators.figures.scatter_frame import Frame, frame_of, iso_boxes, iso_lines
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.files import write_whole
from wattlaw.core.plugins import need
from wattlaw.core.units import show

FORMATS = ("html", "svg", "png", "pdf", "json")
LABEL_SIZE = 8.5

COLOURS = {
    "int1": "#3f4650", "int2": "#7d858e", "int4": "#b5528c", "int8": "#0072b2", "int16": "#3d9bd6", "int32": "#8c6d3f",
    "fp4": "#e06aa5", "fp8": "#8a5aa8", "fp16": "#d55e00", "bf16": "#c98a00", "tf32": "#5d7a1f", "fp32": "#009e73",
    "fp64": "#005a41", "analog": "#b3261e", "unknown": "#b9c0c8",
}  # fmt: skip
SHAPES = {"chip": "circle", "card": "square", "system": "triangle-up", "unknown": "cross"}
FILLS = {"training": 0.85, "inference": 0.0, "unknown": 0.28}
_STYLE = """<style>:root { color-scheme: light; background: #fff }
body { font: 13px Helvetica, Arial, "Liberation Sans", sans-serif; color: #1b1f24 }
.vega-bindings { display: flex; gap: 24px; padding: 0 18px }</style>"""
_KEY = "the step line joins what no other beats in both peak and power"


def plot(entries: Sequence[Entry], title: str = "", zoom: str = "", labels: bool = True) -> Any:
    """Return the figure as an Altair chart.

    ``zoom`` is a segment's name: only its powers are shown. Raises UnknownNameError for another name,
    UsageError where no entry has both peak and power, MissingPartError without Altair.
    """
    alt = need("altair", "the figure of accelerators")
    if zoom not in ("", *(s.name for s in SEGMENTS)):
        raise UnknownNameError("segment", zoom, {s.name for s in SEGMENTS})
    shown = [
        e for e in entries if e.peak_op_per_s and e.power_w and zoom in ("", segment(e.power_w))
    ]
    if not shown:
        raise UsageError(
            "no accelerator that has both a peak and a power is left to plot; loosen the filters"
        )
    frame = frame_of(shown, zoom)
    taken = [*_marks(shown, frame), *frontier_boxes(shown, frame)]
    lines, told = iso_lines(frame, taken)
    layers = backdrop(alt, frame, shown, lines, told)
    choices, keep = _choices(alt, shown)
    below = _KEY
    if labels:
        placed = _placed(shown, frame, [*iso_boxes(frame, told), *frontier_boxes(shown, frame)])
        layers += _labels(alt, placed, frame, keep)
        below += f"; {len(placed)} of {len(shown)} labelled" if len(placed) < len(shown) else ""
    layers.append(_points(alt, shown, frame, keep).add_params(*choices))
    whole = alt.layer(*layers).properties(width=frame.width, height=frame.height)
    return styled(
        whole.properties(title=headed(alt, title or "Promised peak against peak power", below))
    )


def write(chart: Any, path: Path) -> None:
    """Write a chart as HTML (nothing is fetched when it is read), SVG, PNG, PDF or Vega-Lite JSON.

    Raises UsageError for another ending, MissingPartError without vl-convert.
    """
    name = path.suffix.lstrip(".").lower()
    if name not in FORMATS:
        raise UsageError(f"{path}: a figure ends in {', '.join('.' + f for f in FORMATS)}")
    if name == "json":
        write_whole(path, (chart.to_json(validate=False) + "\n").encode())
        return
    vl_convert = need("vl_convert", "writing figures")
    spec = chart.to_dict(validate=False)
    match name:
        case "html":
            page = vl_convert.vegalite_to_html(spec, bundle=True).replace(
                "<head>", f"<head>{_STYLE}", 1
            )
            write_whole(path, page.encode())
        case "svg":
            write_whole(path, vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]).encode())
        case "png":
            write_whole(path, vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[]))
        case _:
            write_whole(path, vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[]))


def _labels(alt: Any, rows: list[dict[str, Any]], frame: Frame, keep: Any) -> list[Any]:
    seen = alt.condition(keep, alt.value(1), alt.value(0.06))
    base = chart(alt, rows).encode(
        x=x_of(alt, frame, "power"), y=y_of(alt, frame, "peak"), text="label:N"
    )
    kind = {
        "align": "left",
        "baseline": "middle",
        "fontSize": LABEL_SIZE,
        "tooltip": None,
        "strokeJoin": "round",
    }
    halo = base.mark_text(**kind, stroke="#ffffff", strokeWidth=2.4).encode(
        opacity=alt.condition(keep, alt.value(0.75), alt.value(0))
    )
    words = base.mark_text(**kind, color=INK).encode(opacity=seen)
    leaders = (
        chart(alt, [r for r in rows if r["led"]])
        .mark_rule(color=SOFT, strokeWidth=0.5, tooltip=None)
        .encode(
            x=x_of(alt, frame, "from"),
            x2="to:Q",
            y=y_of(alt, frame, "height"),
            y2="peak:Q",
            opacity=seen,
        )
    )
    return [leaders, halo, words]


def _marks(entries: Sequence[Entry], frame: Frame) -> list[Box]:
    spots = [frame.pixel(e.power_w or 1, e.peak_op_per_s or 1) for e in entries]
    return [Box(x - 5, y - 5, x + 5, y + 5) for x, y in spots]


def _placed(entries: Sequence[Entry], frame: Frame, blocked: Sequence[Box]) -> list[dict[str, Any]]:
    """Return the labels that find a place: the frontier's first, then those of the newest surveys and years."""
    front = {id(e) for e in frontier(entries)}
    order = sorted(
        entries,
        key=lambda e: (id(e) not in front, -(max(e.surveys, default=0) or e.year or 0), e.label),
    )
    first = list({(e.label, e.power_w, e.peak_op_per_s): e for e in reversed(order)}.values())[::-1]
    points = [frame.pixel(e.power_w or 1, e.peak_op_per_s or 1) for e in first]
    inside = Box(2, 34, frame.width - 2, frame.height - 2)
    rows = []
    for spot in place(points, [e.label for e in first], inside, LABEL_SIZE, blocked):
        entry = first[spot.point]
        power, peak = frame.value(spot.x, spot.y)
        # a leader ends at that end of the label which is nearer to its point
        near = min(max(points[spot.point][0] - spot.x, 0), text_width(entry.label, LABEL_SIZE))
        rows.append(
            {
                "label": entry.label,
                "power": power,
                "peak": peak,
                "precision": entry.precision,
                "use": entry.use,
                "form_factor": entry.form_factor,
                "led": spot.led,
                "from": entry.power_w,
                "height": entry.peak_op_per_s,
                "to": frame.value(spot.x + near, spot.y)[0],
            }
        )
    return rows


def _choices(alt: Any, entries: Sequence[Entry]) -> tuple[list[Any], Any]:
    """Return the filters a reader can set on the page, and the condition that an entry passes them all."""
    by_precision = alt.selection_point(name="precision_shown", fields=["precision"], bind="legend")
    choices, keep = [by_precision], by_precision
    menus = (
        ("use", "sold for", ("training", "inference")),
        ("form_factor", "form factor", ("chip", "card", "system")),
    )
    for field, title, words in menus:
        options = [None, *(w for w in words if any(getattr(e, field) == w for e in entries))]
        menu = alt.binding_select(options=options, labels=["all", *options[1:]], name=f"{title} ")
        choice = alt.selection_point(name=f"{field}_shown", fields=[field], bind=menu)
        choices.append(choice)
        keep = keep & choice
    return [*choices, alt.selection_interval(name="zoom", bind="scales")], keep


def _points(alt: Any, entries: Sequence[Entry], frame: Frame, keep: Any) -> Any:
    rows = [_row(e) for e in sorted(entries, key=lambda e: e.power_w or 0)]
    here = [p for p in COLOURS if any(e.precision == p for e in entries)]
    shapes = [f for f in SHAPES if any(e.form_factor == f for e in entries)]
    circles = alt.Legend(symbolType="circle")
    grey = {"symbolFillColor": SOFT, "symbolStrokeColor": SOFT}
    uses = [u for u in FILLS if any(e.use == u for e in entries)]
    # Vega has no legend of fills that are filled or not: one of sizes, all the same, shows them
    tints = {"training": SOFT, "inference": "transparent", "unknown": FAINT}
    tint = "".join(f"datum.value=='{u}'?'{tints[u]}':" for u in uses) + "''"
    sold = alt.Size(
        "use:O", title="sold for", scale=alt.Scale(type="ordinal", domain=uses, range=[46] * len(uses)),
        legend=alt.Legend(symbolType="circle", symbolFillColor=alt.expr(tint), symbolStrokeColor=SOFT),
    )  # fmt: skip
    colours = alt.Scale(domain=here, range=[COLOURS[p] for p in here])
    shape = alt.Shape(
        "form_factor:N", title="form factor", legend=alt.Legend(**grey),
        scale=alt.Scale(domain=shapes, range=[SHAPES[s] for s in shapes]),
    )  # fmt: skip
    return (
        chart(alt, rows)
        .mark_point(strokeWidth=1.4)
        .encode(
            x=x_of(alt, frame, "power"),
            y=y_of(alt, frame, "peak"),
            stroke=alt.Stroke("precision:N", title="precision", scale=colours, legend=circles),
            fill=alt.Fill("precision:N", title="precision", scale=colours, legend=circles),
            shape=shape,
            fillOpacity=alt.FillOpacity("fill:Q", scale=None),
            size=sold,
            opacity=alt.condition(keep, alt.value(1), alt.value(0.06)),
            tooltip=[alt.Tooltip(f"{n}:N", title=t) for n, t in _HOVER.items()],
        )
    )


_HOVER = {
    "name": "accelerator", "year": "year", "sort": "kind", "precision": "precision", "peak_told": "promised peak",
    "power_told": "peak power", "ratio_told": "efficiency", "surveys": "surveys", "note": "note",
}  # fmt: skip


def _row(entry: Entry) -> dict[str, Any]:
    listed = " (first listed)" if entry.year_from == "listed" else ""
    sparse = " (sparse)" if entry.counting == "sparse" else ""
    return {
        "name": f"{entry.company} {entry.product}",
        "year": f"{entry.year or 'unknown'}{listed}",
        "precision": entry.precision,
        "sort": f"{entry.form_factor}, {entry.technology}, {entry.use}",
        "form_factor": entry.form_factor,
        "use": entry.use,
        "fill": FILLS[entry.use],
        "power": entry.power_w,
        "peak": entry.peak_op_per_s,
        "peak_told": show(entry.peak_op_per_s or 0, "op/s") + sparse,
        "power_told": show(entry.power_w or 0, "W"),
        "ratio_told": show(entry.op_per_joule or 0, "op/s/W"),
        "surveys": " ".join(map(str, entry.surveys)) or "none",
        "note": entry.note,
    }


def headed(alt: Any, title: str, below: str) -> Any:
    """Return a title with a line below it, as every figure of accelerators has."""
    return alt.Title(
        title, subtitle=below, anchor="start", fontSize=14, color=INK, subtitleColor=SOFT, offset=10
    )


def styled(chart: Any) -> Any:
    """Return a chart with the type and colours of all figures of accelerators."""
    font = "Helvetica, Arial, 'Liberation Sans', sans-serif"
    return (
        chart.configure(font=font, background="#ffffff", padding=10)
        .configure_title(anchor="start", fontSize=12, color=INK, fontWeight="bold")
        .configure_view(stroke=FAINT)
        .configure_axis(grid=False, labelColor=SOFT, titleColor=INK, domain=False, tickColor=FAINT,
                        labelFontSize=11, titleFontSize=12, titleFontWeight="normal")
        .configure_legend(labelColor=INK, titleColor=INK, labelFontSize=11, titleFontSize=11, symbolSize=60,
                          titleFontWeight="bold", rowPadding=2)
    )  # fmt: skip
