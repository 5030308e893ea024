"""Laws of the time per sample over devices whose parameters a grid can hold, so that it gives the whole posterior.

    usl      t(N) = t₁·(1 + σ·(N−1) + κ·N·(N−1)) / N        Gunther 1993
    amdahl   the same with κ = 0                             Amdahl 1967
    power    t(N) = t₁·N^(−β)

σ is the share of the work that does not scale, κ the cost of every pair's agreement. A grid point's t₁ follows
from the data; the prior is even over β, √σ and √κ: none of the two is favoured for being invisibly small.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Noise, quantiles, weighted_interval
from wattlaw.laws.statistics.ratios import t_quantile

Form = Literal["usl", "amdahl", "power"]

PARAMETERS: dict[Form, tuple[str, ...]] = {
    "usl": ("sigma", "kappa"),
    "amdahl": ("sigma",),
    "power": ("beta",),
}

CLOSER = 2
"""Finer grids after the first: with one, some intervals of κ shrank to a single point of it."""

NOISE, NU = 0.02, 3.0
"""Scale of the relative noise of a time, and how freely one group's noise may differ from it."""


class UslLaw(NamedTuple):
    """A grid of parameters (g, k) with its weights given the data, ln t₁ of each (g,) with its error, a run's noise."""

    form: Form
    grid: Array
    weights: Array
    level: Array
    error: Array
    noise: Noise

    def log_time(self, sizes: ArrayLike) -> tuple[Array, Array]:
        """Return ln t at sizes: the posterior median (c,), and under each point of the grid (g, c)."""
        draws = self.level[:, None] + _shape(
            np.atleast_1d(np.asarray(sizes, float)), self.grid, self.form
        )
        return np.array([quantiles(column, self.weights, [0.5])[0] for column in draws.T]), draws

    def time(self, size: float, of_a_run: bool = False) -> Interval:
        """Return t at one size with its 90 % interval."""
        middle, draws = self.log_time([size])
        noise = [Noise(self.error, self.noise.df)] + ([self.noise] if of_a_run else [])
        return weighted_interval(draws[:, 0], self.weights, float(np.exp(middle[0])), noise)

    def band(self, sizes: ArrayLike) -> Array:
        """Return t and the ends of its 90 % interval at many sizes, (3, c), from the moments of ln t."""
        draws = self.level[:, None] + _shape(
            np.atleast_1d(np.asarray(sizes, float)), self.grid, self.form
        )
        mean = self.weights @ draws
        spread = np.sqrt(self.weights @ ((draws - mean) ** 2 + self.error[:, None] ** 2))
        half = t_quantile(self.noise.df) * spread
        found: Array = np.exp(np.array([mean, mean - half, mean + half]))
        return found

    def parameters(self) -> dict[str, Interval]:
        """Return the form's parameters and t_1 with 90 % intervals."""
        found = {}
        for name, column in zip(PARAMETERS[self.form], self.grid.T, strict=True):
            low, middle, high = quantiles(column, self.weights, [0.05, 0.5, 0.95])
            found[name] = Interval(middle, low, high)
        return {**found, "t_1": self.time(1.0)}


def fit_usl(sizes: ArrayLike, times: ArrayLike, form: Form = "usl", least: int = 3) -> UslLaw:
    """Fit to runs of at least ``least`` sizes. Raises FitError for fewer, or numbers not positive and finite."""
    x, y = positive("size", sizes), positive("time", times)
    if x.shape != y.shape or len(np.unique(x)) < least:
        raise FitError(
            f"a scalability law needs times at {least} sizes; there are {len(np.unique(x))}"
        )
    middle = medians(x, np.log(y))
    away = np.log(y) - middle
    # a run gone wrong counts as one at the edge of what the others scatter
    edge = 3 * 1.4826 * float(np.median(np.abs(away)))
    return _fit(x, middle + (np.clip(away, -edge, edge) if edge else 0.0), form)


def medians(x: Array, y: Array) -> Array:
    """Return for each point the median of y over the points of the same x."""
    found = np.empty_like(y)
    for size in np.unique(x):
        found[x == size] = np.median(y[x == size])
    return found


def held_out_error(sizes: ArrayLike, times: ArrayLike, form: Form = "usl") -> float:
    """Return the median relative error of each size's median, predicted from the other sizes."""
    x, y = np.asarray(sizes, float), np.log(np.asarray(times, float))
    at, first = np.unique(x, return_index=True)
    mean = medians(x, y)[first]
    errors = []
    for i in range(len(at)):
        keep = np.arange(len(at)) != i
        law = _fit(at[keep], mean[keep], form, closely=False)
        errors.append(abs(np.expm1(np.clip(law.log_time([at[i]])[0][0] - mean[i], -50, 50))))
    return float(np.median(errors))


def _fit(x: Array, log_y: Array, form: Form, closely: bool = True) -> UslLaw:
    axes = _axes(form, float(x.max()))
    law = _weigh(x, log_y, form, axes)
    if not closely:
        return law
    # finer grids where the last found anything: a sharp posterior would fall between its points
    for _ in range(CLOSER):
        axes = tuple(_closer(axis, law, i) for i, axis in enumerate(axes))
        law = _weigh(x, log_y, form, axes)
    return law


def _weigh(x: Array, log_y: Array, form: Form, axes: tuple[Axis, ...]) -> UslLaw:
    grid = np.stack([g.ravel() for g in np.meshgrid(*(a.values for a in axes))], axis=1)
    prior = functools.reduce(np.multiply, np.meshgrid(*(a.measure for a in axes))).ravel()
    away = log_y - _shape(x, grid, form)
    level = away.mean(axis=1)
    squares = ((away - level[:, None]) ** 2).sum(axis=1)
    n = len(x)
    log_weight = -0.5 * (NU + n - 1) * np.log(NU * NOISE**2 + squares)
    weights = prior * np.exp(log_weight - log_weight.max())
    scale = np.sqrt((NU * NOISE**2 + squares) / (NU + n - 1))
    return UslLaw(
        form, grid, weights / weights.sum(), level, scale / np.sqrt(n), Noise(scale, NU + n - 1)
    )


def _shape(x: Array, grid: Array, form: Form) -> Array:
    if form == "power":
        slope: Array = -grid * np.log(x)
        return slope
    sigma, kappa = (*grid.T[:, :, None], 0.0)[:2]
    found: Array = np.log((1 + sigma * (x - 1) + kappa * x * np.maximum(x - 1, 0)) / x)
    return found


class Axis(NamedTuple):
    """Values of one parameter and the prior measure of each."""

    values: Array
    measure: Array


@functools.cache
def _axes(form: Form, largest: float) -> tuple[Axis, ...]:
    if form == "power":
        return (Axis(np.linspace(-0.3, 1.3, 81), np.ones(81)),)
    # what is below the least value would change the time at the largest size by less than measuring can tell
    sigma = np.geomspace(1e-2 / largest, 1.0, 120 if form == "amdahl" else 40)
    kappa = np.geomspace(1e-3 / largest**2, 0.3, 30)
    # the measure of a cell in √v, up to a factor; all below the least value stands at 0
    found = [
        Axis(np.append(0.0, v), np.append(2 * np.sqrt(v[0]), np.sqrt(v) * np.log(v[1] / v[0])))
        for v in (sigma, kappa)
    ]
    return tuple(found[: len(PARAMETERS[form])])


def _closer(axis: Axis, law: UslLaw, index: int, points: int = 33) -> Axis:
    values = axis.values
    mass = np.array([law.weights[law.grid[:, index] == v].sum() for v in values])
    kept = np.flatnonzero(mass > 1e-4 * mass.max())
    low, high = values[max(kept[0] - 1, 0)], values[min(kept[-1] + 1, len(values) - 1)]
    if law.form == "power":
        return Axis(np.linspace(low, high, 4 * points), np.ones(4 * points))
    return Axis(np.linspace(np.sqrt(low), np.sqrt(high), points) ** 2, np.ones(points))
