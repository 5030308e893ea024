"""Amdahl's law and the universal scalability law of the time per sample, over a grid of their parameters.

    t(N) = t₁·(1 + σ·(N−1) + κ·N·(N−1)) / N        Gunther 1993; κ = 0 is Amdahl 1967

σ is the share of the work that does not scale, κ the cost of every pair's agreement. With one scale t₁ and
two bounded parameters a grid gives the whole posterior at once: best values, intervals, forecasts.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.checking import positive
from wattlaw.laws.posterior import Noise, interval_of, quantiles
from wattlaw.laws.ratios import t_quantile

Array = NDArray[Any]

NOISE, NU = 0.02, 3.0
"""Scale of the relative noise of a time, and how freely one group's noise may differ from it."""


class UslLaw(NamedTuple):
    """Weights of the grid's points given the data, ln t₁ of each (g,) with its error, and the noise of a run."""

    amdahl: bool
    weights: Array
    level: Array
    error: Array
    noise: Noise

    def log_time(self, sizes: ArrayLike) -> tuple[Array, Array]:
        """Return ln t at sizes: the posterior median (c,), and under each point of the grid (g, c)."""
        draws = self.level[:, None] + _shape(np.atleast_1d(np.asarray(sizes, float)), self.amdahl)
        return np.array([quantiles(column, self.weights, [0.5])[0] for column in draws.T]), draws

    def time(self, size: float, of_a_run: bool = False) -> Interval:
        """Return t at one size with its 90 % interval."""
        middle, draws = self.log_time([size])
        noise = [Noise(self.error, self.noise.df)] + ([self.noise] if of_a_run else [])
        return interval_of(draws[:, 0], self.weights, float(np.exp(middle[0])), noise)

    def band(self, sizes: ArrayLike) -> Array:
        """Return t and the ends of its 90 % interval at many sizes, (3, c), from the moments of ln t."""
        draws = self.level[:, None] + _shape(np.atleast_1d(np.asarray(sizes, float)), self.amdahl)
        mean = self.weights @ draws
        spread = np.sqrt(self.weights @ ((draws - mean) ** 2 + self.error[:, None] ** 2))
        half = t_quantile(self.noise.df) * spread
        found: Array = np.exp(np.array([mean, mean - half, mean + half]))
        return found

    def parameters(self) -> dict[str, Interval]:
        """Return sigma, kappa (not for Amdahl) and t_1 with 90 % intervals."""
        grid = _grid(self.amdahl)
        names = ("sigma",) if self.amdahl else ("sigma", "kappa")
        found = {}
        for name, column in zip(names, grid.T, strict=False):
            low, middle, high = quantiles(column, self.weights, [0.05, 0.5, 0.95])
            found[name] = Interval(middle, low, high)
        return {**found, "t_1": self.time(1.0)}


def fit_usl(sizes: ArrayLike, times: ArrayLike, amdahl: bool = False) -> UslLaw:
    """Fit to runs of at least three sizes. Raises FitError for fewer, or numbers not positive and finite."""
    x, y = positive("size", sizes), positive("time", times)
    if x.shape != y.shape or len(np.unique(x)) < 3:
        raise FitError(f"a scalability law needs times at three sizes; there are {len(np.unique(x))}")
    middle = medians(x, np.log(y))
    away = np.log(y) - middle
    # a run gone wrong counts as one at the edge of what the others scatter
    edge = 3 * 1.4826 * float(np.median(np.abs(away)))
    return _fit(x, middle + (np.clip(away, -edge, edge) if edge else 0.0), amdahl)


def medians(x: Array, y: Array) -> Array:
    """Return for each point the median of y over the points of the same x."""
    found = np.empty_like(y)
    for size in np.unique(x):
        found[x == size] = np.median(y[x == size])
    return found


def held_out_error(sizes: ArrayLike, times: ArrayLike, amdahl: bool = False) -> float:
    """Return the median relative error of each size's median, predicted from the other sizes."""
    x, y = np.asarray(sizes, float), np.log(np.asarray(times, float))
    at, first = np.unique(x, return_index=True)
    mean = medians(x, y)[first]
    errors = []
    for i in range(len(at)):
        keep = np.arange(len(at)) != i
        law = _fit(at[keep], mean[keep], amdahl)
        errors.append(abs(np.expm1(np.clip(law.log_time([at[i]])[0][0] - mean[i], -50, 50))))
    return float(np.median(errors))


def _fit(x: Array, log_y: Array, amdahl: bool) -> UslLaw:
    away = log_y - _shape(x, amdahl)
    level = away.mean(axis=1)
    squares = ((away - level[:, None]) ** 2).sum(axis=1)
    n = len(x)
    log_weight = -0.5 * (NU + n - 1) * np.log(NU * NOISE**2 + squares)
    weights = np.exp(log_weight - log_weight.max())
    scale = np.sqrt((NU * NOISE**2 + squares) / (NU + n - 1))
    return UslLaw(amdahl, weights / weights.sum(), level, scale / np.sqrt(n), Noise(scale, NU + n - 1))


def _shape(x: Array, amdahl: bool) -> Array:
    sigma, kappa = _grid(amdahl).T[:, :, None]
    found: Array = np.log((1 + sigma * (x - 1) + kappa * x * np.maximum(x - 1, 0)) / x)
    return found


@functools.cache
def _grid(amdahl: bool) -> Array:
    # fine enough that the grid's own step is below any interval of interest
    sigma = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 120 if amdahl else 40)])
    kappa = np.zeros(1) if amdahl else np.concatenate([[0.0], np.geomspace(1e-9, 0.3, 30)])
    return np.stack([g.ravel() for g in np.meshgrid(sigma, kappa)], axis=1)
