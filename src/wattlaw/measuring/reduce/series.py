"""Totals, means and peaks of sampled quantities between two times. Pure functions of columns."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from wattlaw.measuring.files.host_files import Column
from wattlaw.measuring.reduce.counter_updates import Change, UpdateClock, changes, update_clock

_HELD_TURNS = 2.5
"""A window may reach this many sampling or update periods beyond the readings; further is a gap."""

_RESTS = 1.5
"""A counter that has not changed for this many periods truly rests."""

_UNSURE_TURNS = 2.5
"""Changes whose time is in doubt are left out for so many periods; then the likeliest time stands."""

_GAP_TURNS = 10.0
_GAP_S = 5.0
"""Readings further apart than both 10 periods and 5 s are a gap, over which nothing is integrated."""

_BRIDGE_SHARE = 0.01
"""A counter's step back is bridged at the window's mean rate where it hides at most this share of the window."""


class Total(NamedTuple):
    """A total over a window; None and why where there is none. ``steps_back`` counts a counter's falls."""

    value: float | None
    why: str = ""
    steps_back: int = 0


def counter_total(column: Column, start_s: float, end_s: float) -> Total:
    """Return what a running counter grew by between two times.

    The counter is read more often than it changes, or less often; only the readings at which it changed
    say when it did, so values at the edges are interpolated linearly between those.
    """
    times, values = column.times, column.values
    if len(times) < 2:
        return Total(None, "it was read fewer than twice")
    falls = [i for i in range(1, len(values)) if values[i] < values[i - 1]]
    if falls:
        hidden = sum(times[i] - times[i - 1] for i in falls if start_s <= times[i] <= end_s)
        if hidden > _BRIDGE_SHARE * (end_s - start_s):
            return Total(None, "its counter went backwards", len(falls))
        values = _bridged(times, values, falls)
    inside = sum(start_s <= times[i] <= end_s for i in falls)
    knot_t, knot_v, update_s = _knots(times, values)
    if len(knot_t) < 2:
        return Total(
            None, "its counter did not move; the window is shorter than its update period", inside
        )
    slack = _HELD_TURNS * max(update_s, _spacing(times))
    if start_s < times[0] - slack:
        return Total(
            None, f"it was first read {times[0] - start_s:.1f} s after the window began", inside
        )
    if end_s > times[-1] + slack:
        return Total(
            None, f"it was last read {end_s - times[-1]:.1f} s before the window ended", inside
        )
    return Total(_at_time(knot_t, knot_v, end_s) - _at_time(knot_t, knot_v, start_s), "", inside)


def trapezoid(column: Column, start_s: float, end_s: float) -> Total:
    """Return the integral of a sampled quantity between two times, by the trapezoid rule.

    Values at the edges are interpolated; the first and last readings are held for at most 2.5 periods.
    """
    times, values = column.times, column.values
    if not times:
        return Total(None, "it was never read")
    spacing = _spacing(times)
    slack = _HELD_TURNS * spacing
    if start_s < times[0] - slack or end_s > times[-1] + slack:
        return Total(
            None,
            f"it was read only from {times[0] - start_s:+.1f} s to {times[-1] - end_s:+.1f} s of the window",
        )
    first, last = bisect_right(times, start_s), bisect_left(times, end_s)
    before_t, before_v = start_s, _held(times, values, start_s)
    total, widest = 0.0, max(_GAP_TURNS * spacing, _GAP_S)
    for i in range(first, last + 1):
        t, v = (times[i], values[i]) if i < last else (end_s, _held(times, values, end_s))
        if t - before_t > widest:
            return Total(None, f"it was not read for {t - before_t:.1f} s")
        total += (t - before_t) * (v + before_v) / 2
        before_t, before_v = t, v
    return Total(total)


def mean(column: Column, start_s: float, end_s: float) -> float | None:
    """Return the mean over time; of the readings within the window where there are gaps; None without any."""
    if end_s > start_s:
        total = trapezoid(column, start_s, end_s).value
        if total is not None:
            return total / (end_s - start_s)
    inside = within(column, start_s, end_s)
    return sum(inside) / len(inside) if inside else None


def peak(column: Column, start_s: float, end_s: float) -> float | None:
    """Return the highest reading within the window; None without any."""
    return max(within(column, start_s, end_s), default=None)


def within(column: Column, start_s: float, end_s: float) -> array[float]:
    """Return the readings taken between two times."""
    return column.values[bisect_left(column.times, start_s) : bisect_right(column.times, end_s)]


def growth(column: Column, start_s: float, end_s: float) -> float | None:
    """Return what a counter that may rest (such as CPU time) grew by, interpolated; None without two readings."""
    if len(column) < 2:
        return None
    at_end, at_start = (_held(column.times, column.values, t) for t in (end_s, start_s))
    return max(0.0, at_end - at_start)


def moved(column: Column, start_s: float, end_s: float) -> Total:
    """Return what a counter of bytes grew by; unlike an energy it may rest. One that fell has wrapped: no total."""
    if len(column) < 2:
        return Total(None, "it was read fewer than twice")
    times, values = column.times, column.values
    slack = _HELD_TURNS * _spacing(times)
    if start_s < times[0] - slack or end_s > times[-1] + slack:
        return Total(None, "it was not read all through the window")
    first, last = max(1, bisect_left(times, start_s)), bisect_right(times, end_s) + 1
    if any(values[i] < values[i - 1] for i in range(first, min(last, len(values)))):
        return Total(None, "its counter fell: it wrapped, or the driver was loaded anew")
    return Total(_held(times, values, end_s) - _held(times, values, start_s))


def highest_sum(columns: list[Column], start_s: float, end_s: float) -> float | None:
    """Return the highest sum of several quantities over the rounds in which all were read."""
    events = [
        (column.times[i], which, column.values[i])
        for which, column in enumerate(columns)
        for i in range(bisect_left(column.times, start_s), bisect_right(column.times, end_s))
    ]
    # a round is over when every quantity was read again: readings of one round lie milliseconds apart
    now: dict[int, float] = {}
    highest = None
    for _, which, value in sorted(events):
        now[which] = value
        if len(now) == len(columns):
            highest = max(sum(now.values()), highest or 0.0)
            now.clear()
    return highest


def _bridged(times: array[float], values: array[float], falls: list[int]) -> array[float]:
    """Return the counter with its steps back replaced by the mean rate of the rest."""
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
    """Return the moments at which the counter was renewed and its values there, and the time between its changes, s.

    Where it rests for longer than 1.5 of these its last reading there is kept too: then it truly rests.
    """
    seen = changes(times, values)
    gaps = sorted(b.by_s - a.by_s for a, b in itertools.pairwise(seen))
    if not gaps:
        return [times[0]], [values[0]], 0.0
    update = gaps[len(gaps) // 2]
    clock = update_clock(seen)
    rest_s = _RESTS * max(update, clock.period_s if clock else 0.0)
    knot_t: list[float] = []
    knot_v: list[float] = []
    for change in seen:
        at, is_sure = _renewed(change, clock)
        if not knot_t or is_sure or change.by_s - knot_t[-1] > _UNSURE_TURNS * update:
            # two knots never change places, however the beat was foretold
            knot_t.append(max(knot_t[-1], at) if knot_t else at)
            knot_v.append(change.value)
        if change.until_s - change.by_s > rest_s:
            knot_t.append(change.until_s)
            knot_v.append(change.value)
    return knot_t, knot_v, update


def _renewed(change: Change, clock: UpdateClock | None) -> tuple[float, bool]:
    """Return when a changed value was true, s, and whether that is sure.

    As pinned by its readings, as the beat foretells, or without a beat when it was read.
    """
    if clock is None:
        return change.by_s, True
    width = change.by_s - change.after_s
    if width <= clock.period_s / 4:
        return change.middle_s, True
    return clock.of(change) or (change.by_s - min(clock.period_s, width) / 2, False)


def _at_time(times: list[float], values: list[float], at_s: float) -> float:
    """Return the counter at a time between its knots; beyond the ends the last slope goes on.

    Between two knots power either stayed or changed once, from what it was before to what it was after: that
    puts one corner between them. Where no single change fits, the line is straight.
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


def _held(times: array[float], values: array[float], at_s: float) -> float:
    """Interpolate linearly; beyond the ends the nearest value holds."""
    i = bisect_left(times, at_s)
    if i == 0:
        return values[0]
    if i == len(times):
        return values[-1]
    t0, t1 = times[i - 1], times[i]
    return values[i - 1] + (values[i] - values[i - 1]) * (at_s - t0) / (t1 - t0)


def _spacing(times: array[float]) -> float:
    """Return the 90th percentile of the time between readings, s; from at most a thousand of them, evenly picked.

    The median would follow the readings that lie close together, around an edge or a jump of power.
    """
    if len(times) < 2:
        return 0.0
    stride = max(1, len(times) // 1000)
    gaps = sorted(times[i + 1] - times[i] for i in range(0, len(times) - 1, stride))
    return gaps[len(gaps) * 9 // 10]
