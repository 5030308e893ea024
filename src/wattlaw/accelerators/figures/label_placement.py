"""Places labels beside points so that no label covers another label or a point. Pure geometry in
pixels.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

CELL = 32.0
"""Side of the grid cells that limit which boxes are compared, px."""

ANGLES = (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 113, 247, 293)
"""Directions from a point that are tried, degrees: right, left, above, below, then between."""

DISTANCES = (7, 11, 16, 22, 29)
"""Distances from a point that are tried, px."""

LEADER_DISTANCE = 12
"""A label farther away than this gets a line to its point, px."""

_NARROW, _WIDE = frozenset("iIljtfr.,:;'|()[]- /"), frozenset("mwMW@%&")


class Box(NamedTuple):
    """A rectangle, px; y increases downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def is_within(self, other: Box) -> bool:
        """Return whether the box lies within another."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


class PlacedLabel(NamedTuple):
    """A placed label: the index of its point, its left end and vertical centre, px."""

    point: int
    x: float
    y: float
    has_leader: bool


def text_width(text: str, size: float) -> float:
    """Return the approximate width of a text in a sans-serif font of ``size`` px; rather too wide
    than too narrow.
    """
    return size * (0.25 + sum(map(_letter_width, text)))


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    frame: Box,
    size: float = 9,
    blocked: Iterable[Box] = (),
    radius: float = 4.5,
) -> list[PlacedLabel]:
    """Return places for labels, in the order of the points, without labels that have no free place.

    points   px; earlier points are placed first
    frame    labels stay within it
    blocked  boxes that labels avoid besides the points
    radius   of a point, px
    """
    taken = _BoxGrid()
    for box in blocked:
        taken.add(box)
    for x, y in points:
        taken.add(Box(x - radius, y - radius, x + radius, y + radius))
    found = []
    for index, ((x, y), text) in enumerate(zip(points, texts, strict=True)):
        width, height = text_width(text, size), size * 1.15
        for box, distance in _candidates(x, y, width, height):
            if box.is_within(frame) and taken.is_free(box):
                taken.add(box)
                middle = (box.top + box.bottom) / 2
                found.append(PlacedLabel(index, box.left, middle, distance > LEADER_DISTANCE))
                break
    return found


def _candidates(x: float, y: float, width: float, height: float) -> Iterator[tuple[Box, float]]:
    """Yield boxes around a point with their distance, near ones first."""
    for distance in DISTANCES:
        for angle in ANGLES:
            cos, sin = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
            middle_x, middle_y = x + cos * distance, y + sin * distance
            if abs(cos) >= 0.3:
                middle_x += math.copysign(width / 2, cos)
            if abs(sin) >= 0.3:
                middle_y += math.copysign(0.8 * height / 2, sin)
            left, top = middle_x - width / 2, middle_y - height / 2
            yield Box(left, top, left + width, top + height), distance


def _letter_width(letter: str) -> float:
    if letter in _NARROW:
        return 0.34
    if letter in _WIDE:
        return 0.9
    return 0.7 if letter.isupper() else 0.58


class _BoxGrid:
    """Boxes by the grid cells that they touch, so that only near boxes are compared."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], list[Box]] = defaultdict(list)

    def add(self, box: Box) -> None:
        for cell in self._touched(box):
            self.cells[cell].append(box)

    def is_free(self, box: Box) -> bool:
        near = itertools.chain.from_iterable(
            self.cells.get(cell, ()) for cell in self._touched(box)
        )
        return not any(box.overlaps(other) for other in near)

    @staticmethod
    def _touched(box: Box) -> Iterator[tuple[int, int]]:
        for column in range(int(box.left // CELL), int(box.right // CELL) + 1):
            for row in range(int(box.top // CELL), int(box.bottom // CELL) + 1):
                yield column, row
