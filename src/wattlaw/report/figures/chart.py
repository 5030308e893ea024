"""Small parts that all charts share: data, units on axes, tooltips, legends.

Colours are written as ``var(--name)``. On the page they follow the reader's light or dark theme;
in files for a paper they are replaced by the light ones (``figure_files``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from wattlaw.core.plugins import need

Cell = str | int | float | None
Rows = Sequence[Mapping[str, Cell]]
VegaSpec = dict[str, Any]
Altair: TypeAlias = Any
"""The module altair, or an object of it: the library has no types that a checker could use."""

LEGEND_PX = 290
"""Width of a legend: a third of the page, or the screen of a phone, less the axis."""

_PREFIXES = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6}
_LOG_SPAN = 20.0


def altair() -> Altair:
    """Return the module altair. Raises MissingPartError if it is not installed."""
    return need("altair", "the report")


def chart(rows: Rows) -> Altair:
    """Return an Altair chart of plain rows; values that are not finite are left out."""
    alt = altair()
    finite = []
    for row in rows:
        finite.append({name: cell for name, cell in row.items() if _is_drawable(cell)})
    return alt.Chart(alt.InlineData(values=finite))


def _is_drawable(value: Cell) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def spec(drawn: Altair) -> VegaSpec:
    """Return the Vega-Lite spec of a chart, without what the page adds to every chart."""
    found: VegaSpec = drawn.to_dict()
    for name in ("config", "$schema"):
        found.pop(name, None)
    return found


def tooltip(**titles: str) -> list[Altair]:
    """Return the tooltip that shows fields of the data under titles: ``label="setting"``."""
    alt = altair()
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def names_axis(field: str, names: Sequence[str], **axis: object) -> Altair:
    """Return a vertical axis of names, in their order."""
    alt = altair()
    return alt.Y(f"{field}:N", sort=list(names), title=None, axis=alt.Axis(grid=False, **axis))


class AxisUnit:
    """The prefix of the values of one axis: ``AxisUnit([0.0012, 0.004], "s")`` is milliseconds."""

    def __init__(self, values: Iterable[float | None], unit: str) -> None:
        greatest = max((abs(v) for v in values if v and math.isfinite(v)), default=1.0)
        self.factor, self.unit = _prefix(greatest, unit)

    def __call__(self, value: float | None) -> float | None:
        """Return an SI value in the unit of the axis."""
        if value is None or not math.isfinite(value):
            return None
        return value / self.factor

    def title(self, words: str) -> str:
        """Return the title of the axis, such as "time per sample (ms)"."""
        return axis_title(words, self.unit)


def axis_title(words: str, unit: str) -> str:
    """Return the title of an axis with its unit: "time per sample (ms)"."""
    return f"{words} ({unit})" if unit else words


def _prefix(greatest: float, unit: str) -> tuple[float, str]:
    if unit == "s" and greatest >= 7200:
        return 3600.0, "h"
    if unit == "s" and greatest >= 300:
        return 60.0, "min"
    if unit in ("", "h", "MHz", "°C"):
        return 1.0, unit
    for prefix, factor in _PREFIXES.items():
        if greatest >= factor:
            return factor, prefix + unit
    return 1e-9, "n" + unit


def needs_log(values: Iterable[float | None]) -> bool:
    """Return whether positive values span more than a factor of 20."""
    positive = [v for v in values if v is not None and v > 0 and math.isfinite(v)]
    return bool(positive) and max(positive) / min(positive) > _LOG_SPAN


def legend_room(names: Iterable[str]) -> dict[str, int]:
    """Return the columns that a legend of these names has room for, and where a name is cut, px."""
    symbol, letter = 26, 6.3
    longest = max(map(len, names), default=0)
    columns = max(1, min(3, int(LEGEND_PX / (symbol + letter * longest))))
    return {"columns": columns, "labelLimit": LEGEND_PX // columns - symbol}


def legend_above(names: Sequence[str], **options: object) -> Altair:
    """Return a legend above the chart; None for a single name."""
    if len(names) < 2:
        return None
    alt = altair()
    room = legend_room(names)
    return alt.Legend(title=None, orient="top", direction="horizontal", **room, **options)
