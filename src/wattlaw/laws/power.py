"""The power law t = α·N^(−β), fitted robustly in log space with Student intervals."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.units import counted
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.ratios import LEVEL, bounded_exp, t_quantile


class PowerLaw(NamedTuple):
    """ln t = intercept + slope·(ln N − centre), with what its intervals need.

    ``spread`` is the standard deviation of one run around the line in ln t; ``scatter`` (2×2) the
    covariance of (intercept, slope); both with ``df`` degrees of freedom.
    """

    centre: float
    intercept: float
    slope: float
    scatter: Array
    spread: float
    df: float

    def mean(self, x: ArrayLike) -> Array:
        """Return the law's ln t at sizes x."""
        found: Array = self.intercept + self.slope * (np.log(np.asarray(x, float)) - self.centre)
        return found

    def error(self, x: ArrayLike, of_a_run: bool = False) -> Array:
        """Return the standard error of ln t at sizes x: of the law, or of one more run."""
        away = np.log(np.asarray(x, float)) - self.centre
        variance = self.scatter[0, 0] + 2 * away * self.scatter[0, 1] + away**2 * self.scatter[1, 1]
        found: Array = np.sqrt(variance + (self.spread**2 if of_a_run else 0.0))
        return found

    def interval(self, x: float, level: float = LEVEL, of_a_run: bool = False) -> Interval:
        """Return t at one size with its interval."""
        middle, half = (
            float(self.mean(x)),
            t_quantile(self.df, level) * float(self.error(x, of_a_run)),
        )
        return Interval(bounded_exp(middle), bounded_exp(middle - half), bounded_exp(middle + half))

    def band(self, x: ArrayLike) -> Array:
        """Return t and the ends of its 90 % interval at many sizes, (3, c)."""
        middle, half = self.mean(x), t_quantile(self.df) * self.error(x)
        found: Array = np.exp(np.clip([middle, middle - half, middle + half], -700.0, 700.0))
        return found

    def parameters(self, level: float = LEVEL) -> dict[str, Interval]:
        """Return alpha (t at one device) and beta with intervals."""
        half = t_quantile(self.df, level) * math.sqrt(self.scatter[1, 1])
        beta = Interval(-self.slope, -self.slope - half, -self.slope + half)
        return {"alpha": self.interval(1.0, level), "beta": beta}


def fit_power(x: ArrayLike, y: ArrayLike) -> PowerLaw:
    """Fit t = α·N^(−β) to runs of at least three sizes; x and y of the same length, positive.

    Huber weights guard against a run gone wrong. Where sizes lie further from the line than repeats
    scatter (a lack-of-fit F test), repeats say nothing about the line's error and the sizes' own
    distances from it are used, with fewer degrees of freedom.
    Raises FitError for fewer than three sizes, or values that are not positive and finite.
    """
    x, y = checked(x, y)
    if len(np.unique(x)) < 3:
        raise FitError(f"a power law needs three sizes; there are {len(np.unique(x))}")
    log_x, log_y = np.log(x), np.log(y)
    centre = float(log_x.mean())
    intercept, slope, scatter, spread, df = _huber_line(log_x - centre, log_y)
    if _lack_of_fit(log_x - centre, log_y) < 0.25:
        at, mean, _ = _by_size(log_x - centre, log_y)
        intercept, slope, scatter, spread, df = _line(at, mean, np.ones_like(at))
        within = (log_y - np.interp(log_x - centre, at, mean)).std()
        spread = math.hypot(spread, float(within))
    return PowerLaw(centre, intercept, slope, scatter, spread, df)


def held_out_error(x: ArrayLike, y: ArrayLike) -> float:
    """Return the median relative error of each size's median, predicted from the other sizes."""
    x, y = checked(x, y)
    logs = np.log(y)
    at = np.unique(np.log(x))
    mean = np.array([np.median(logs[np.log(x) == size]) for size in at])
    errors = []
    for index in range(len(at)):
        keep = np.arange(len(at)) != index
        intercept, slope, *_ = _line(at[keep], mean[keep], np.ones(len(at) - 1))
        errors.append(abs(bounded_exp(intercept + slope * at[index] - mean[index]) - 1))
    return float(np.median(errors))


def checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return x and y as arrays. Raises FitError unless both are one-dimensional, alike in length, positive, finite."""
    x, y = positive("size", x), positive("value", y)
    if x.shape != y.shape:
        raise FitError(f"there are {counted(len(x), 'size')} and {counted(len(y), 'value')}")
    return x, y


def _huber_line(x: Array, y: Array, k: float = 2.5) -> tuple[float, float, Array, float, float]:
    weights = np.ones_like(x)
    for _ in range(20):
        intercept, slope, *_ = _line(x, y, weights)
        residual = np.abs(y - intercept - slope * x)
        # median absolute deviation, widened for the two fitted parameters
        scale = 1.4826 * float(np.median(residual)) * math.sqrt(len(x) / max(len(x) - 2, 1))
        updated = (
            np.minimum(1.0, k * scale / np.maximum(residual, 1e-300)) if scale > 0 else weights
        )
        if np.allclose(updated, weights, atol=1e-6):
            break
        weights = updated
    return _line(x, y, weights)


def _line(x: Array, y: Array, weights: Array) -> tuple[float, float, Array, float, float]:
    design = np.column_stack([np.ones_like(x), x])
    normal = design.T @ (weights[:, None] * design)
    inverse = np.linalg.inv(normal)
    intercept, slope = inverse @ (design.T @ (weights * y))
    residual = y - intercept - slope * x
    df = max(len(x) - 2.0, 1.0)
    floor = 4 * float(np.finfo(float).eps) * (1 + float(np.abs(y).max()))
    variance = max(float((weights * residual**2).sum()) / df, floor**2)
    return float(intercept), float(slope), variance * inverse, math.sqrt(variance), df


def _by_size(x: Array, y: Array) -> tuple[Array, Array, Array]:
    at, index, count = np.unique(x, return_inverse=True, return_counts=True)
    return at, np.bincount(index, y) / count, count.astype(float)


def _lack_of_fit(x: Array, y: Array) -> float:
    # p-value of the F test of the line against one mean a size; 1 where nothing was repeated
    at, mean, count = _by_size(x, y)
    sizes, runs = len(at), len(x)
    if runs == sizes:
        return 1.0
    intercept, slope, *_ = _line(x, y, np.ones_like(x))
    between = float((count * (mean - intercept - slope * at) ** 2).sum()) / (sizes - 2)
    within = float(((y - np.interp(x, at, mean)) ** 2).sum()) / (runs - sizes)
    if within == 0:
        return 0.0 if between > 0 else 1.0
    return float(special.fdtrc(sizes - 2, runs - sizes, between / within))
