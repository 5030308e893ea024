"""The integral of a sampled quantity over time, without numpy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median_low

GAP_PERIODS = 5.0
MIN_GAP_S = 1.0
_NEIGHBOURS = 3


def gaps(times: Sequence[float]) -> list[int]:
    """Return each index i for which nothing was sampled from ``times[i - 1]`` to ``times[i]``.

    ``times`` ascend. The sampling period may change, so a spacing is compared with the median of
    the three spacings before it and of the three after it. It is a gap if it exceeds 1 s and five
    times the larger of the two.
    """
    spacings = [after - before for before, after in pairwise(times)]
    found = []
    # no median is below the smallest spacing
    least_gap = max(MIN_GAP_S, GAP_PERIODS * min(spacings, default=0.0))
    for i, spacing in enumerate(spacings):
        if spacing <= least_gap:
            continue
        sides = (spacings[max(0, i - _NEIGHBOURS) : i], spacings[i + 1 : i + 1 + _NEIGHBOURS])
        period = max((median_low(side) for side in sides if side), default=spacing)
        if spacing > GAP_PERIODS * period:
            found.append(i + 1)
    return found


def sampled_integral(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the integral of ``values`` over ``times`` without ``gaps``, and the s that it covers.

    ``times`` ascend and are at least one.
    """
    edges = [0, *gaps(times), len(times)]
    total = seconds = 0.0
    for first, stop in pairwise(edges):
        start_s, stop_s = times[first], times[stop - 1]
        total += trapezoid(times[first:stop], values[first:stop], start_s, stop_s)
        seconds += stop_s - start_s
    return total, seconds


def trapezoid(times: Sequence[float], values: Sequence[float], start: float, stop: float) -> float:
    """Return the integral of ``values`` over ``times`` from ``start`` to ``stop``.

    ``times`` ascend and are at least one. The rule is that of trapezoids; values at ``start`` and
    ``stop`` are interpolated, and beyond both ends the nearest value is held.
    """
    first, last = bisect_right(times, start), bisect_left(times, stop)
    total, time_before, value_before = 0.0, start, interpolate(times, values, start)
    for time, value in zip(times[first:last], values[first:last], strict=True):
        total += (time - time_before) * (value + value_before) / 2
        time_before, value_before = time, value
    value_at_stop = interpolate(times, values, stop)
    return total + (stop - time_before) * (value_at_stop + value_before) / 2


def interpolate(times: Sequence[float], values: Sequence[float], at: float) -> float:
    """Return the value at a time by linear interpolation; beyond both ends the nearest value.

    ``times`` ascend and are at least one.
    """
    i = bisect_left(times, at)
    if i == 0:
        return values[0]
    if i == len(times):
        return values[-1]
    before = times[i - 1]
    return values[i - 1] + (values[i] - values[i - 1]) * (at - before) / (times[i] - before)
