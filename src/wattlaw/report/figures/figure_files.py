"""Figures as files for a paper: SVG, PNG or PDF, in the light colours, without network access."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path

from wattlaw.core.files import write_whole
from wattlaw.core.plugins import need
from wattlaw.report.content import Figure, Panel
from wattlaw.report.figures.chart import VegaSpec
from wattlaw.report.figures.theme import CONFIG, LIGHT, PAPER_FONT

FORMATS = ("svg", "png", "pdf")
WIDTHS = {1: 520, 2: 300, 3: 190}
LABELLED_WIDTHS = {1: 420, 2: 220}
"""Width of a panel in px by panels in a row, without and with names of settings beside it.

A row is about 740 px wide, so that its text of 11.5 px is 7.5 points high on the 17 cm of a
journal's page.
"""

_PNG_PPI = 300
_INDEPENDENT = dict.fromkeys(("color", "shape", "strokeDash"), "independent")


def write_figures(figures: Sequence[Figure], page: Path, formats: Sequence[str]) -> list[Path]:
    """Write every figure beside the page as PAGE-FIGURE.FORMAT; return the files."""
    found = []
    for name in formats:
        for figure in figures:
            path = page.with_name(f"{page.stem}-{figure.name}.{name}")
            write_whole(path, drawn(figure, name))
            found.append(path)
    return found


def drawn(figure: Figure, name: str) -> bytes:
    """Return a figure as the bytes of an SVG, PNG (300 pixels per inch) or PDF file."""
    vl_convert = need("vl_convert", "writing figures")
    whole = paper_spec(figure)
    found: bytes
    match name:
        case "svg":
            found = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[]).encode()
        case "png":
            found = vl_convert.vegalite_to_png(whole, scale=1, ppi=_PNG_PPI, allowed_base_urls=[])
        case _:
            found = vl_convert.vegalite_to_pdf(whole, allowed_base_urls=[])
    return found


def paper_spec(figure: Figure) -> VegaSpec:
    """Return one Vega-Lite spec of all panels side by side, in colours and fonts for paper."""
    is_labelled = any(map(_has_names, figure.panels))
    widths = LABELLED_WIDTHS if is_labelled else WIDTHS
    columns = min(len(figure.panels), max(widths))
    panels = [_panel(p, widths[columns]) for p in figure.panels]
    if figure.legend:
        _show_legend(panels[-1])
    datasets: VegaSpec = {}
    for panel in panels:
        datasets |= panel.pop("datasets", {})
    config = {
        **CONFIG,
        "font": PAPER_FONT,
        "background": LIGHT["paper"],
        "autosize": {"type": "pad"},
    }
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": config,
        "datasets": datasets,
        "concat": panels,
        "columns": columns,
        "resolve": {"scale": _INDEPENDENT},
    }
    text = re.sub(r"var\(--([a-z0-9]+)\)", lambda match: LIGHT[match[1]], json.dumps(whole))
    coloured: VegaSpec = json.loads(text)
    return coloured


def _panel(panel: Panel, width: int) -> VegaSpec:
    found = {**copy.deepcopy(panel.spec), "width": width, "height": panel.height}
    if panel.title:
        found["title"] = {"text": panel.title, "limit": width}
    return found


def _has_names(panel: Panel) -> bool:
    parts = panel.spec.get("layer", [panel.spec])
    return any(part.get("encoding", {}).get("y", {}).get("type") == "nominal" for part in parts)


def _show_legend(panel: VegaSpec) -> None:
    # the page shows the legend above the charts; a file has it below its last panel
    legend = {"orient": "bottom", "columns": 3, "symbolStrokeWidth": 0}
    for part in panel.get("layer", [panel]):
        for name in ("color", "shape"):
            channel = part.get("encoding", {}).get(name)
            if channel and channel.get("legend", "") is None:
                channel |= {"title": None, "legend": legend}
