"""Places labels beside points so that none covers another label or a point. Pure geometry in pixels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

CELL = 32.0
_NARROW, _WIDE = frozenset("iIljtfr.,:;'|()[]-1 /"), frozenset("mwMW@%&")


class Box(NamedTuple):
    """A rectangle: least and greatest x and y, px, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Placed(NamedTuple):
    """A label that found a place: which point's, its left end and middle, and whether it needs a line to its point."""

    point: int
    x: float
    y: float
    led: bool


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is in a sans-serif type of ``size`` px; a little more than most are."""
    return size * sum(
        0.34 if c in _NARROW else 0.9 if c in _WIDE else 0.7 if c.isupper() else 0.58 for c in text
    )


def place(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    frame: Box,
    size: float = 9,
    blocked: Iterable[Box] = (),
    radius: float = 4.5,
    reach: Sequence[float] = (7, 11, 16, 22, 29),
) -> list[Placed]:
    """Return places for the labels, the first points first; a label that finds none is left out.

    points   px; the earlier a point, the more its label matters
    frame    labels stay within it
    blocked  boxes that labels keep off besides the points
    reach    distances from the point's centre that are tried, px, near ones first
    """
    taken = _Grid()
    for box in blocked:
        taken.add(box)
    for x, y in points:
        taken.add(Box(x - radius, y - radius, x + radius, y + radius))
    found = []
    for index, ((x, y), text) in enumerate(zip(points, texts, strict=True)):
        wide, high = text_width(text, size), size * 1.15
        for distance in reach:
            spot = next(
                (
                    b
                    for b in _around(x, y, wide, high, distance)
                    if _inside(b, frame) and taken.free(b)
                ),
                None,
            )
            if spot is not None:
                taken.add(spot)
                found.append(Placed(index, spot.left, (spot.top + spot.bottom) / 2, distance > 12))
                break
    return found


def _around(x: float, y: float, wide: float, high: float, distance: float) -> list[Box]:
    """Return boxes whose nearest side lies ``distance`` from a point: right, left, above, below, then between."""
    boxes = []
    for angle in (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 113, 247, 293):
        cos, sin = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
        middle_x = (
            x + cos * distance + (wide / 2) * (0 if abs(cos) < 0.3 else math.copysign(1, cos))
        )
        middle_y = (
            y + sin * distance + (high / 2) * (0 if abs(sin) < 0.3 else math.copysign(0.8, sin))
        )
        boxes.append(
            Box(middle_x - wide / 2, middle_y - high / 2, middle_x + wide / 2, middle_y + high / 2)
        )
    return boxes


def _inside(box: Box, frame: Box) -> bool:
    return (
        box.left >= frame.left
        and box.right <= frame.right
        and box.top >= frame.top
        and box.bottom <= frame.bottom
    )


class _Grid:
    """Boxes by the cells that they touch, so that only near ones are compared."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], list[Box]] = defaultdict(list)

    def add(self, box: Box) -> None:
        for cell in self._touched(box):
            self.cells[cell].append(box)

    def free(self, box: Box) -> bool:
        return not any(
            box.meets(other) for cell in self._touched(box) for other in self.cells.get(cell, ())
        )

    @staticmethod
    def _touched(box: Box) -> list[tuple[int, int]]:
        columns = range(int(box.left // CELL), int(box.right // CELL) + 1)
        rows = range(int(box.top // CELL), int(box.bottom // CELL) + 1)
        return [(c, r) for c in columns for r in rows]
