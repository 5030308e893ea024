"""The figure of the surveys: peak performance against peak power, log-log, with lines of equal
efficiency.

Colour is the precision, shape the form factor, fill training or inference. The figure is a
Vega-Lite specification made with Altair: interactive on a page, and the same as SVG, PNG or PDF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from wattlaw.accelerators.catalogue.entry import (
    SEGMENT_NAMES,
    SEGMENTS,
    CatalogueEntry,
    PowerSegment,
    segment,
)
from wattlaw.accelerators.catalogue.survey import frontier
from wattlaw.accelerators.figures.label_placement import Box, place_labels, text_width
from wattlaw.accelerators.figures.scatter_frame import (
    IsoLine,
    ScatterFrame,
    axis_values,
    frame_of,
    frontier_boxes,
    iso_lines,
    name_boxes,
    point_boxes,
    position,
)
from wattlaw.accelerators.figures.style import (
    PAPER,
    SI_PREFIXED,
    Palette,
    Record,
    chart,
    headed,
    styled,
)
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.units import show

LABEL_SIZE = 8.5
PAGE_LABEL_SIZE = 9.5
LEGEND_OFFSET = 26
LEGEND_SIZE = (195, 112)
"""Offset of the legends in the upper left corner of a page's figure, and their size with it, px."""

DIMMED = 0.06
"""Opacity of a point that the reader filtered out."""

WIDE_PX = 880
"""A figure on a page shows all labels from this width on, and those of the Pareto frontier below
it, px.
"""

SHAPES = {"chip": "circle", "card": "square", "system": "triangle-up", "unknown": "cross"}
FILL_OPACITY = {"training": 0.85, "inference": 0.0, "unknown": 0.28}
FRONTIER_KEY = "step line: Pareto frontier (no other accelerator has more peak for less power)"

TOOLTIP = {
    "name": "accelerator",
    "year": "year",
    "kind": "kind",
    "precision": "precision",
    "peak_text": "peak performance",
    "power_text": "peak power",
    "ratio_text": "efficiency",
    "surveys": "surveys",
    "note": "note",
}


def plot(
    entries: Sequence[CatalogueEntry], title: str = "", zoom: str = "", labels: bool = True
) -> alt.TopLevelMixin:
    """Return the figure with filters for readers of an HTML page.

    ``zoom`` is the name of a segment: only its powers are shown. Raises UnknownNameError for
    another name, UsageError if no entry has both peak and power.
    """
    if zoom not in ("", *SEGMENT_NAMES):
        raise UnknownNameError("segment", zoom, set(SEGMENT_NAMES))
    shown = plottable(entries, zoom)
    frame = frame_of(shown, zoom)
    lines = _lines(shown, frame)
    layers = [*_background(frame, shown, PAPER), _iso_names(frame, lines, PAPER)]
    choices, is_chosen = _reader_filters(shown)
    opacity = alt.condition(is_chosen, alt.value(1), alt.value(DIMMED))
    subtitle = FRONTIER_KEY
    if labels:
        placed = _place(shown, frame, lines)
        layers += [layer.encode(opacity=opacity) for layer in _labels(placed, frame, PAPER)]
        if len(placed) < len(shown):
            subtitle += f"; {len(placed)} of {len(shown)} are labelled"
    layers.append(_points(shown, frame, PAPER).encode(opacity=opacity).add_params(*choices))
    figure = alt.layer(*layers).properties(width=frame.width, height=frame.height)
    return styled(
        figure.properties(title=headed(title or "Peak performance against peak power", subtitle))
    )


def plot_for_page(
    entries: Sequence[CatalogueEntry], palette: Palette, width: int, narrow: int, height: int
) -> alt.LayerChart:
    """Return the figure without title and size, for a page that sets its width.

    From ``WIDE_PX`` on it shows the labels that are free of overlaps at ``width`` px; on a narrower
    page it shows those of the Pareto frontier that are free of overlaps at ``narrow`` px.
    """
    shown = plottable(entries)
    wide = frame_of(shown, "", width, height)
    small = frame_of(shown, "", narrow, height)
    is_wide, is_narrow = f"width >= {WIDE_PX}", f"width < {WIDE_PX}"
    layers = _background(wide, shown, palette, only_if=is_wide)
    for frame, named, condition in ((wide, shown, is_wide), (small, frontier(shown), is_narrow)):
        lines = _lines(shown, frame, [Box(0, 0, *LEGEND_SIZE)])
        placed = _place(shown, frame, lines, named, PAGE_LABEL_SIZE)
        opacity = alt.value(alt.expr(f"{condition} ? 1 : 0"))
        for layer in _labels(placed, frame, palette, PAGE_LABEL_SIZE):
            layers.append(layer.encode(opacity=opacity))
        layers.append(_iso_names(frame, lines, palette).encode(opacity=opacity))
    layers.append(_points(shown, wide, palette, has_page_legend=True))
    return alt.layer(*layers)


def plottable(entries: Sequence[CatalogueEntry], zoom: str = "") -> list[CatalogueEntry]:
    """Return the entries with peak and power, of one segment if ``zoom`` names it. Raises
    UsageError if none is left.
    """
    shown = []
    for entry in entries:
        if entry.op_per_joule and zoom in ("", segment(entry.power_w)):
            shown.append(entry)
    if not shown:
        raise UsageError(
            "no accelerator with both a peak and a power is left to plot; loosen the filters"
        )
    return shown


def _lines(
    shown: Sequence[CatalogueEntry], frame: ScatterFrame, blocked: Sequence[Box] = ()
) -> list[IsoLine]:
    taken = [*point_boxes(frame, shown), *frontier_boxes(frame, shown), *blocked]
    return iso_lines(frame, taken)


def _background(
    frame: ScatterFrame,
    entries: Sequence[CatalogueEntry],
    palette: Palette,
    only_if: str = "true",
) -> list[alt.Chart]:
    """Return the layers behind the points; ``only_if`` is Vega's condition of segment names."""
    return [
        _segment_bands(frame, palette),
        _segment_titles(frame, palette, only_if),
        _iso_rules(frame, palette),
        _frontier_line(frame, entries, palette),
    ]


def _x(frame: ScatterFrame, field: str) -> alt.X:
    scale = alt.Scale(type="log", domain=list(frame.power), nice=False)
    axis = alt.Axis(
        title="peak power", labelExpr=f"{SI_PREFIXED}+'W'", values=axis_values(frame.power)
    )
    return alt.X(f"{field}:Q", scale=scale, axis=axis)


def _y(frame: ScatterFrame, field: str) -> alt.Y:
    scale = alt.Scale(type="log", domain=list(frame.peak), nice=False)
    axis = alt.Axis(
        title="peak performance", labelExpr=f"{SI_PREFIXED}+'OPS'", values=axis_values(frame.peak)
    )
    return alt.Y(f"{field}:Q", scale=scale, axis=axis)


def _segment_bands(frame: ScatterFrame, palette: Palette) -> alt.Chart:
    rows: list[Record] = []
    for index, band in enumerate(SEGMENTS):
        low, high = max(band.low, frame.power[0]), min(band.high, frame.power[1])
        if low < high:
            rows.append({"low": low, "high": high, "shade": palette.bands[index % 2]})
    return (
        chart(rows)
        .mark_rect(tooltip=None)
        .encode(
            x=_x(frame, "low"),
            x2="high:Q",
            y=alt.value(0),
            y2=alt.value("height"),
            color=alt.Color("shade:N", scale=None),
        )
    )


def _segment_titles(frame: ScatterFrame, palette: Palette, only_if: str) -> alt.Chart:
    rows: list[Record] = []
    for band in SEGMENTS:
        low, high = max(band.low, frame.power[0]), min(band.high, frame.power[1])
        if low >= high:
            continue
        width = frame.width * (position(high, frame.power) - position(low, frame.power))
        if width > 75:
            rows.append({"middle": math.sqrt(low * high), "title": _title_in(band, width)})
    mark = chart(rows).mark_text(
        fontSize=11,
        color=palette.soft,
        fontStyle="italic",
        lineBreak="\n",
        baseline="top",
        tooltip=None,
        opacity=alt.expr(f"{only_if} ? 1 : 0"),
    )
    return mark.encode(x=_x(frame, "middle"), y=alt.value(7), text="title:N")


def _title_in(band: PowerSegment, width: float) -> str:
    """Return the title of a segment, on two lines if one line is wider than ``width`` px."""
    if width > 6.2 * len(band.title):
        return band.title
    return band.title.replace("data-centre ", "data-centre\n").replace("low ", "low\n")


def _iso_rules(frame: ScatterFrame, palette: Palette) -> alt.Chart:
    rows: list[Record] = []
    for line in iso_lines(frame):
        ends: Record = {"power": line.low, "peak": line.low * line.efficiency}
        rows.append({**ends, "power2": line.high, "peak2": line.high * line.efficiency})
    rules = chart(rows).mark_rule(
        color=palette.faint, strokeWidth=1, strokeDash=[4, 3], tooltip=None
    )
    return rules.encode(x=_x(frame, "power"), x2="power2:Q", y=_y(frame, "peak"), y2="peak2:Q")


def _iso_names(frame: ScatterFrame, lines: Sequence[IsoLine], palette: Palette) -> alt.Chart:
    rows: list[Record] = []
    for line in lines:
        if line.name_at is not None:
            peak = line.name_at * line.efficiency
            rows.append({"power": line.name_at, "peak": peak, "name": line.name})
    # the angle follows the size that a page gives to the figure
    decades_x = math.log10(frame.power[1] / frame.power[0])
    decades_y = math.log10(frame.peak[1] / frame.peak[0])
    angle = f"-atan2(height / {decades_y:.6g}, width / {decades_x:.6g}) * 180 / PI"
    names = chart(rows).mark_text(
        color=palette.soft,
        fontSize=10,
        align="left",
        baseline="bottom",
        angle=alt.expr(f"({angle} + 360) % 360"),
        dy=-2,
        dx=8,
        tooltip=None,
    )
    return names.encode(x=_x(frame, "power"), y=_y(frame, "peak"), text="name:N")


def _frontier_line(
    frame: ScatterFrame, entries: Sequence[CatalogueEntry], palette: Palette
) -> alt.Chart:
    rows: list[Record] = [{"power": e.power_w, "peak": e.peak_op_per_s} for e in frontier(entries)]
    line = chart(rows).mark_line(
        interpolate="step-after", color=palette.soft, strokeWidth=1.2, opacity=0.55, tooltip=None
    )
    return line.encode(x=_x(frame, "power"), y=_y(frame, "peak"))


def _labels(
    placed: Sequence[Record], frame: ScatterFrame, palette: Palette, size: float = LABEL_SIZE
) -> list[alt.Chart]:
    """Return the layers of the labels: leader lines, halos, texts."""
    x, y = _x(frame, "power"), _y(frame, "peak")
    leaders = chart([r for r in placed if r["has_leader"]]).mark_rule(
        color=palette.soft, strokeWidth=0.5, tooltip=None
    )
    texts = chart(placed).encode(x=x, y=y, text="label:N")
    mark = {"align": "left", "baseline": "middle", "fontSize": size, "tooltip": None}
    halo = texts.mark_text(
        **mark, strokeJoin="round", stroke=palette.paper, strokeWidth=2.4, strokeOpacity=0.75
    )
    return [
        leaders.encode(x=_x(frame, "from"), x2="to:Q", y=_y(frame, "height"), y2="peak:Q"),
        halo,
        texts.mark_text(**mark, color=palette.ink),
    ]


def _place(
    shown: Sequence[CatalogueEntry],
    frame: ScatterFrame,
    lines: Sequence[IsoLine],
    named: Sequence[CatalogueEntry] | None = None,
    size: float = LABEL_SIZE,
) -> list[Record]:
    """Return the labels with a free place: those of the frontier first, then the newest.

    ``named`` are the entries to label on a page with its legends inside; by default all that are
    shown.
    """
    blocked = [*name_boxes(frame, lines), *frontier_boxes(frame, shown)]
    if named is not None:
        blocked += [*point_boxes(frame, shown), Box(0, 0, *LEGEND_SIZE)]
    ordered = _by_importance(shown if named is None else named, frontier(shown))
    points = [frame.pixel_of(e) for e in ordered]
    inside = Box(2, 34, frame.width - 2, frame.height - 2)
    rows: list[Record] = []
    for spot in place_labels(points, [e.label for e in ordered], inside, size, blocked):
        entry = ordered[spot.point]
        power, peak = frame.value(spot.x, spot.y)
        # the leader ends at the side of the label that is nearer to the point
        near = min(max(points[spot.point][0] - spot.x, 0), text_width(entry.label, size))
        row: Record = {
            "label": entry.label,
            "power": power,
            "peak": peak,
            "precision": entry.precision,
            "use": entry.use,
            "form_factor": entry.form_factor,
            "has_leader": spot.has_leader,
            "from": entry.power_w,
            "height": entry.peak_op_per_s,
            "to": frame.value(spot.x + near, spot.y)[0],
        }
        rows.append(row)
    return rows


def _by_importance(
    entries: Sequence[CatalogueEntry], front: Sequence[CatalogueEntry]
) -> list[CatalogueEntry]:
    """Return the entries without repeated labels: the frontier first, then the newest."""
    on_front = {id(e) for e in front}

    def key(entry: CatalogueEntry) -> tuple[bool, int, str]:
        newest = max(entry.surveys, default=0) or entry.year or 0
        return id(entry) not in on_front, -newest, entry.label

    first: dict[tuple[str, float | None, float | None], CatalogueEntry] = {}
    for entry in sorted(entries, key=key):
        first.setdefault((entry.label, entry.power_w, entry.peak_op_per_s), entry)
    return list(first.values())


def _reader_filters(
    entries: Sequence[CatalogueEntry],
) -> tuple[list[alt.Parameter], alt.PredicateComposition]:
    """Return the filters that a reader can set, and the condition that an entry passes all."""
    by_precision = alt.selection_point(name="precision_shown", fields=["precision"], bind="legend")
    filters, is_chosen = [by_precision], by_precision
    menus = (
        ("use", "use", ("training", "inference")),
        ("form_factor", "form factor", ("chip", "card", "system")),
    )
    for field, title, words in menus:
        present = {getattr(e, field) for e in entries}
        options = [w for w in words if w in present]
        menu = alt.binding_select(
            options=[None, *options], labels=["all", *options], name=f"{title} "
        )
        choice = alt.selection_point(name=f"{field}_shown", fields=[field], bind=menu)
        filters.append(choice)
        is_chosen = is_chosen & choice
    return [*filters, alt.selection_interval(name="zoom", bind="scales")], is_chosen


def _points(
    entries: Sequence[CatalogueEntry],
    frame: ScatterFrame,
    palette: Palette,
    has_page_legend: bool = False,
) -> alt.Chart:
    """Return the points; with ``has_page_legend`` the page itself explains the colours."""
    precisions = _present(palette.precisions, [e.precision for e in entries])
    colours = alt.Scale(domain=precisions, range=[palette.precisions[p] for p in precisions])
    place = alt.Legend(orient="top-left", offset=LEGEND_OFFSET) if has_page_legend else alt.Legend()
    colour_legend = None if has_page_legend else alt.Legend(symbolType="circle")
    form_factors = _present(SHAPES, [e.form_factor for e in entries])
    shape_legend = place.copy()
    shape_legend.symbolFillColor = shape_legend.symbolStrokeColor = palette.soft
    shapes = alt.Scale(domain=form_factors, range=[SHAPES[f] for f in form_factors])
    rows = [_point(e) for e in sorted(entries, key=lambda e: e.power_w or 0)]
    return (
        chart(rows)
        .mark_point(strokeWidth=1.4)
        .encode(
            x=_x(frame, "power"),
            y=_y(frame, "peak"),
            stroke=alt.Stroke(
                "precision:N", title="precision", scale=colours, legend=colour_legend
            ),
            fill=alt.Fill("precision:N", title="precision", scale=colours, legend=colour_legend),
            shape=alt.Shape(
                "form_factor:N", title="form factor", legend=shape_legend, scale=shapes
            ),
            fillOpacity=alt.FillOpacity("fill:Q", scale=None),
            size=_use_legend(entries, palette, place),
            tooltip=[alt.Tooltip(f"{name}:N", title=title) for name, title in TOOLTIP.items()],
        )
    )


def _use_legend(entries: Sequence[CatalogueEntry], palette: Palette, place: alt.Legend) -> alt.Size:
    """Return an encoding of the use. Vega has no legend of filled and empty marks; one of equal
    sizes shows them.
    """
    uses = _present(FILL_OPACITY, [e.use for e in entries])
    fills = {"training": palette.soft, "inference": "transparent", "unknown": palette.faint}
    colour = "''"
    for use in reversed(uses):
        colour = f"datum.value=='{use}'?'{fills[use]}':{colour}"
    legend = place.copy()
    legend.symbolType = "circle"
    legend.symbolFillColor = alt.expr(colour)
    legend.symbolStrokeColor = palette.soft
    scale = alt.Scale(type="ordinal", domain=uses, range=[46] * len(uses))
    return alt.Size("use:O", title="use", scale=scale, legend=legend)


def _present(order: dict[str, str] | dict[str, float], words: Sequence[str]) -> list[str]:
    """Return the words that occur, in the order of ``order``."""
    present = set(words)
    return [w for w in order if w in present]


def _point(entry: CatalogueEntry) -> Record:
    year = f"{entry.year or 'unknown'}"
    peak = show(entry.peak_op_per_s or 0, "OPS")
    return {
        "name": f"{entry.company} {entry.product}",
        "year": f"{year} (first listed)" if entry.year_from == "listed" else year,
        "precision": entry.precision,
        "kind": f"{entry.form_factor}, {entry.technology}, {entry.use}",
        "form_factor": entry.form_factor,
        "use": entry.use,
        "fill": FILL_OPACITY[entry.use],
        "power": entry.power_w,
        "peak": entry.peak_op_per_s,
        "peak_text": f"{peak} (sparse)" if entry.counting == "sparse" else peak,
        "power_text": show(entry.power_w or 0, "W"),
        "ratio_text": show(entry.op_per_joule or 0, "OPS/W"),
        "surveys": " ".join(map(str, entry.surveys)) or "none",
        "note": entry.note,
    }
