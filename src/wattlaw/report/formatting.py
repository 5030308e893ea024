"""Readings, intervals and warnings as text of the page."""

from __future__ import annotations

import math
import re

from markupsafe import Markup, escape

from wattlaw.core.findings import Interval
from wattlaw.core.reading import Reading
from wattlaw.core.units import show

NO_BREAK = "\u00a0"
_WORD_JOINER = "\u2060"
_INTERVAL = re.compile(r"\[[^\[\]]{1,40}\]")
_UNIT = re.compile(r"(?<=\d) (?=\D{1,7}(?: \[|$))")


def shown(reading: Reading, unit: str) -> str:
    """Return a reading as text: "3.1 ms [3.05 – 3.2]", "≈ 0.4 J (estimate)" or "missing"."""
    if reading.value is None or not math.isfinite(reading.value):
        return "missing"
    if reading.status == "estimated":
        return f"≈ {show(reading.value, unit)} (estimate)"
    return with_ends(reading.value, reading.low, reading.high, unit)


def with_ends(value: float, low: float | None, high: float | None, unit: str = "") -> str:
    """Return a value with the ends of its interval: "1.7 [1.6 – 1.8]".

    Without an interval, or with one of no width, this is only the value.
    """
    text = show(value, unit)
    if low is None or high is None or low == high:
        return text
    if not (math.isfinite(low) and math.isfinite(high)):
        return text
    low_text, high_text = show(low, unit), show(high, unit)
    suffix = text.partition(" ")[2]
    if suffix and suffix == low_text.partition(" ")[2] == high_text.partition(" ")[2]:
        low_text, high_text = low_text.partition(" ")[0], high_text.partition(" ")[0]
    return f"{text} [{low_text} – {high_text}]"


def interval_text(interval: Interval | None, unit: str = "", absent: str = "") -> str:
    """Return the estimate of a finding with its interval, or ``absent`` if there is none."""
    if interval is None:
        return absent
    return with_ends(interval.value, interval.low, interval.high, unit)


def times(interval: Interval) -> str:
    """Return a ratio with its interval: "1.70× [1.60, 1.80]"."""
    text = f"{ratio(interval.value)}×"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} [{ratio(interval.low)}, {ratio(interval.high)}]"


def ratio(value: float) -> str:
    """Return a ratio with three significant digits: 1.68, 13.4, 415."""
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def clipped(text: str, most: int = 240) -> str:
    """Return a text that is not longer than a few lines."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def coded(text: str) -> Markup:
    """Return escaped text with the parts between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    found = Markup()
    for index, part in enumerate(parts):
        found += Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
    return found


def unbroken(text: str) -> str:
    """Return text in which no line breaks inside a number with its unit or inside an interval."""
    joined = _INTERVAL.sub(_unbroken_interval, text)
    return _UNIT.sub(NO_BREAK, joined)


def _unbroken_interval(match: re.Match[str]) -> str:
    # a line may break after a dash even before a no-break space, but not before a word joiner
    return match[0].replace(" ", NO_BREAK).replace("–", f"–{_WORD_JOINER}")


def plain(name: str) -> str:
    """Return the name of a warning in words: "window_short" is "window short"."""
    return name.replace("_", " ").replace("-", " ")
