"""The priors of the α–β law and of the critical batch, learnt from families of published runs.

Each family (round, submitter, task, accelerator) is fitted with the current prior; mean and
variance of the fitted parameters are the next prior (empirical Bayes). Half of the variance between
families is attributed to the task, so that families of one task inform each other more. A family
never informs its own prior.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from wattlaw.laws.samples import UNKNOWN_TASK, fit_samples
from wattlaw.laws.scaling import PARAMETERS, Points, fit_scaling
from wattlaw.laws.statistics.arrays import Array

START = np.log(
    [
        [0.01, 3.3],
        [0.005, 4.5],
        [0.01, 4.5],
        [0.001, 4.5],
        [0.1, 2.0],
        [0.03, 2.7],
        [1e-4, 7.4],
        [0.67, 1.6],
    ]
)
"""Initial prior (8, 2) of ln of PARAMETERS, from properties of hardware.

The constant part of a step and an all-reduce take some 10 ms, a hop 1 ms, each within a factor
of four; overlap is small, since what overlaps is not visible; step times vary by 3 %; a
ten-thousandth of the work is serial; at the least device time per sample two thirds of it are
compute."""

TASK_SHARE = 0.5
"""Share of the variance between families that is attributed to the task."""

PRIOR_ROUNDS = ("v1.0", "v3.0", "v4.1")
"""Rounds of MLPerf Training behind the shipped table; a test of the table must not use them."""

_TASK_SPREAD = 0.3
"""Standard deviation of ln B_c between families of one task."""


class Family(NamedTuple):
    """Published runs of one group; ``samples`` are those to the target (NaN: unknown)."""

    name: tuple[str, ...]
    task: str
    points: Points
    rates: Array
    samples: Array


class FamilyEstimate(NamedTuple):
    """The estimates of one family.

    mean, variance   of the standardised parameters (8,)
    critical         mean and standard deviation of ln of the critical batch; None if unknown
    """

    task: str
    mean: Array
    variance: Array
    critical: tuple[float, float] | None


class PriorPool(NamedTuple):
    """The general prior (8, 2), and the estimates of the families behind it."""

    general: Array
    lessons: dict[tuple[str, ...], FamilyEstimate]

    def prior(self, task: str, without: Collection[tuple[str, ...]] = ()) -> Array:
        """Return the prior (8, 2) of the α–β law of a task, without the families in ``without``."""
        return _shifted(self.general, self._siblings(task, without))

    def critical(
        self, task: str, without: Collection[tuple[str, ...]] = ()
    ) -> tuple[float, float] | None:
        """Return mean and sd of ln B_c of a task, without the families in ``without``.

        None if no family of the task gives an estimate.
        """
        siblings = self._siblings(task, without)
        return _pooled_critical([x.critical for x in siblings if x.critical])

    def _siblings(self, task: str, without: Collection[tuple[str, ...]]) -> list[FamilyEstimate]:
        pairs = self.lessons.items()
        return [found for name, found in pairs if found.task == task and name not in without]


def learn_priors(families: Sequence[Family], rounds: int = 10) -> PriorPool:
    """Return the priors of these families; each family needs two settings."""
    general = START.copy()
    estimates: dict[tuple[str, ...], FamilyEstimate] = {}
    for _ in range(rounds):
        estimates = {family.name: _estimate(family, general) for family in families}
        means = np.array([found.mean for found in estimates.values()])
        variances = np.array([found.variance for found in estimates.values()])
        centre = means.mean(axis=0)
        width = np.sqrt(means.var(axis=0) + variances.mean(axis=0))
        # estimates are kept in units of the new prior
        for name, found in estimates.items():
            mean, variance = (found.mean - centre) / width, found.variance / width**2
            estimates[name] = found._replace(mean=mean, variance=variance)
        general = np.column_stack([general[:, 0] + general[:, 1] * centre, general[:, 1] * width])
    return PriorPool(general, estimates)


def table_rows(pool: PriorPool, source: str) -> list[dict[str, str]]:
    """Return the rows of the shipped table: a task, a parameter, its ln mean and sd."""
    rows = []
    for task in ["", *sorted({found.task for found in pool.lessons.values()})]:
        count = sum(not task or found.task == task for found in pool.lessons.values())
        values = [(*pair,) for pair in pool.prior(task).tolist()]
        named = dict(zip(PARAMETERS, values, strict=True))
        critical = pool.critical(task)
        if critical:
            named["critical_batch"] = critical
        for name, (mean, spread) in named.items():
            row = {"task": task, "parameter": name, "ln_mean": f"{mean:.3f}"}
            rows.append({**row, "ln_sd": f"{spread:.3f}", "families": str(count), "source": source})
    return rows


def _estimate(family: Family, general: Array) -> FamilyEstimate:
    found = fit_scaling(family.points, family.rates, general).posterior
    mean = found.best.copy()
    variance = found.weights @ (found.draws - mean) ** 2
    # the compute share is not learnt: publishers keep their devices busy, other users may not
    mean[-1], variance[-1] = 0.0, 1.0
    return FamilyEstimate(family.task, mean, variance, _critical(family))


def _critical(family: Family) -> tuple[float, float] | None:
    known = np.isfinite(family.samples)
    batches = family.points.batches[known]
    if len(np.unique(batches)) < 2:
        return None
    law = fit_samples(batches, family.samples[known])
    logs = law.critical[0] + law.critical[1] * law.posterior.draws[:, 0]
    mean = float(law.posterior.weights @ logs)
    return mean, float(np.sqrt(law.posterior.weights @ (logs - mean) ** 2))


def _shifted(general: Array, siblings: Sequence[FamilyEstimate]) -> Array:
    if not siblings:
        return general
    # a sibling counts as far as its data, and not the prior, determine its parameters
    variances = np.array([found.variance for found in siblings])
    information = np.clip(1 - variances, 0.0, 1.0).sum(axis=0)
    rest = (1 - TASK_SHARE) / TASK_SHARE
    shift = np.sum([found.mean for found in siblings], axis=0) / (information + rest)
    spread = np.sqrt(1 - TASK_SHARE + TASK_SHARE * rest / (information + rest))
    return np.column_stack([general[:, 0] + general[:, 1] * shift, general[:, 1] * spread])


def _pooled_critical(found: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if not found:
        return None
    means, spreads = np.array(found).T
    weights = 1 / (spreads**2 + _TASK_SPREAD**2)
    # the prior of an unknown task prevents a single family from deciding alone
    total = weights.sum() + 1 / UNKNOWN_TASK[1] ** 2
    return float(weights @ means / weights.sum()), float(np.sqrt(1 / total + _TASK_SPREAD**2))
