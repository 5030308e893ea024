"""The expected saving from one more run before a choice.

Expected value of sample information (Raiffa & Schlaifer 1961): a choice now costs min_j E[c_j]; a
choice after run i has measured y_i costs E[min_j E[c_j | y_i]]. The inner expectations are
regressions of draws of the cost of each option on draws of the measurement (Strong, Oakley &
Brennan 2014), here on Legendre polynomials of its rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import legendre

from wattlaw.laws.statistics.arrays import Array

DEGREE = 4
"""Degree of the polynomials: enough for a constraint that holds up to some value and not above."""

FAR = 4.0
"""An option that costs more than the best by this many standard deviations is never chosen."""


def costs_with_fallback(costs: Array, holds: Array, fallback: int) -> Array:
    """Return the costs (k, n), with the fallback's where a constraint is broken."""
    found: Array = np.where(holds, costs, costs[fallback])
    return found


def expected_savings(losses: Array, shown: Sequence[Sequence[Array]], open_now: Array) -> Array:
    """Return for each option the share of the cost (k,) that a run of it is expected to save.

    losses    (k, n): cost of each option in each of n equally likely draws
    shown     for each option the quantities, each (n,), that its run would measure in these draws
    open_now  (k,) whether the option may be chosen without having been run
    """
    now = float(losses[open_now].mean(axis=1).min())
    rivals = _rivals(losses, open_now)
    savings = []
    for i, measured in enumerate(shown):
        after = _cost_after(losses[rivals | _only(i, len(losses))], measured)
        savings.append(max(0.0, 1 - after / now))
    return np.array(savings)


def _rivals(losses: Array, open_now: Array) -> Array:
    # an option that costs far more than the best is never chosen, whatever a run measures
    best = int(np.flatnonzero(open_now)[np.argmin(losses[open_now].mean(axis=1))])
    gap = losses - losses[best]
    found: Array = open_now & (gap.mean(axis=1) <= FAR * gap.std(axis=1))
    return found | _only(best, len(losses))


def _only(index: int, count: int) -> Array:
    found: Array = np.arange(count) == index
    return found


def _cost_after(losses: Array, shown: Sequence[Array]) -> float:
    # the columns are orthonormal, so that the projection on them is the regression
    columns = [legendre.legvander(_ranks(values), DEGREE)[:, 1:] for values in shown]
    basis, _ = np.linalg.qr(np.column_stack([np.ones(losses.shape[1]), *columns]))
    expected = (losses @ basis) @ basis.T
    return float(expected.min(axis=0).mean())


def _ranks(values: Array) -> Array:
    # evenly spaced from −1 to 1, the domain of Legendre polynomials
    ranks = np.empty(len(values))
    ranks[np.argsort(values)] = np.linspace(-1, 1, len(values))
    return ranks
