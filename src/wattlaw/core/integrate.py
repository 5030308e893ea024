"""The integral of a sampled quantity over time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def trapezoid(points: Sequence[tuple[float, float]], start: float, stop: float) -> float:
    """Return the integral of (time, value) from ``start`` to ``stop`` by the trapezoid rule.

    ``points`` are at least one, by ascending time. Values between them are interpolated; before
    the first and after the last one the nearest value is held.
    """
    (first_time, first), (last_time, last) = points[0], points[-1]
    total = max(first_time - start, 0.0) * first + max(stop - last_time, 0.0) * last
    for (t0, v0), (t1, v1) in itertools.pairwise(points):
        a, b = max(t0, start), min(t1, stop)
        if b > a and t1 > t0:
            slope = (v1 - v0) / (t1 - t0)
            total += (b - a) * (v0 + slope * ((a + b) / 2 - t0))
    return total
