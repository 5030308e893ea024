"""The integral of a sampled quantity over time, without numpy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


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
