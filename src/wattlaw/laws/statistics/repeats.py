"""The one summary of repeated measurements: geometric mean and 90 % t interval.

Times, rates and energies are positive and their noise is relative, so repeats are averaged as
logarithms, as the laws and the advice do. Only the standard library is used, because ``wattlaw
runs`` also works in an installation without numpy and scipy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean
from typing import NamedTuple

from wattlaw.core.reading import Reading, missing
from wattlaw.core.units import counted

_T_95 = (
    *(6.313751515, 2.91998558, 2.353363435, 2.131846786, 2.015048373, 1.943180281),
    *(1.894578605, 1.859548038, 1.833112933, 1.812461123, 1.795884819, 1.782287556),
    *(1.770933396, 1.761310136, 1.753050356, 1.745883676, 1.739606726, 1.734063607),
    *(1.729132812, 1.724718243, 1.720742903, 1.717144374, 1.713871528, 1.71088208),
    *(1.708140761, 1.70561792, 1.703288446, 1.701130934, 1.699127027, 1.697260887),
)
"""95 % quantiles of Student's t for 1 to 30 degrees of freedom."""


class RepeatSummary(NamedTuple):
    """The mean of ``n`` repeats and its 90 % interval; without repeats no ends."""

    value: float
    low: float | None
    high: float | None
    n: int


def summarise_repeats(values: Iterable[float]) -> RepeatSummary:
    """Return the geometric mean of repeats with its 90 % t interval.

    Values that are not finite are left out. If a value is zero or negative (a loss, a score) the
    arithmetic mean is used. Raises ValueError if no value is finite.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        raise ValueError("there is no finite value to summarise")
    if len(finite) == 1:
        return RepeatSummary(finite[0], None, None, 1)
    is_positive = min(finite) > 0
    terms = [math.log(value) for value in finite] if is_positive else finite
    mean = fmean(terms)
    # hypot does not overflow; statistics.stdev is exact, but slow for a long table
    deviation = math.hypot(*(term - mean for term in terms)) / math.sqrt(len(terms) - 1)
    half = _t_95(len(terms) - 1) * deviation / math.sqrt(len(terms))
    if not is_positive:
        return RepeatSummary(mean, mean - half, mean + half, len(finite))
    value, low, high = (_bounded_exp(term) for term in (mean, mean - half, mean + half))
    return RepeatSummary(value, low, high, len(finite))


def summarise_readings(readings: Sequence[Reading]) -> Reading:
    """Return one reading for the repeats of a setting.

    Measured values are preferred to estimates. Estimates get no interval, because their scatter
    says nothing about the error of the model behind them. If no run has a value, the result is
    missing.
    """
    for status in ("measured", "estimated"):
        same = [r for r in readings if r.status == status and _is_finite(r.value)]
        if same:
            return _summary_of(same, len(readings))
    reasons = [r.how for r in readings if r.how]
    return missing(reasons[0] if reasons else "no run gave a value")


def _summary_of(same: Sequence[Reading], count: int) -> Reading:
    found = summarise_repeats(r.value for r in same if r.value is not None)
    sources = list(dict.fromkeys(r.how for r in same if r.how))
    if len(same) < count:
        sources.insert(0, f"{len(same)} of {counted(count, 'run')}")
    low, high = (found.low, found.high) if same[0].status == "measured" else (None, None)
    return Reading(found.value, same[0].status, "; ".join(sources), low, high, found.n)


def _bounded_exp(value: float) -> float:
    return math.exp(min(max(value, -700.0), 700.0))


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _t_95(df: int) -> float:
    if df <= len(_T_95):
        return _T_95[df - 1]
    # Cornish-Fisher expansion, Abramowitz & Stegun 26.7.5
    z = NormalDist().inv_cdf(0.95)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / df + second / df**2
