"""Ratios of repeated measurements with honest intervals.

Times, rates and energies are positive and their noise is relative, so repeats are compared as
logarithms: the ratio of two settings is exp of a difference of means. Its interval is Welch's,
which allows the noise of the two settings to differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from wattlaw.core.findings import Interval

LEVEL = 0.90
"""Default coverage of an interval."""


class LogRatio(NamedTuple):
    """ln(a/b) as a Student t: centre, standard error, degrees of freedom.

    Without repeats the error is unknown and ``df`` is 0.
    """

    centre: float
    error: float
    df: float


def log_ratio(
    a: Sequence[float], b: Sequence[float], noise: tuple[float, float] = (0.0, 0.0)
) -> LogRatio:
    """Compare the geometric means of two sets of repeats, each with at least one positive value.

    ``noise`` is (standard deviation of ln, degrees of freedom) pooled over other settings. It is
    used for a set of one run, on the assumption that its relative noise is the same.
    """
    x, y = np.log(a), np.log(b)
    centre = float(x.mean() - y.mean())
    parts = [_variance_of_mean(v, noise) for v in (x, y)]
    if any(df == 0 for _, df in parts):
        return LogRatio(centre, math.inf, 0.0)
    total = sum(v for v, _ in parts)
    if total == 0:  # identical repeats: their noise is taken to be the rounding error
        total = (4 * float(np.finfo(float).eps)) ** 2
        return LogRatio(centre, math.sqrt(total), sum(df for _, df in parts))
    df = total**2 / sum(v**2 / d for v, d in parts)
    return LogRatio(centre, math.sqrt(total), df)


def pooled_noise(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the standard deviation of ln within sets of repeats, and its degrees of freedom.

    Both are 0 without repeats.
    """
    squares, df = 0.0, 0
    for values in samples:
        logs = np.log(values)
        squares += float(((logs - logs.mean()) ** 2).sum())
        df += len(logs) - 1
    if not df:
        return 0.0, 0.0
    return math.sqrt(squares / df), float(df)


def interval(ratio: LogRatio, level: float = LEVEL) -> Interval:
    """Return exp of a log ratio with its t interval; without repeats there are no ends."""
    centre = bounded_exp(ratio.centre)
    if ratio.df == 0:
        return Interval(centre)
    half = t_quantile(ratio.df, level) * ratio.error
    return Interval(centre, bounded_exp(ratio.centre - half), bounded_exp(ratio.centre + half))


def probability_below(ratio: LogRatio, bound: float) -> float | None:
    """Return the probability that the ratio is at most ``bound``; None without repeats.

    The posterior of its logarithm is Student's t around the measured one (flat prior).
    """
    if ratio.df == 0:
        return None
    return float(special.stdtr(ratio.df, (math.log(bound) - ratio.centre) / ratio.error))


def bounded_exp(value: float) -> float:
    """Return exp of a value, clipped to the range of a double."""
    return math.exp(min(max(value, -700.0), 700.0))


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Return the two-sided quantile of Student's t."""
    return float(special.stdtrit(df, 0.5 + level / 2))


def _variance_of_mean(logs: np.ndarray, noise: tuple[float, float]) -> tuple[float, float]:
    # with its degrees of freedom
    if len(logs) > 1:
        return float(logs.var(ddof=1)) / len(logs), len(logs) - 1.0
    return noise[0] ** 2, noise[1]
