"""The coordinate frame of the scatter figure, and its lines of equal efficiency."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from wattlaw.accelerators.catalogue.entry import SEGMENTS, CatalogueEntry
from wattlaw.accelerators.catalogue.survey import frontier
from wattlaw.accelerators.figures.label_placement import Box
from wattlaw.core.units import show

WIDTH, HEIGHT = 900, 620

EFFICIENCIES = tuple(10.0**k for k in range(9, 17))
"""Efficiencies of the drawn lines, op/s/W."""

NAME_LENGTH = 80
"""Length of the name of a line of equal efficiency, px."""

TOP_MARGIN = 90
"""Height below the upper edge, px, in which the segments have their names."""


class ScatterFrame(NamedTuple):
    """The ranges of the axes, power in W and peak in op/s, and the size in px."""

    power: tuple[float, float]
    peak: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT

    def pixel(self, power: float, peak: float) -> tuple[float, float]:
        """Return the position of a point, px from the top left."""
        x = self.width * position(power, self.power)
        return x, self.height * (1 - position(peak, self.peak))

    def value(self, x: float, y: float) -> tuple[float, float]:
        """Return the power and peak at a position in px."""
        return _value_at(x / self.width, self.power), _value_at(1 - y / self.height, self.peak)

    def pixel_of(self, entry: CatalogueEntry) -> tuple[float, float]:
        """Return the position of an entry that has peak and power."""
        return self.pixel(entry.power_w or 1, entry.peak_op_per_s or 1)


class IsoLine(NamedTuple):
    """A line of equal efficiency within a frame, from ``low`` to ``high`` W; its name begins at
    ``name_at`` W.
    """

    efficiency: float
    low: float
    high: float
    name_at: float | None

    @property
    def name(self) -> str:
        """The efficiency as text, such as "1 TOPS/W"."""
        return show(self.efficiency, "OPS/W")


def frame_of(
    entries: Sequence[CatalogueEntry], zoom: str = "", width: int = WIDTH, height: int = HEIGHT
) -> ScatterFrame:
    """Return a frame around all entries with a margin; ``zoom`` is the name of their segment, or
    "".
    """
    powers = [e.power_w or 1 for e in entries]
    peaks = [e.peak_op_per_s or 1 for e in entries]
    low, high = min(powers), max(powers)
    if zoom:
        band = next(s for s in SEGMENTS if s.name == zoom)
        low, high = max(band.low, low / 1.1), min(band.high, high * 1.1)
    margin_x = (high / low) ** 0.04 * 1.08
    margin_y = (max(peaks) / min(peaks)) ** 0.05 * 1.15
    powers_range = (low / margin_x, high * margin_x)
    return ScatterFrame(powers_range, (min(peaks) / margin_y, max(peaks) * margin_y), width, height)


def iso_lines(frame: ScatterFrame, taken: Sequence[Box] = ()) -> list[IsoLine]:
    """Return the lines of equal efficiency within the frame.

    The name of a line begins at the first place along it where it overlaps none of ``taken`` (px).
    """
    lines = []
    for efficiency in EFFICIENCIES:
        low = max(frame.power[0], frame.peak[0] / efficiency)
        high = min(frame.power[1], frame.peak[1] / efficiency)
        if high > low:
            name_at = _place_of_name(frame, efficiency, low, high, taken)
            lines.append(IsoLine(efficiency, low, high, name_at))
    return lines


def name_boxes(frame: ScatterFrame, lines: Sequence[IsoLine]) -> list[Box]:
    """Return small boxes along the slanted names of the lines, so that labels avoid them."""
    angle = math.radians(slope(frame))
    boxes = []
    for line in lines:
        if line.name_at is None:
            continue
        x, y = frame.pixel(line.name_at, line.name_at * line.efficiency)
        for along in range(8, NAME_LENGTH + 4, 8):
            middle_x, middle_y = x + along * math.cos(angle), y + along * math.sin(angle) - 8
            boxes.append(Box(middle_x - 6, middle_y - 6, middle_x + 6, middle_y + 6))
    return boxes


def frontier_boxes(frame: ScatterFrame, entries: Sequence[CatalogueEntry]) -> list[Box]:
    """Return thin boxes along the step line of the Pareto frontier, so that labels avoid it."""
    corners = [frame.pixel_of(e) for e in frontier(entries)]
    boxes = []
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        boxes.append(Box(x, y - 1.5, next_x, y + 1.5))
        boxes.append(Box(next_x - 1.5, min(y, next_y), next_x + 1.5, max(y, next_y)))
    return boxes


def point_boxes(frame: ScatterFrame, entries: Sequence[CatalogueEntry]) -> list[Box]:
    """Return a box around every point."""
    boxes = []
    for x, y in map(frame.pixel_of, entries):
        boxes.append(Box(x - 5, y - 5, x + 5, y + 5))
    return boxes


def slope(frame: ScatterFrame) -> float:
    """Return the angle at which a line of equal efficiency rises, degrees; negative is upwards."""
    across = frame.width / math.log10(frame.power[1] / frame.power[0])
    up = frame.height / math.log10(frame.peak[1] / frame.peak[0])
    return -math.degrees(math.atan2(up, across))


def axis_values(ends: tuple[float, float]) -> list[float]:
    """Return the labelled values of an axis: powers of ten, on short axes also 2 and 5 times."""
    steps = (1, 2, 5) if ends[1] / ends[0] < 100 else (1,)
    exponents = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    values = [step * 10.0**k for k, step in itertools.product(exponents, steps)]
    return [v for v in values if ends[0] <= v <= ends[1]]


def position(value: float, ends: tuple[float, float]) -> float:
    """Return the position of a value along a logarithmic axis, 0 to 1."""
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def _place_of_name(
    frame: ScatterFrame, efficiency: float, low: float, high: float, taken: Sequence[Box]
) -> float | None:
    """Return the power, W, at which the name of a line begins; None if it has no free place."""
    begin, _ = frame.pixel(low, low * efficiency)
    end, _ = frame.pixel(high, high * efficiency)
    for x in range(int(begin), int(end) - NAME_LENGTH, 10):
        power = low if x == int(begin) else frame.value(x, 0)[0]
        at_x, at_y = frame.pixel(power, power * efficiency)
        line = IsoLine(efficiency, low, high, power)
        is_inside = at_y > TOP_MARGIN and at_x < frame.width - NAME_LENGTH
        if is_inside and not _overlap(name_boxes(frame, [line]), taken):
            return power
    return None


def _overlap(boxes: Sequence[Box], others: Sequence[Box]) -> bool:
    return any(a.overlaps(b) for a, b in itertools.product(boxes, others))


def _value_at(share: float, ends: tuple[float, float]) -> float:
    return math.exp(math.log(ends[0]) + share * math.log(ends[1] / ends[0]))
