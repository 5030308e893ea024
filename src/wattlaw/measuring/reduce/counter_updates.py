"""When a counter was updated: from readings close around its changes, and from its period between.

A counter shows its newest value only, which is up to one update period old. If two readings
close together lie on both sides of a change, the change is *pinned*. A device updates at regular
intervals, so a few pinned changes give the times of the others, and with them when the value of
each reading was true.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left
from typing import NamedTuple

_PINNED_S = 0.008
"""Two readings this close around a change pin it; a dense look reads every millisecond."""

_MAX_UNCERTAINTY = 0.2
"""Times are predicted while their uncertainty is below this share of the period."""

_JITTER_S = 0.001
"""Tolerance of the intervals, which are not exactly equal."""


class CounterChange(NamedTuple):
    """A change to ``value`` after the reading at ``after_s``, and by the one at ``by_s``.

    ``until_s`` is the last reading with the same value. The first value has no reading before it:
    there ``after_s`` is minus infinity.
    """

    after_s: float
    by_s: float
    until_s: float
    value: float

    @property
    def middle_s(self) -> float:
        """The midpoint of the two readings, s."""
        return (self.after_s + self.by_s) / 2

    @property
    def is_pinned(self) -> bool:
        """Whether two readings close together lie on both sides of it."""
        return self.by_s - self.after_s <= _PINNED_S


class UpdateClock(NamedTuple):
    """The regular updates of a counter.

    pinned       times of pinned updates, s, each known to ``blur_s``
    uncertainty  relative uncertainty of the period
    """

    pinned: list[float]
    blur_s: float
    period_s: float
    uncertainty: float

    def time_of(self, change: CounterChange) -> tuple[float, bool] | None:
        """Return when a changed value became true, s, and whether that is certain.

        None if it cannot be predicted.
        """
        found = self.latest(change.by_s)
        if found and not found[1] and change.until_s - change.by_s < self.period_s:
            # all readings show the value of one update; the middle is farthest from the next one
            found = self.latest((change.by_s + change.until_s) / 2) or found
        if found is None or found[0] < change.after_s - self.period_s / 4:
            return None
        return found

    def latest(self, by_s: float) -> tuple[float, bool] | None:
        """Return the latest update up to a time, s, and whether it is certainly the latest.

        None if the time is too far from a pinned update.
        """
        at = bisect_left(self.pinned, by_s)
        near = min(self.pinned[max(0, at - 1) : at + 1], key=lambda p: abs(p - by_s))
        turns, rest = divmod(by_s - near, self.period_s)
        doubt_s = abs(turns) * self.uncertainty * self.period_s
        if doubt_s > _MAX_UNCERTAINTY * self.period_s:
            return None
        margin_s = _JITTER_S + self.blur_s + doubt_s
        return near + turns * self.period_s, margin_s < rest < self.period_s - margin_s


def counter_changes(times: array[float], values: array[float]) -> list[CounterChange]:
    """Return every change of a counter between neighbouring readings; its first value is one."""
    starts = [i for i in range(len(values)) if i == 0 or values[i] != values[i - 1]]
    ends = [*starts[1:], len(values)]
    found = []
    for i, end in zip(starts, ends, strict=True):
        after_s = times[i - 1] if i else -math.inf
        found.append(CounterChange(after_s, times[i], times[end - 1], values[i]))
    return found


def update_clock(changes: list[CounterChange]) -> UpdateClock | None:
    """Return the update times of a counter from its pinned changes.

    None without two neighbouring pinned changes, or if their intervals are not equal.
    """
    pinned = [c for c in changes if c.is_pinned]
    gaps = []
    for before, after in itertools.pairwise(changes):
        if before.is_pinned and after.is_pinned:
            gaps.append(after.middle_s - before.middle_s)
    gaps.sort()
    # if a value did not change in an update, several periods lie between two changes
    if not gaps or gaps[len(gaps) // 4] <= 0:
        return None
    blur_s = max(c.by_s - c.after_s for c in pinned) / 2
    return _refined([c.middle_s for c in pinned], gaps[len(gaps) // 4], blur_s)


def _refined(times: list[float], period_s: float, blur_s: float) -> UpdateClock | None:
    """Refine the period over longer and longer spans whose number of updates is certain."""
    uncertainty, period, misfits, turns_in_all = 1.5 * blur_s / period_s, period_s, 0, 0
    start = times[0]
    for before, time in itertools.pairwise(times):
        turns = (time - before) / period
        if round(turns) * uncertainty > _MAX_UNCERTAINTY:
            start, turns_in_all = time, 0
            continue
        if abs(turns - round(turns)) > _MAX_UNCERTAINTY + blur_s / period:
            misfits += 1
            start, turns_in_all = time, 0
            continue
        turns_in_all += round(turns)
        sharper = 1.5 * blur_s / max(time - start, 1e-9)
        if turns_in_all and sharper < uncertainty:
            uncertainty, period = sharper, (time - start) / turns_in_all
    if misfits * 5 > len(times):
        return None
    return UpdateClock(times, blur_s, period, uncertainty)
