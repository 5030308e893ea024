"""What a section gives back, and what all figures share: colours by name, units on axes, small parts of charts.

Colours are written as ``var(--name)``. On the page they follow the reader's light or dark theme; in files
for a paper they are replaced by the light ones (see ``export``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from wattlaw.core.plugins import need
from wattlaw.core.reading import Reading
from wattlaw.core.units import show

MOST_PANELS = 12
"""Workloads that one figure shows; the tables have all."""

MOST_ROWS = 16
"""Settings that one panel lists; the tables have all."""

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table: column heads, rows of cells, and what it shows. Cells are plain text or safe markup.

    ``keys`` hold what a column is sorted by, where it is not the cell's own text.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    keys: Sequence[Sequence[Cell]] = ()


def filled(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> Table:
    """Return a table without the columns that are empty in every row."""
    used = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    return Table([columns[i] for i in used], [[row[i] for i in used] for row in rows], caption)


@dataclass(frozen=True)
class Panel:
    """One chart of a figure: a Vega-Lite spec without size and configuration, and its title.

    height      px
    file_width  px in SVG, PNG and PDF files; 0 takes the usual width
    """

    title: str
    spec: dict[str, Any]
    height: int = 220
    file_width: int = 0


@dataclass(frozen=True)
class Figure:
    """A figure of one or more panels.

    table   the same numbers, for those who can't see the figure
    legend  (name, colour) of what all panels share
    wide    whether its panels want half of the page each rather than a third
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    table: Table | None = None
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page. ``place`` orders them: the answer is 0, figures 10–49, tables 50 and up."""

    name: str
    title: str
    place: int
    text: Markup = field(default_factory=Markup)
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    missing: str = ""


def chart(rows: Sequence[Mapping[str, Cell]]) -> Any:
    """Return an Altair chart of plain rows; values that are not finite are left out."""
    alt = need("altair", "the report")
    clean = [
        {k: v for k, v in row.items() if not (isinstance(v, float) and not math.isfinite(v))}
        for row in rows
    ]
    return alt.Chart(alt.InlineData(values=clean))


def spec(drawn: Any) -> dict[str, Any]:
    """Return a chart's Vega-Lite spec, without what the page adds for all."""
    found: dict[str, Any] = drawn.to_dict()
    for name in ("config", "$schema"):
        found.pop(name, None)
    return found


class Unit:
    """The prefix in which values of one axis are read: ``Unit([0.0012, 0.004], "s")`` gives milliseconds."""

    def __init__(self, values: Iterable[float | None], unit: str) -> None:
        greatest = max((abs(v) for v in values if v and math.isfinite(v)), default=1.0)
        self.factor, self.unit = _prefix(greatest, unit)

    def __call__(self, value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        return value / self.factor

    def title(self, words: str) -> str:
        """Return an axis title such as "time per sample (ms)"."""
        return f"{words} ({self.unit})" if self.unit else words


def _prefix(greatest: float, unit: str) -> tuple[float, str]:
    if unit == "s" and greatest >= 300:
        return (3600.0, "h") if greatest >= 7200 else (60.0, "min")
    if unit in ("", "h", "MHz", "°C"):
        return 1.0, unit
    for factor, prefix in [
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "µ"),
    ]:
        if greatest >= factor:
            return factor, prefix + unit
    return 1e-9, "n" + unit


def shown(reading: Reading, unit: str) -> str:
    """Return a reading as text: "3.10 ms [3.05, 3.20]", "≈ 0.4 J (estimate)" or "missing"."""
    if reading.value is None or not math.isfinite(reading.value):
        return "missing"
    if reading.status == "estimated":
        return f"≈ {show(reading.value, unit)} (estimate)"
    return with_ends(reading.value, reading.low, reading.high, unit)


def with_ends(value: float, low: float | None, high: float | None, unit: str = "") -> str:
    """Return a value with the ends of its interval: "1.70 [1.60, 1.80]"; the value alone without ends."""
    text = show(value, unit)
    if (
        low is None
        or high is None
        or low == high
        or not (math.isfinite(low) and math.isfinite(high))
    ):
        return text
    ends = [show(low, unit), show(high, unit)]
    name = text.partition(" ")[2]
    if name and all(e.partition(" ")[2] == name for e in ends):
        ends = [e.partition(" ")[0] for e in ends]
    return f"{text} [{ends[0]} – {ends[1]}]"


def spans(values: Iterable[float | None]) -> float:
    """Return greatest over least of positive values; 1 where there are none."""
    positive = [v for v in values if v is not None and v > 0 and math.isfinite(v)]
    return max(positive) / min(positive) if positive else 1.0


def least_first(rows: Sequence[Any], name: str, most: int = MOST_ROWS) -> list[Any]:
    """Return the rows with the least values of a quantity, in their own order."""
    if len(rows) <= most:
        return list(rows)
    ranked = sorted(rows, key=lambda r: v if (v := r.reading(name).value) is not None else math.inf)
    chosen = {id(r) for r in ranked[:most]}
    return [r for r in rows if id(r) in chosen]


def has_long(rows: Sequence[Any]) -> bool:
    """Whether names of settings are too long for a third of the page."""
    return any(len(r.short) > 24 for r in rows)


LEGEND_PX = 290
"""Width that a legend may take: a third of the page, or a phone's screen, less the axis."""


def legend_room(names: Iterable[str]) -> dict[str, int]:
    """Return how many columns a legend of these names has room for, and where a name is cut, in pixels."""
    symbol, letter = 26, 6.3
    longest = max(map(len, names), default=0)
    columns = max(1, min(3, int(LEGEND_PX / (symbol + letter * longest))))
    return {"columns": columns, "labelLimit": LEGEND_PX // columns - symbol}


def left_out(shown_count: int, all_count: int, what: str) -> str:
    """Return a sentence on what a figure doesn't draw; empty where it draws all."""
    more = all_count - shown_count
    return (
        f" {more} more {what} are not drawn; `wattlaw runs export` lists them all."
        if more > 0
        else ""
    )
