"""Totals, means and peaks of sampled quantities between two times. Pure functions of columns."""

from __future__ import annotations

import itertools
import math
import operator
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from wattlaw.core.integrate import interpolate, trapezoid
from wattlaw.measuring.files.host_files import TelemetryColumn
from wattlaw.measuring.reduce.counter_updates import (
    CounterChange,
    UpdateClock,
    counter_changes,
    update_clock,
)

_MAX_BEYOND = 2.5
"""A window may extend this many sampling or update periods beyond the readings; more is a gap."""

_RESTS = 1.5
"""A counter that has not changed for this many update periods rests."""

_SKIP_UNCERTAIN = 2.5
"""Changes at an uncertain time are skipped for this many periods; then the best guess is used."""

_GAP_PERIODS = 10.0
_GAP_S = 5.0
"""Readings further apart than 10 periods and 5 s are a gap, which is not integrated over."""

_BRIDGE_SHARE = 0.01
"""A counter's fall is bridged at the window's mean rate if it hides at most this share of it."""

_MAX_SPACINGS = 1000

_STILL_PERIODS = 20
"""A counter that does not change in this many periods does not work."""

_SAME_SHARE = 0.02
"""Counters whose median difference is below this share of a step between readings are one."""

_JUMP_S = 0.5
"""Growth of this time may appear between two neighbouring readings; more is a jump."""


class Total(NamedTuple):
    """A total over a window; None, and why, if there is none.

    steps_back      how often a counter fell
    is_implausible  whether there is none because the device cannot have used so much
    """

    value: float | None
    why: str = ""
    steps_back: int = 0
    is_implausible: bool = False


def counter_total(
    column: TelemetryColumn,
    start_s: float,
    end_s: float,
    max_rate: float = math.inf,
    period_s: float = 0.0,
) -> Total:
    """Return the growth of a running counter between two times.

    There is none if the counter rose faster than ``max_rate``, per s; a counter that is updated
    every ``period_s`` shows the growth of a period at once.

    A counter is read more often than it changes, or less often. Only the readings around a change
    show when it changed, so values at the edges are interpolated linearly between changes.
    """
    times, values = column.times, column.values
    if len(times) < 2:
        return Total(None, "it was read fewer than twice")
    jump = _jump(column, start_s, end_s, max_rate, _JUMP_S + 2 * period_s)
    if jump:
        return Total(None, jump, is_implausible=True)
    falls = [i for i in range(1, len(values)) if values[i] < values[i - 1]]
    falls_in_window = [i for i in falls if start_s <= times[i] <= end_s]
    if falls:
        hidden_s = sum(times[i] - times[i - 1] for i in falls_in_window)
        if hidden_s > _BRIDGE_SHARE * (end_s - start_s):
            return Total(None, "its counter went backwards", len(falls))
        values = _bridged(times, values, falls)
    knot_times, knot_values, update_s = _knots(times, values)
    why = ""
    beyond_s = _MAX_BEYOND * max(update_s, _spacing(times))
    if len(knot_times) < 2:
        why = "its counter did not move; the window is shorter than its update period"
        if times[-1] - times[0] > _STILL_PERIODS * max(period_s, _spacing(times)):
            why = "its counter never moved"
    elif start_s < times[0] - beyond_s:
        why = f"it was first read {times[0] - start_s:.1f} s after the window began"
    elif end_s > times[-1] + beyond_s:
        why = f"it was last read {end_s - times[-1]:.1f} s before the window ended"
    if why:
        return Total(None, why, len(falls_in_window))
    at_end = _counter_at(knot_times, knot_values, end_s)
    grown = at_end - _counter_at(knot_times, knot_values, start_s)
    if grown > max_rate * (end_s - start_s + _JUMP_S + 2 * period_s):
        why = f"its counter rose by {grown:.3g}, by at most {max_rate:g} a second is plausible"
        return Total(None, why, is_implausible=True)
    return Total(grown, "", len(falls_in_window))


def integral(column: TelemetryColumn, start_s: float, end_s: float) -> Total:
    """Return the integral of a sampled quantity between two times, by the trapezoid rule.

    Values at the edges are interpolated; the first and the last reading hold for up to 2.5 periods.
    """
    times = column.times
    if not times:
        return Total(None, "it was never read")
    spacing_s = _spacing(times)
    beyond_s = _MAX_BEYOND * spacing_s
    if start_s < times[0] - beyond_s or end_s > times[-1] + beyond_s:
        begin, end = times[0] - start_s, times[-1] - end_s
        return Total(None, f"it was read only from {begin:+.1f} s to {end:+.1f} s of the window")
    in_window = times[bisect_right(times, start_s) : bisect_left(times, end_s)]
    gap_s = _widest_gap([start_s, *in_window, end_s])
    if gap_s > max(_GAP_PERIODS * spacing_s, _GAP_S):
        return Total(None, f"it was not read for {gap_s:.1f} s")
    return Total(trapezoid(times, column.values, start_s, end_s))


def mean(column: TelemetryColumn, start_s: float, end_s: float) -> float | None:
    """Return the mean over time, or of the readings if there are gaps; None without any."""
    if end_s > start_s:
        total = integral(column, start_s, end_s).value
        if total is not None:
            return total / (end_s - start_s)
    readings = within(column, start_s, end_s)
    return sum(readings) / len(readings) if readings else None


def peak(column: TelemetryColumn, start_s: float, end_s: float) -> float | None:
    """Return the highest reading in the window; None without any."""
    return max(within(column, start_s, end_s), default=None)


def within(column: TelemetryColumn, start_s: float, end_s: float) -> array[float]:
    """Return the readings between two times."""
    return column.values[bisect_left(column.times, start_s) : bisect_right(column.times, end_s)]


def growth(column: TelemetryColumn, start_s: float, end_s: float) -> float | None:
    """Return the growth of a counter that may rest, such as CPU time; None without two readings."""
    if len(column) < 2:
        return None
    at_start = interpolate(column.times, column.values, start_s)
    return max(0.0, interpolate(column.times, column.values, end_s) - at_start)


def bytes_total(column: TelemetryColumn, start_s: float, end_s: float) -> Total:
    """Return the growth of a counter of bytes, which may rest; none if it wrapped."""
    if len(column) < 2:
        return Total(None, "it was read fewer than twice")
    times, values = column.times, column.values
    beyond_s = _MAX_BEYOND * _spacing(times)
    if start_s < times[0] - beyond_s or end_s > times[-1] + beyond_s:
        return Total(None, "it was not read during the whole window")
    first, last = max(1, bisect_left(times, start_s)), bisect_right(times, end_s) + 1
    if any(values[i] < values[i - 1] for i in range(first, min(last, len(values)))):
        return Total(None, "its counter fell: it wrapped, or the driver was reloaded")
    return Total(interpolate(times, values, end_s) - interpolate(times, values, start_s))


def highest_sum(columns: list[TelemetryColumn], start_s: float, end_s: float) -> float | None:
    """Return the highest sum of several quantities over the rounds in which all were read."""
    readings = []
    for which, column in enumerate(columns):
        first, last = bisect_left(column.times, start_s), bisect_right(column.times, end_s)
        readings += [(column.times[i], which, column.values[i]) for i in range(first, last)]
    # readings of one round are milliseconds apart: a round ends when every quantity was read again
    current: dict[int, float] = {}
    highest = None
    for _, which, value in sorted(readings):
        current[which] = value
        if len(current) == len(columns):
            highest = max(sum(current.values()), highest or 0.0)
            current.clear()
    return highest


def is_same_counter(one: TelemetryColumn, other: TelemetryColumn) -> bool:
    """Return whether two counters show the same values and move, by some hundred readings."""
    if len(one) < 3 or len(other) < 3 or one.values[-1] <= one.values[0]:
        return False
    mean_step = (one.values[-1] - one.values[0]) / (len(one) - 1)
    apart = []
    for i in range(0, len(one), max(1, len(one) // _MAX_SPACINGS)):
        apart.append(abs(interpolate(other.times, other.values, one.times[i]) - one.values[i]))
    # the two are read microseconds apart: now and then an update comes in between
    return sorted(apart)[len(apart) // 2] <= _SAME_SHARE * mean_step


def _jump(
    column: TelemetryColumn, start_s: float, end_s: float, max_rate: float, slack_s: float
) -> str:
    """Return how a counter rose faster than its device can make it, near a window; "" if not."""
    first = max(0, bisect_left(column.times, start_s - slack_s) - 1)
    last = bisect_right(column.times, end_s + slack_s) + 1
    times, values = column.times[first:last], column.values[first:last]
    steps: Iterable[float] = map(operator.sub, itertools.islice(values, 1, None), values)
    if max(steps, default=0.0) <= max_rate * slack_s:
        return ""
    for i in range(1, len(values)):
        step, step_s = values[i] - values[i - 1], times[i] - times[i - 1]
        if step > max_rate * (step_s + slack_s):
            rise = f"its counter jumped by {step:.3g} in {step_s:.2g} s"
            return f"{rise}; at most {max_rate:g} a second is plausible"
    return ""


def _bridged(times: array[float], values: array[float], falls: list[int]) -> array[float]:
    """Return a counter with its falls replaced by the mean rate of the rest."""
    rise_s = times[-1] - times[0] - sum(times[i] - times[i - 1] for i in falls)
    rise = values[-1] - values[0] + sum(values[i - 1] - values[i] for i in falls)
    rate = rise / rise_s if rise_s > 0 else 0.0
    bridged, lift, fallen = array("d", values), 0.0, set(falls)
    for i in range(1, len(values)):
        if i in fallen:
            lift += values[i - 1] - values[i] + rate * (times[i] - times[i - 1])
        bridged[i] = values[i] + lift
    return bridged


def _knots(times: array[float], values: array[float]) -> tuple[list[float], list[float], float]:
    """Return the times of a counter's updates, its values there, and the time between changes, s.

    If it rests for longer than 1.5 of these, the last reading of the rest is a knot too.
    """
    changes = counter_changes(times, values)
    gaps = sorted(b.by_s - a.by_s for a, b in itertools.pairwise(changes))
    if not gaps:
        return [times[0]], [values[0]], 0.0
    update_s = gaps[len(gaps) // 2]
    clock = update_clock(changes)
    rest_s = _RESTS * max(update_s, clock.period_s if clock else 0.0)
    knot_times: list[float] = []
    knot_values: list[float] = []
    for change in changes:
        at, is_certain = _update_time(change, clock)
        is_overdue = bool(knot_times) and change.by_s - knot_times[-1] > _SKIP_UNCERTAIN * update_s
        if not knot_times or is_certain or is_overdue:
            # a predicted time may not come before the knot before it
            knot_times.append(max(knot_times[-1], at) if knot_times else at)
            knot_values.append(change.value)
        if change.until_s - change.by_s > rest_s:
            knot_times.append(change.until_s)
            knot_values.append(change.value)
    return knot_times, knot_values, update_s


def _update_time(change: CounterChange, clock: UpdateClock | None) -> tuple[float, bool]:
    """Return when a changed value became true, s, and whether that is certain.

    As pinned by its readings, as predicted by the clock, or without a clock when it was read.
    """
    if clock is None:
        return change.by_s, True
    width = change.by_s - change.after_s
    if width <= clock.period_s / 4:
        return change.middle_s, True
    return clock.time_of(change) or (change.by_s - min(clock.period_s, width) / 2, False)


def _counter_at(times: list[float], values: list[float], at_s: float) -> float:
    """Return a counter at a time between its knots; beyond the ends the last slope continues.

    Between two knots power was constant or changed once, from the slope before to the slope after:
    that puts one corner between them. If no single change fits, the line is straight.
    """
    i = min(max(bisect_right(times, at_s), 1), len(times) - 1)
    (t0, t1), (v0, v1) = times[i - 1 : i + 1], values[i - 1 : i + 1]
    if t1 == t0:
        return v1
    power = (v1 - v0) / (t1 - t0)
    before, after = _slope(times, values, i - 1), _slope(times, values, i + 1)
    if before is None or after is None or not min(before, after) < power < max(before, after):
        return v0 + power * (at_s - t0)
    corner = t0 + (t1 - t0) * (after - power) / (after - before)
    return v0 + before * (at_s - t0) if at_s < corner else v1 - after * (t1 - at_s)


def _slope(times: list[float], values: list[float], i: int) -> float | None:
    if not 1 <= i < len(times) or times[i] <= times[i - 1]:
        return None
    return (values[i] - values[i - 1]) / (times[i] - times[i - 1])


def _spacing(times: array[float]) -> float:
    """Return the 90th percentile of the time between readings, s, from at most a thousand of them.

    The median would be that of the dense readings around an edge or a jump of power.
    """
    if len(times) < 2:
        return 0.0
    stride = max(1, len(times) // _MAX_SPACINGS)
    gaps = sorted(times[i + 1] - times[i] for i in range(0, len(times) - 1, stride))
    return gaps[len(gaps) * 9 // 10]


def _widest_gap(times: list[float]) -> float:
    gaps: Iterable[float] = map(operator.sub, itertools.islice(times, 1, None), times)
    return max(gaps)
