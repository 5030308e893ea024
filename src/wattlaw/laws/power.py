"""The power law t = α·N^(−β), fitted robustly in log space with Student intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.units import counted
from wattlaw.laws.law import Law, Observations
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.ratios import LEVEL, bounded_exp, t_quantile

NAMES = {"power": "Power"}

HUBER = 2.5
"""Residuals beyond this many standard deviations count less."""

LACK_OF_FIT = 0.25
"""Below this p value, sizes are taken to scatter about the line by more than repeats do."""


class PowerLaw(NamedTuple):
    """ln t = intercept + slope·(ln N − centre), with the uncertainty of its line.

    ``spread`` is the standard deviation of one run around the line in ln t; ``covariance`` (2, 2)
    is that of (intercept, slope); both have ``df`` degrees of freedom.
    """

    centre: float
    intercept: float
    slope: float
    covariance: Array
    spread: float
    df: float

    def mean(self, x: ArrayLike) -> Array:
        """Return the law's ln t at sizes x."""
        found: Array = self.intercept + self.slope * (np.log(np.asarray(x, float)) - self.centre)
        return found

    def error(self, x: ArrayLike, of_a_run: bool = False) -> Array:
        """Return the standard error of ln t at sizes x: of the law, or of one more run."""
        away = np.log(np.asarray(x, float)) - self.centre
        (level, both), (_, slope) = self.covariance
        variance = level + 2 * away * both + away**2 * slope
        if of_a_run:
            variance = variance + self.spread**2
        found: Array = np.sqrt(variance)
        return found

    def interval(self, x: float, level: float = LEVEL, of_a_run: bool = False) -> Interval:
        """Return t at one size with its interval."""
        middle = float(self.mean(x))
        half = t_quantile(self.df, level) * float(self.error(x, of_a_run))
        return Interval(bounded_exp(middle), bounded_exp(middle - half), bounded_exp(middle + half))

    def parameters(self, level: float = LEVEL) -> dict[str, Interval]:
        """Return alpha (t at one device) and beta with intervals."""
        half = t_quantile(self.df, level) * math.sqrt(self.covariance[1, 1])
        beta = Interval(-self.slope, -self.slope - half, -self.slope + half)
        return {"alpha": self.interval(1.0, level), "beta": beta}


@dataclass(frozen=True, eq=False)
class Power(Law):
    """The power law of any target over any quantity."""

    target: str
    line: PowerLaw

    auto_order: ClassVar = 1
    example: ClassVar = Observations(
        "devices",
        "time_per_sample_s",
        np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 2),
        0.8 * np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 2) ** -0.85,
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law; see ``fit_power``."""
        return cls(observations.target, fit_power(observations.x, observations.y))

    def parameters(self) -> dict[str, Interval]:
        """Return alpha, beta and, of an energy, its elasticity: E ∝ x^elasticity."""
        found = self.line.parameters()
        beta = found["beta"]
        is_energy = "energy" in self.target or "power_w" in self.target
        if is_energy and beta.low is not None and beta.high is not None:
            found["elasticity"] = Interval(-beta.value, -beta.high, -beta.low)
        return found

    def predict(self, points: Observations) -> Array:
        """Return the law's target at points."""
        return np.array([bounded_exp(value) for value in self.line.mean(points.x).tolist()])

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return Student intervals in log space."""
        return [self.line.interval(x, of_a_run=of_a_run) for x in points.x.tolist()]

    @classmethod
    def held_out_error(cls, observations: Observations) -> float:
        """Return the median error of each size's median, predicted by a line through the others."""
        return held_out_error(observations.x, observations.y)


def fit_power(x: ArrayLike, y: ArrayLike) -> PowerLaw:
    """Fit t = α·N^(−β) to runs of at least three sizes; x and y positive, of one length.

    Huber weights limit the influence of an outlier. If the sizes lie further from the line than
    repeats vary (an F test for lack of fit), the repeats say nothing about the error of the line.
    It then comes from the distances of the sizes, with fewer degrees of freedom. Raises FitError
    for fewer than three sizes, or values that are not positive and finite.
    """
    x, y = checked(x, y)
    sizes = len(np.unique(x))
    if sizes < 3:
        raise FitError(f"a power law needs three sizes; there are {sizes}")
    log_x, log_y = np.log(x), np.log(y)
    centre = float(log_x.mean())
    line = _huber_line(log_x - centre, log_y)
    spread = line.spread
    if _lack_of_fit(log_x - centre, log_y) < LACK_OF_FIT:
        at, mean, _ = _by_size(log_x - centre, log_y)
        line = _line(at, mean, np.ones_like(at))
        within = (log_y - np.interp(log_x - centre, at, mean)).std()
        spread = math.hypot(line.spread, float(within))
    return PowerLaw(centre, line.intercept, line.slope, line.covariance, spread, line.df)


def held_out_error(x: ArrayLike, y: ArrayLike) -> float:
    """Return the median relative error of each size's median, predicted from the other sizes."""
    x, y = checked(x, y)
    log_x, log_y = np.log(x), np.log(y)
    at = np.unique(log_x)
    medians = np.array([np.median(log_y[log_x == size]) for size in at])
    errors = []
    for index, size in enumerate(at.tolist()):
        is_kept = np.arange(len(at)) != index
        line = _line(at[is_kept], medians[is_kept], np.ones(len(at) - 1))
        expected = line.intercept + line.slope * size
        errors.append(abs(bounded_exp(expected - medians[index]) - 1))
    return float(np.median(errors))


def checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return x and y as arrays (n,).

    Raises FitError unless both are positive, finite and of one length.
    """
    x, y = positive("size", x), positive("value", y)
    if x.shape != y.shape:
        raise FitError(f"there are {counted(len(x), 'size')} and {counted(len(y), 'value')}")
    return x, y


class _Line(NamedTuple):
    intercept: float
    slope: float
    covariance: Array
    spread: float
    df: float


def _huber_line(x: Array, y: Array) -> _Line:
    weights = np.ones_like(x)
    for _ in range(20):
        line = _line(x, y, weights)
        residual = np.abs(y - line.intercept - line.slope * x)
        # median absolute deviation, widened for the two fitted parameters
        scale = 1.4826 * float(np.median(residual)) * math.sqrt(len(x) / max(len(x) - 2, 1))
        if scale <= 0:
            break
        updated = np.minimum(1.0, HUBER * scale / np.maximum(residual, 1e-300))
        if np.allclose(updated, weights, atol=1e-6):
            break
        weights = updated
    return _line(x, y, weights)


def _line(x: Array, y: Array, weights: Array) -> _Line:
    # weighted least squares; numpy.polyfit scales its covariance otherwise if weights differ
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ (weights[:, None] * design))
    intercept, slope = inverse @ (design.T @ (weights * y))
    residual = y - intercept - slope * x
    df = max(len(x) - 2.0, 1.0)
    rounding = 4 * float(np.finfo(float).eps) * (1 + float(np.abs(y).max()))
    variance = max(float((weights * residual**2).sum()) / df, rounding**2)
    return _Line(float(intercept), float(slope), variance * inverse, math.sqrt(variance), df)


def _by_size(x: Array, y: Array) -> tuple[Array, Array, Array]:
    at, index, count = np.unique(x, return_inverse=True, return_counts=True)
    return at, np.bincount(index, y) / count, count.astype(float)


def _lack_of_fit(x: Array, y: Array) -> float:
    """Return the p value of the F test of the line against one mean per size; 1 without repeats."""
    at, mean, count = _by_size(x, y)
    sizes, runs = len(at), len(x)
    if runs == sizes:
        return 1.0
    line = _line(x, y, np.ones_like(x))
    off_line = count * (mean - line.intercept - line.slope * at) ** 2
    between = float(off_line.sum()) / (sizes - 2)
    within = float(((y - np.interp(x, at, mean)) ** 2).sum()) / (runs - sizes)
    if within > 0:
        return float(special.fdtrc(sizes - 2, runs - sizes, between / within))
    return 0.0 if between > 0 else 1.0
