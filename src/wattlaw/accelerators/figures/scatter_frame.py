"""The frame of the surveys' figure: what its axes span, where a value lies in it, and its lines of equal efficiency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from wattlaw.accelerators.catalogue.entry import SEGMENTS, Entry
from wattlaw.accelerators.figures.label_placement import Box
from wattlaw.core.units import show

WIDTH, HEIGHT = 900, 620

LINES = tuple(10.0**k for k in range(9, 17))
"""Efficiencies of the iso-lines, op/s/W."""


class Frame(NamedTuple):
    """What the axes span: least and greatest power, W, and peak, op/s; and the size in px."""

    power: tuple[float, float]
    peak: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT

    def pixel(self, power: float, peak: float) -> tuple[float, float]:
        """Return where a point lies, px from the top left."""
        return self.width * share(power, self.power), self.height * (1 - share(peak, self.peak))

    def value(self, x: float, y: float) -> tuple[float, float]:
        """Return the power and peak at a place in px."""
        return _at(x / self.width, self.power), _at(1 - y / self.height, self.peak)


def frame_of(entries: Sequence[Entry], zoom: str) -> Frame:
    """Return a frame that holds all entries with some room; ``zoom`` names the segment that they are of, or is ""."""
    powers = [e.power_w or 1 for e in entries]
    peaks = [e.peak_op_per_s or 1 for e in entries]
    low, high = min(powers), max(powers)
    if zoom:
        band = next(s for s in SEGMENTS if s.name == zoom)
        low, high = max(band.low, low / 1.1), min(band.high, high * 1.1)
    room = (high / low) ** 0.04 * 1.08
    tall = (max(peaks) / min(peaks)) ** 0.05 * 1.15
    return Frame((low / room, high * room), (min(peaks) / tall, max(peaks) * tall))


def iso_lines(
    frame: Frame, taken: Sequence[Box] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the ends of the lines of equal efficiency within the frame, and their names.

    A name stands at the first place along its line where it covers none of ``taken`` (px).
    """
    lines, words = [], []
    for ratio in LINES:
        low = max(frame.power[0], frame.peak[0] / ratio)
        high = min(frame.power[1], frame.peak[1] / ratio)
        if high <= low:
            continue
        lines.append({"power": low, "peak": low * ratio, "power2": high, "peak2": high * ratio})
        begin = frame.pixel(low, low * ratio)[0]
        for x in range(int(begin), int(frame.pixel(high, high * ratio)[0]) - 80, 10):
            power = low if x == int(begin) else frame.value(x, 0)[0]
            word = {"power": power, "peak": power * ratio, "words": show(ratio, "op/s/W")}
            if _stands(frame, word, taken):
                words.append(word)
                break
    return lines, words


def _stands(frame: Frame, word: dict[str, Any], taken: Sequence[Box]) -> bool:
    x, y = frame.pixel(word["power"], word["peak"])
    free = not any(box.meets(other) for box in iso_boxes(frame, [word]) for other in taken)
    return free and y > 90 and x < frame.width - 80


def slope(frame: Frame) -> float:
    """Return the angle at which a line of equal efficiency rises, degrees; negative is upwards."""
    across = frame.width / math.log10(frame.power[1] / frame.power[0])
    up = frame.height / math.log10(frame.peak[1] / frame.peak[0])
    return -math.degrees(math.atan2(up, across))


def iso_boxes(frame: Frame, words: list[dict[str, Any]]) -> list[Box]:
    """Return small boxes along the slanted names of the lines, so that no label covers them."""
    angle = math.radians(slope(frame))
    boxes = []
    for word in words:
        x, y = frame.pixel(word["power"], word["peak"])
        for along in range(8, 84, 8):
            middle_x, middle_y = x + along * math.cos(angle), y + along * math.sin(angle) - 8
            boxes.append(Box(middle_x - 6, middle_y - 6, middle_x + 6, middle_y + 6))
    return boxes


def decades(ends: tuple[float, float]) -> list[float]:
    """Return where an axis is labelled: powers of ten, and 2 and 5 times those where there is room."""
    steps = (1, 2, 5) if ends[1] / ends[0] < 100 else (1,)
    powers = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    return [v for k in powers for s in steps if ends[0] <= (v := s * 10.0**k) <= ends[1]]


def share(value: float, ends: tuple[float, float]) -> float:
    """Return how far a value lies along a logarithmic axis, 0 to 1."""
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def _at(share: float, ends: tuple[float, float]) -> float:
    return math.exp(math.log(ends[0]) + share * math.log(ends[1] / ends[0]))
