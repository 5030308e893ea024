"""When a counter was renewed: from readings close around its changes, and from its period in between.

A counter shows its newest value only, up to an update period old. Where two readings close together stand on
both sides of a change, that change is *pinned*. A device renews at even intervals; so a few pinned changes tell
the moments of the others, and with that when the value of every reading was true.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left
from typing import NamedTuple

_PINNED_S = 0.008
"""Two readings as close as this around a change pin it; a sampler looks every 1 ms where it wants to know."""


_SURE = 0.2
"""A moment is foretold while its uncertainty stays below this share of the period."""


_JITTER_S = 0.001
"""Devices do not renew quite evenly."""


class Change(NamedTuple):
    """The counter changed to ``value`` after the reading at ``after_s``, not later than the one at ``by_s``.

    ``until_s`` is the last reading that showed the same value. A first value has no reading before it: minus infinity.
    """

    after_s: float
    by_s: float
    until_s: float
    value: float

    @property
    def middle_s(self) -> float:
        """The middle of the two readings, s."""
        return (self.after_s + self.by_s) / 2


class UpdateClock(NamedTuple):
    """The even beat of a counter: ``pinned`` moments, known to ``blur_s``, the period, and its relative uncertainty."""

    pinned: list[float]
    blur_s: float
    period_s: float
    uncertainty: float

    def of(self, change: Change) -> tuple[float, bool] | None:
        """Return when a changed value became true, s, and whether that is beyond doubt; None where not foretold."""
        found = self.newest(change.by_s)
        if found and not found[1] and change.until_s - change.by_s < self.period_s:
            # all the while that it was read the value was of one update: half way lies clear of the next
            found = self.newest((change.by_s + change.until_s) / 2) or found
        if found is None or found[0] < change.after_s - self.period_s / 4:
            return None
        return found

    def newest(self, by_s: float) -> tuple[float, bool] | None:
        """Return the latest moment of renewal up to a time, s, and whether it is beyond doubt that it is the latest.

        None where it is too far from a pinned one.
        """
        at = bisect_left(self.pinned, by_s)
        near = min(self.pinned[max(0, at - 1) : at + 1], key=lambda p: abs(p - by_s))
        turns, rest = divmod(by_s - near, self.period_s)
        doubt_s = abs(turns) * self.uncertainty * self.period_s
        if doubt_s > _SURE * self.period_s:
            return None
        close = _JITTER_S + self.blur_s + doubt_s
        return near + turns * self.period_s, close < rest < self.period_s - close


def changes(times: array[float], values: array[float]) -> list[Change]:
    """Return every change of a counter between neighbouring readings; its first value counts as one."""
    starts = [i for i in range(len(values)) if i == 0 or values[i] != values[i - 1]]
    ends = [*starts[1:], len(values)]
    return [
        Change(times[i - 1] if i else -math.inf, times[i], times[end - 1], values[i])
        for i, end in zip(starts, ends, strict=True)
    ]


def update_clock(seen: list[Change]) -> UpdateClock | None:
    """Return the beat of a counter from its pinned changes; None without two neighbouring ones, or without a beat."""
    pinned = [i for i, c in enumerate(seen) if c.by_s - c.after_s <= _PINNED_S]
    gaps = sorted(
        seen[i + 1].middle_s - seen[i].middle_s for i in pinned[:-1] if _is_pinned(seen[i + 1])
    )
    # several periods lie between two changes where a value happened to stay; the lower half has single ones
    if not gaps or gaps[len(gaps) // 4] <= 0:
        return None
    period = gaps[len(gaps) // 4]
    moments = [seen[i].middle_s for i in pinned]
    blur_s = max(seen[i].by_s - seen[i].after_s for i in pinned) / 2
    return _refined(moments, period, blur_s)


def _is_pinned(change: Change) -> bool:
    return change.by_s - change.after_s <= _PINNED_S


def _refined(moments: list[float], period_s: float, blur_s: float) -> UpdateClock | None:
    """Sharpen the period over longer and longer stretches, as far as the number of turns in each is beyond doubt."""
    uncertainty, period, misfits, turns_in_all = 1.5 * blur_s / period_s, period_s, 0, 0
    start = moments[0]
    for before, moment in itertools.pairwise(moments):
        turns = (moment - before) / period
        if round(turns) * uncertainty > _SURE:
            start, turns_in_all = moment, 0
            continue
        if abs(turns - round(turns)) > _SURE + blur_s / period:
            misfits += 1
            start, turns_in_all = moment, 0
            continue
        turns_in_all += round(turns)
        sharper = 1.5 * blur_s / max(moment - start, 1e-9)
        if turns_in_all and sharper < uncertainty:
            uncertainty, period = sharper, (moment - start) / turns_in_all
    return None if misfits * 5 > len(moments) else UpdateClock(moments, blur_s, period, uncertainty)
