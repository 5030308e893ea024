"""Colours, fonts and file formats that all figures of accelerators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import altair as alt

from wattlaw.core.errors import UsageError
from wattlaw.core.files import write_whole
from wattlaw.core.plugins import need

Record = dict[str, str | float | bool | None]
"""One row of the data inside a chart."""

FORMATS = ("html", "svg", "png", "pdf", "json")
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"

PRECISION_COLOURS = {
    "int1": "#3f4650",
    "int2": "#7d858e",
    "int4": "#b5528c",
    "int8": "#0072b2",
    "int16": "#3d9bd6",
    "int32": "#8c6d3f",
    "fp4": "#e06aa5",
    "fp8": "#8a5aa8",
    "fp16": "#d55e00",
    "bf16": "#c98a00",
    "tf32": "#5d7a1f",
    "fp32": "#009e73",
    "fp64": "#005a41",
    "analog": "#b3261e",
    "unknown": "#b9c0c8",
}
TECHNOLOGY_COLOURS = {
    "gpu": "#d55e00",
    "cpu": "#7d858e",
    "multicore": "#9aa1a9",
    "manycore": "#009e73",
    "fpga": "#c98a00",
    "tensor": "#0072b2",
    "dataflow": "#b5528c",
    "cgra": "#8c6d3f",
    "pim": "#8a5aa8",
    "neuromorphic": "#3d9bd6",
    "analog": "#b3261e",
    "unknown": "#d5d9dd",
}
SEGMENT_COLOURS = ("#7d858e", "#0072b2", "#009e73", "#d55e00", "#8a5aa8")
SERIES_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#b5528c", "#c98a00", "#3d9bd6", "#8c6d3f", "#7d858e"),
)

SI_PREFIXED = "replace(format(datum.value, '~s'), regexp('([a-zA-Zµ]?)$'), ' $1')"
"""Vega's expression of an axis label with an SI prefix; the unit is appended to it."""

DECADES = [10.0**k for k in range(-3, 19)]

_PAGE_STYLE = """<style>:root { color-scheme: light; background: #fff }
body { font: 13px Helvetica, Arial, "Liberation Sans", sans-serif; color: #1b1f24 }
.vega-bindings { display: flex; gap: 24px; padding: 0 18px }</style>"""


@dataclass(frozen=True)
class Palette:
    """The colours of a scatter figure; ``bands`` alternate behind the segments."""

    ink: str = "#1b1f24"
    soft: str = "#59616b"
    faint: str = "#c3c9cf"
    paper: str = "#ffffff"
    bands: tuple[str, str] = ("#eef1f4", "#f8f9fa")
    precisions: dict[str, str] = field(default_factory=lambda: PRECISION_COLOURS)


PAPER = Palette()


def chart(rows: Sequence[Record]) -> alt.Chart:
    """Return a chart with its rows inside the specification."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def headed(title: str, subtitle: str) -> alt.Title:
    """Return a title with a line below it."""
    return alt.Title(
        title,
        subtitle=subtitle,
        anchor="start",
        fontSize=14,
        color=PAPER.ink,
        subtitleColor=PAPER.soft,
        offset=10,
    )


def styled(figure: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """Return a figure with the fonts and colours of all figures of accelerators."""
    return (
        figure.configure(font=FONT, background=PAPER.paper, padding=10)
        .configure_title(anchor="start", fontSize=12, color=PAPER.ink, fontWeight="bold")
        .configure_view(stroke=PAPER.faint)
        .configure_axis(
            grid=False,
            labelColor=PAPER.soft,
            titleColor=PAPER.ink,
            domain=False,
            tickColor=PAPER.faint,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(
            labelColor=PAPER.ink,
            titleColor=PAPER.ink,
            labelFontSize=11,
            titleFontSize=11,
            symbolSize=60,
            titleFontWeight="bold",
            rowPadding=2,
        )
    )


def write(figure: alt.TopLevelMixin, path: Path) -> None:
    """Write a figure as self-contained HTML, SVG, PNG, PDF or Vega-Lite JSON.

    Raises UsageError for another ending, MissingPartError without vl-convert.
    """
    ending = path.suffix.lstrip(".").lower()
    if ending not in FORMATS:
        raise UsageError(f"{path}: a figure ends in {', '.join('.' + f for f in FORMATS)}")
    if ending == "json":
        write_whole(path, (figure.to_json(validate=False) + "\n").encode())
        return
    vl_convert = need("vl_convert", "writing figures")
    spec = figure.to_dict(validate=False)
    match ending:
        case "html":
            page = vl_convert.vegalite_to_html(spec, bundle=True)
            data = page.replace("<head>", f"<head>{_PAGE_STYLE}", 1).encode()
        case "svg":
            data = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]).encode()
        case "png":
            data = vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[])
        case _:
            data = vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[])
    write_whole(path, data)
