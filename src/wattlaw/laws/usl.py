"""Amdahl's law, the universal scalability law and the power law of time over devices, on a grid.

    usl      t(N) = t₁·(1 + σ·(N−1) + κ·N·(N−1)) / N        Gunther 1993
    amdahl   the same with κ = 0                             Amdahl 1967
    power    t(N) = t₁·N^(−β)

σ is the share of the work that does not scale, κ the cost of communication between every pair of
devices. Few parameters fit on a grid, which gives the whole posterior. The t₁ of a grid point
follows from the data. The prior is flat in β, √σ and √κ, so that neither σ nor κ is favoured for
being too small to see.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.law import Law, Observations
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Noise, quantiles, weighted_interval
from wattlaw.laws.statistics.ratios import t_quantile

NAMES = {"usl": "UniversalScalability", "amdahl": "Amdahl"}

Form = Literal["usl", "amdahl", "power"]

PARAMETERS: dict[Form, tuple[str, ...]] = {
    "usl": ("sigma", "kappa"),
    "amdahl": ("sigma",),
    "power": ("beta",),
}

REFINEMENTS = 2
"""Finer grids after the first: with only one, some intervals of κ shrank to a single grid point."""

NOISE, NU = 0.02, 3.0
"""Scale of the relative noise of a time, and its degrees of freedom."""


class UslLaw(NamedTuple):
    """The posterior of a form on a grid of parameters.

    grid, weights   parameters (g, k) and their posterior weights (g,)
    level, error    ln t₁ of each grid point (g,) and its standard error (g,)
    noise           of one run
    """

    form: Form
    grid: Array
    weights: Array
    level: Array
    error: Array
    noise: Noise

    def log_time(self, sizes: ArrayLike) -> tuple[Array, Array]:
        """Return ln t at sizes (c,): the posterior median (c,), and at each grid point (g, c)."""
        draws = self._draws(sizes)
        medians = [quantiles(column, self.weights, [0.5])[0] for column in draws.T]
        return np.array(medians), draws

    def time(self, size: float, of_a_run: bool = False) -> Interval:
        """Return t at one size with its 90 % interval."""
        middle, draws = self.log_time([size])
        noise = [Noise(self.error, self.noise.df)]
        if of_a_run:
            noise.append(self.noise)
        return weighted_interval(draws[:, 0], self.weights, float(np.exp(middle[0])), noise)

    def band(self, sizes: ArrayLike, of_a_run: bool = False) -> Array:
        """Return t and the ends of its 90 % interval at sizes, (3, c), from the moments of ln t."""
        draws = self._draws(sizes)
        mean = self.weights @ draws
        variance = (draws - mean) ** 2 + self.error[:, None] ** 2
        if of_a_run:
            variance = variance + self.noise.scale[:, None] ** 2
        half = t_quantile(self.noise.df) * np.sqrt(self.weights @ variance)
        found: Array = np.exp(np.array([mean, mean - half, mean + half]))
        return found

    def parameters(self) -> dict[str, Interval]:
        """Return the parameters of the form and t_1 with 90 % intervals."""
        found = {}
        for name, column in zip(PARAMETERS[self.form], self.grid.T, strict=True):
            low, middle, high = quantiles(column, self.weights, [0.05, 0.5, 0.95])
            found[name] = Interval(middle, low, high)
        return {**found, "t_1": self.time(1.0)}

    def _draws(self, sizes: ArrayLike) -> Array:
        x = np.atleast_1d(np.asarray(sizes, float))
        found: Array = self.level[:, None] + _shape(x, self.grid, self.form)
        return found


_SIZES = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 2)


@dataclass(frozen=True, eq=False)
class UniversalScalability(Law):
    """The universal scalability law of the time per sample."""

    law: UslLaw

    over: ClassVar = ("devices",)
    targets: ClassVar = ("time_per_sample_s",)
    auto_order: ClassVar = 3
    form: ClassVar[Form] = "usl"
    example: ClassVar = Observations(
        "devices",
        "time_per_sample_s",
        _SIZES,
        (1 + 0.03 * (_SIZES - 1) + 0.002 * _SIZES * (_SIZES - 1)) / _SIZES,
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law to three or more sizes; see ``fit_usl``."""
        return cls(fit_usl(observations.x, observations.y, cls.form))

    def parameters(self) -> dict[str, Interval]:
        """Return sigma, kappa and t_1."""
        return self.law.parameters()

    def predict(self, points: Observations) -> Array:
        """Return the time at points: exp of the posterior mean of its logarithm."""
        found: Array = self.law.band(points.x)[0]
        return found

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return 90 % intervals from the posterior moments."""
        band = self.law.band(points.x, of_a_run)
        return [Interval(*ends) for ends in band.T.tolist()]

    @classmethod
    def held_out_error(cls, observations: Observations) -> float:
        """Return the median error of each size's median, predicted from the other sizes."""
        return held_out_error(observations.x, observations.y, cls.form)


class Amdahl(UniversalScalability):
    """Amdahl's law of the time per sample."""

    auto_order: ClassVar = 2
    form: ClassVar[Form] = "amdahl"
    example: ClassVar = Observations(
        "devices", "time_per_sample_s", _SIZES, (1 + 0.05 * (_SIZES - 1)) / _SIZES
    )


def fit_usl(sizes: ArrayLike, times: ArrayLike, form: Form = "usl", least: int = 3) -> UslLaw:
    """Fit a form to runs of at least ``least`` sizes.

    Raises FitError for fewer sizes, or numbers that are not positive and finite.
    """
    x, y = positive("size", sizes), positive("time", times)
    if x.shape != y.shape or len(np.unique(x)) < least:
        found = len(np.unique(x))
        raise FitError(f"a scalability law needs times at {least} sizes; there are {found}")
    middle = medians(x, np.log(y))
    away = np.log(y) - middle
    # an outlier counts as a run at the edge of the usual variation
    edge = 3 * 1.4826 * float(np.median(np.abs(away)))
    if edge:
        middle = middle + np.clip(away, -edge, edge)
    return _fit(x, middle, form)


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
        is_kept = np.arange(len(at)) != i
        law = _fit(at[is_kept], mean[is_kept], form, refinements=0)
        away = law.log_time([at[i]])[0][0] - mean[i]
        errors.append(abs(np.expm1(np.clip(away, -50, 50))))
    return float(np.median(errors))


def _fit(x: Array, log_y: Array, form: Form, refinements: int = REFINEMENTS) -> UslLaw:
    axes = _axes(form, float(x.max()))
    law = _weigh(x, log_y, form, axes)
    # finer grids around the mass of the last one: a sharp posterior would fall between its points
    for _ in range(refinements):
        axes = tuple(_refined(axis, law, i) for i, axis in enumerate(axes))
        law = _weigh(x, log_y, form, axes)
    return law


def _weigh(x: Array, log_y: Array, form: Form, axes: tuple[GridAxis, ...]) -> UslLaw:
    points = np.meshgrid(*[axis.values for axis in axes])
    grid = np.stack([values.ravel() for values in points], axis=1)
    measures = np.meshgrid(*[axis.measure for axis in axes])
    prior = functools.reduce(np.multiply, measures).ravel()
    away = log_y - _shape(x, grid, form)
    level = away.mean(axis=1)
    squares = ((away - level[:, None]) ** 2).sum(axis=1)
    df = NU + len(x) - 1
    log_weight = -0.5 * df * np.log(NU * NOISE**2 + squares)
    weights = prior * np.exp(log_weight - log_weight.max())
    scale = np.sqrt((NU * NOISE**2 + squares) / df)
    error = scale / np.sqrt(len(x))
    return UslLaw(form, grid, weights / weights.sum(), level, error, Noise(scale, df))


def _shape(x: Array, grid: Array, form: Form) -> Array:
    """Return ln(t/t₁) (g, c) at sizes x (c,)."""
    if form == "power":
        slope: Array = -grid * np.log(x)
        return slope
    sigma, kappa = (*grid.T[:, :, None], 0.0)[:2]
    found: Array = np.log((1 + sigma * (x - 1) + kappa * x * np.maximum(x - 1, 0)) / x)
    return found


class GridAxis(NamedTuple):
    """Values of one parameter and the prior measure of each."""

    values: Array
    measure: Array


@functools.cache
def _axes(form: Form, largest: float) -> tuple[GridAxis, ...]:
    if form == "power":
        return (GridAxis(np.linspace(-0.3, 1.3, 81), np.ones(81)),)
    # values below the least change the time at the largest size by less than can be measured
    points = 120 if form == "amdahl" else 40
    sigma = np.geomspace(1e-2 / largest, 1.0, points)
    kappa = np.geomspace(1e-3 / largest**2, 0.3, 30)
    return tuple(_sqrt_axis(values) for values in (sigma, kappa)[: len(PARAMETERS[form])])


def _sqrt_axis(values: Array) -> GridAxis:
    # the measure of a cell in √v, up to a factor; all mass below the least value is put at 0
    measure = np.sqrt(values) * np.log(values[1] / values[0])
    return GridAxis(np.append(0.0, values), np.append(2 * np.sqrt(values[0]), measure))


def _refined(axis: GridAxis, law: UslLaw, index: int, points: int = 33) -> GridAxis:
    values = axis.values
    mass = np.array([law.weights[law.grid[:, index] == v].sum() for v in values])
    kept = np.flatnonzero(mass > 1e-4 * mass.max())
    low, high = values[max(kept[0] - 1, 0)], values[min(kept[-1] + 1, len(values) - 1)]
    if law.form == "power":
        return GridAxis(np.linspace(low, high, 4 * points), np.ones(4 * points))
    return GridAxis(np.linspace(np.sqrt(low), np.sqrt(high), points) ** 2, np.ones(points))
