"""When a gain counts: the one rule that every choice and every sentence of the advice follows.

A change is a share: a gain of 0.1 is 10 % less, a slowdown of 0.1 is 10 % more time.
"""

from __future__ import annotations

from collections.abc import Callable

from wattlaw.core.findings import Interval


def is_clear(change: Interval) -> bool:
    """Return whether the interval of a change, a share, excludes 0.

    A change of settings that were run once each has no interval. It counts as clear, and the
    answer says that the run-to-run variation is unknown.
    """
    if change.low is None or change.high is None:
        return True
    return not change.low <= 0 <= change.high


def is_unclear_gain_for_time(gain: Interval, slowdown: Interval) -> bool:
    """Return whether a setting is clearly slower than the baseline without a clear gain.

    Such a setting is not recommended if the baseline satisfies the limits.
    """
    has_gain = gain.value > 0 and is_clear(gain)
    is_slower = slowdown.value > 0 and is_clear(slowdown)
    return is_slower and not has_gain


def transform(interval: Interval, function: Callable[[float], float]) -> Interval:
    """Return an interval with a monotonic function applied to its value and ends."""
    value = function(interval.value)
    if interval.low is None or interval.high is None:
        return Interval(value)
    low, high = sorted((function(interval.low), function(interval.high)))
    return Interval(value, low, high)


def share_saved(ratio: Interval) -> Interval:
    """Return 1 − ratio."""
    return transform(ratio, lambda v: 1 - v)


def share_added(ratio: Interval) -> Interval:
    """Return ratio − 1."""
    return transform(ratio, lambda v: v - 1)
