"""Bayes for laws with few points: the most probable parameters, and weighted draws around them.

Parameters are standardised: each has a normal prior with mean 0 and standard deviation 1, or a flat
one. Noise is relative and of unknown scale: a block of m residuals r (differences of logarithms)
has the marginal log likelihood −(ν+m)/2·ln(ν·s² + Σr²), a multivariate Student t of scale s, so
that a noisy curve has less influence than a quiet one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats
from scipy.stats import qmc

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.statistics.arrays import Array

Residuals = Callable[[Array], Sequence[Array]]
"""Maps parameter sets of shape (n, k) to blocks of residuals, each of shape (n, m)."""

NU = 3.0
"""Degrees of freedom of the noise scale: how freely the noise of one curve may differ from it."""

_TAILS = 5.0
"""Degrees of freedom of the proposal distribution."""


class Noise(NamedTuple):
    """Relative noise of one more measurement: for each draw a Student t of its own scale (n,)."""

    scale: Array
    df: float


class Posterior(NamedTuple):
    """The posterior of k parameters.

    best            the most probable parameters (k,)
    draws, weights  draws (n, k) and their weights (n,), which sum to 1
    noise           of each block of residuals
    """

    best: Array
    draws: Array
    weights: Array
    noise: tuple[Noise, ...]

    def equal_draws(self, count: int = 512, seed: int = 0) -> Array:
        """Return indices (count,) of equally likely draws in random order."""
        found: Array = np.random.default_rng(seed).permutation(_even_draws(self.weights, count))
        return found


def fit_posterior(
    residuals: Residuals,
    scales: Sequence[float],
    starts: Sequence[Sequence[float]],
    free: Sequence[int] = (),
    draws: int = 1024,
) -> Posterior:
    """Return the posterior of the parameters.

    scales   noise scale s of each block of residuals, in natural logarithm
    starts   parameters (k,) at which the optimiser starts; the best result is used
    free     indices of parameters with a flat prior
    Raises FitError if no start leads to a finite likelihood.
    """
    penalty = np.ones(len(starts[0]))
    penalty[list(free)] = 0.0
    problem = _Problem(residuals, tuple(scales), penalty)
    ends = [_climb(problem, np.array(start, float)) for start in starts]
    best, curvature = min(ends, key=lambda end: float(problem.cost(end[0][None])[0]))
    if not np.isfinite(problem.cost(best[None])[0]):
        raise FitError("the law does not fit these points")
    centre, spread = best, np.linalg.cholesky(np.linalg.inv(curvature))
    near, weights = _sampled(problem, centre, 1.2 * spread, draws)
    # if the posterior is not normal, its own mean and covariance give a better proposal
    for _ in range(4):
        centre = weights @ near
        away = near - centre
        spread = np.linalg.cholesky((weights * away.T) @ away + 1e-6 * np.eye(len(best)))
        near, weights = _sampled(problem, centre, 1.2 * spread, draws)
    return Posterior(best, near, weights, _noise(problem, near))


def _sampled(problem: _Problem, centre: Array, spread: Array, count: int) -> tuple[Array, Array]:
    # draws from a multivariate t, which has heavy tails, and their importance weights
    k = len(centre)
    normal, stretch = _normals(k, count), _stretches(count)
    draws = centre + (normal * stretch[:, None]) @ spread.T
    squared = (normal**2).sum(1) * stretch**2
    log_weight = -problem.cost(draws) + 0.5 * (_TAILS + k) * np.log1p(squared / _TAILS)
    return draws, _truncated(log_weight)


def quantiles(values: Array, weights: Array, points: Sequence[float]) -> list[float]:
    """Return weighted quantiles of values (n,)."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - 0.5 * weights[order]
    return [float(np.interp(p, reached, values[order])) for p in points]


def weighted_interval(
    values: Array, weights: Array, value: float, noise: Sequence[Noise] = (), level: float = 0.9
) -> Interval:
    """Return the interval of exp(values), widened by independent noises, around ``value``."""
    if noise:
        df, scale = _combined(noise)
        grid = special.stdtrit(df, (np.arange(32) + 0.5) / 32)
        values = (values[:, None] + scale[:, None] * grid).ravel()
        weights = np.repeat(weights / 32, 32)
    low, high = quantiles(values, weights, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(value, min(float(np.exp(low)), value), max(float(np.exp(high)), value))


def draws_interval(value: float, draws: Array) -> Interval:
    """Return a value with the central 90 % of equally likely draws (n,)."""
    low, high = np.quantile(draws, [0.05, 0.95]).tolist()
    return Interval(value, min(low, value), max(high, value))


def predictive_draws(
    values: Array, weights: Array, noise: Sequence[Noise], count: int, seed: int | Sequence[int] = 0
) -> Array:
    """Return equally likely draws (count,) of one more measurement.

    ``values`` (n,) are weighted draws of what is measured. For the same weights and count, draw i
    comes from the same element of ``values`` whatever the seed.
    """
    rng = np.random.default_rng(seed)
    index = _even_draws(weights, count)
    found = values[index]
    for each in noise:
        found = found + each.scale[index] * rng.permutation(_even_t(float(each.df), count))
    return found


def log_density(values: Array, weights: Array, noise: Sequence[Noise], at: float) -> float:
    """Return ln of the density at ``at`` of one more measurement."""
    df, scale = _combined(noise)
    density = np.exp(stats.t.logpdf((at - values) / scale, df)) / scale
    return float(np.log(weights @ density + 1e-300))


def _combined(noise: Sequence[Noise]) -> tuple[float, Array]:
    # a sum of independent noises has the heaviest of their tails
    df = min(n.df for n in noise)
    return df, np.sqrt(sum(n.scale**2 for n in noise))


class _Problem(NamedTuple):
    residuals: Residuals
    scales: tuple[float, ...]
    penalty: Array

    def cost(self, z: Array) -> Array:
        # minus the log posterior of each row of z (n, k)
        total = 0.5 * (self.penalty * z**2).sum(1)
        for block, scale in zip(self.residuals(z), self.scales, strict=True):
            m = block.shape[1]
            total = total + 0.5 * (NU + m) * np.log(1 + (block**2).sum(1) / (NU * scale**2))
        return np.where(np.isfinite(total), total, np.inf)


def _even_draws(weights: Array, count: int) -> Array:
    # indices of equally likely draws
    index = np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count * (1 - 1e-12))
    found: Array = np.minimum(index, len(weights) - 1)
    return found


def _noise(problem: _Problem, draws: Array) -> tuple[Noise, ...]:
    found = []
    for block, scale in zip(problem.residuals(draws), problem.scales, strict=True):
        df = NU + block.shape[1]
        found.append(Noise(np.sqrt((NU * scale**2 + (block**2).sum(1)) / df), df))
    return tuple(found)


def _climb(problem: _Problem, z: Array, steps: int = 60) -> tuple[Array, Array]:
    # Levenberg–Marquardt on the reweighted least squares; one batched call gives all derivatives
    damping, cost = 1e-2, float(problem.cost(z[None])[0])
    gradient, curvature = _slopes(problem, z)
    for _ in range(steps):
        step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature) + 1e-6), gradient)
        trial = z + np.clip(step, -2.0, 2.0)
        trial_cost = float(problem.cost(trial[None])[0])
        if trial_cost < cost:
            done = cost - trial_cost < 1e-7 * (1 + abs(cost))
            z, cost, damping = trial, trial_cost, max(damping / 4, 1e-9)
            if done:
                break
            gradient, curvature = _slopes(problem, z)
        elif damping > 1e8:
            break
        else:
            damping *= 6
    return z, _slopes(problem, z)[1]


def _slopes(problem: _Problem, z: Array, h: float = 1e-4) -> tuple[Array, Array]:
    k = len(z)
    near = np.vstack([z, z + h * np.eye(k), z - h * np.eye(k)])
    gradient, curvature = problem.penalty * z, np.diag(problem.penalty + 1e-9)
    for block, scale in zip(problem.residuals(near), problem.scales, strict=True):
        m, here = block.shape[1], block[0]
        slope = (block[1 : k + 1] - block[k + 1 :]).T / (2 * h)
        weight = (NU + m) / (NU * scale**2 + float((here**2).sum()))
        gradient = gradient + weight * slope.T @ here
        curvature = curvature + weight * slope.T @ slope
    return gradient, curvature


@functools.cache
def _even_t(df: float, count: int) -> Array:
    # equally likely values of Student's t, ascending
    found: Array = special.stdtrit(df, (np.arange(count) + 0.5) / count)
    return found


@functools.cache
def _normals(size: int, count: int) -> Array:
    # quasi-random and seeded, so that the same observations always give the same result
    uniform = qmc.Sobol(size, scramble=True, seed=20).random(count)
    found: Array = special.ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
    return found


@functools.cache
def _stretches(count: int) -> Array:
    uniform = np.random.default_rng(20).permutation((np.arange(count) + 0.5) / count)
    found: Array = np.sqrt(_TAILS / special.chdtri(_TAILS, uniform))
    return found


def _truncated(log_weight: Array) -> Array:
    # the largest weights are truncated to √n times the mean (Ionides 2008)
    weight = np.exp(log_weight - log_weight.max())
    weight = np.minimum(weight, weight.mean() * np.sqrt(len(weight)))
    found: Array = weight / weight.sum()
    return found
