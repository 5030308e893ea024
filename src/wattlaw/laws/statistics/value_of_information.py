"""What is one more run worth? The saving that the choice after it is expected to bring.

Expected value of sample information (Raiffa & Schlaifer 1961): choosing now costs min_j E[c_j]; choosing after run i
has shown y_i costs E[min_j E[c_j | y_i]]. The inner expectations are regressions of draws of each option's cost on
what the run would show in the same draws (Strong, Oakley & Brennan 2014), here on Legendre polynomials of its rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import legendre

from wattlaw.laws.statistics.arrays import Array

DEGREE = 4
"""Degree of the polynomials: enough for a bound that holds up to some value and not above."""

_NEVER = 4.0
"""An option that is dearer than the best by so many standard deviations of their difference is never chosen."""


def costs_with_fallback(costs: Array, holds: Array, fallback: int) -> Array:
    """Return what each option costs in each draw (k, n): who finds a bound broken goes back to the fallback."""
    found: Array = np.where(holds, costs, costs[fallback])
    return found


def expected_savings(losses: Array, shown: Sequence[Sequence[Array]], open_now: Array) -> Array:
    """Return for a run of each option the share of the cost that is expected to be saved by choosing after it, (k,).

    losses    (k, n): what each option costs in each of n equally likely draws
    shown     for each option the quantities, each (n,), that its run would measure in these draws
    open_now  (k,) whether it may be chosen without having been run
    """
    now = float(losses[open_now].mean(axis=1).min())
    rivals = _rivals(losses, open_now)
    after = (_after(losses[rivals | _only(i, len(losses))], each) for i, each in enumerate(shown))
    return np.array([max(0.0, 1 - each / now) for each in after])


def _rivals(losses: Array, open_now: Array) -> Array:
    # what is dearer than the best by far more than the two may differ is never chosen, whatever a run shows
    best = int(np.flatnonzero(open_now)[np.argmin(losses[open_now].mean(axis=1))])
    gap = losses - losses[best]
    found: Array = open_now & (gap.mean(axis=1) <= _NEVER * gap.std(axis=1))
    return found | _only(best, len(losses))


def _only(index: int, count: int) -> Array:
    found: Array = np.arange(count) == index
    return found


def _after(losses: Array, shown: Sequence[Array]) -> float:
    # a projection on the polynomials is the regression, since their columns are made orthonormal
    columns = [legendre.legvander(_ranks(values), DEGREE)[:, 1:] for values in shown]
    basis, _ = np.linalg.qr(np.column_stack([np.ones(losses.shape[1]), *columns]))
    expected = (losses @ basis) @ basis.T
    return float(expected.min(axis=0).mean())


def _ranks(values: Array) -> Array:
    # evenly from −1 to 1, where Legendre polynomials are at home
    ranks = np.empty(len(values))
    ranks[np.argsort(values)] = np.linspace(-1, 1, len(values))
    return ranks
