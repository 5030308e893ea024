"""What families of published runs teach one another: the prior of the scaling law and of the critical batch.

Each family (round, submitter, task, accelerator) is fitted with the prior so far; the mean and variance of
the parameters found are the next prior (empirical Bayes). Half of the variance between families is taken to
belong to the task, so families of one task inform each other more. A family never informs its own prior.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

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
"""A first guess from hardware: steps pay some 10 ms, an all-reduce as much, a hop 1 ms, each within a factor of four;
little overlap (what overlaps does not show); step times spread by 3 %, a ten-thousandth of the work is serial; where a
sample costs least device-time two thirds of that are compute."""

TASK_SHARE = 0.5
"""Share of the variance between families that belongs to the task."""

PRIOR_ROUNDS = ("v1.0", "v3.0", "v4.1")
"""Rounds of MLPerf Training whose families taught the table that ships; a test of it must not use them."""

_TASK_SPREAD = 0.3
"""Standard deviation of ln B_c between families of one task."""


class Family(NamedTuple):
    """Published runs of one group: settings, rates in samples per s, and samples to the target (NaN: unknown)."""

    name: tuple[str, ...]
    task: str
    points: Points
    rates: Array
    samples: Array


class FamilyEstimate(NamedTuple):
    """What one family taught: standardised parameters (mean, variance) and ln of its critical batch."""

    task: str
    mean: Array
    variance: Array
    critical: tuple[float, float] | None


class PriorPool(NamedTuple):
    """A prior and the lessons behind it."""

    general: Array
    lessons: dict[tuple[str, ...], FamilyEstimate]

    def prior(self, task: str, without: Collection[tuple[str, ...]] = ()) -> Array:
        """Return the prior (8, 2) of a task's scaling law, not counting the families in ``without``."""
        siblings = [x for name, x in self.lessons.items() if x.task == task and name not in without]
        return _shifted(self.general, siblings)

    def critical(
        self, task: str, without: Collection[tuple[str, ...]] = ()
    ) -> tuple[float, float] | None:
        """Return what a task's other families say of ln B_c: mean and standard deviation; None where nothing."""
        found = [
            x.critical
            for name, x in self.lessons.items()
            if x.task == task and x.critical and name not in without
        ]
        return _joined(found)


def learn_priors(families: Sequence[Family], rounds: int = 10) -> PriorPool:
    """Return the pool that these families teach; each needs two settings."""
    general, lessons = START.copy(), {}
    for _ in range(rounds):
        lessons = {f.name: _lesson(f, general) for f in families}
        means = np.array([x.mean for x in lessons.values()])
        wide = np.sqrt(means.var(axis=0) + np.mean([x.variance for x in lessons.values()], axis=0))
        centre = means.mean(axis=0)
        # the lessons are kept in units of the new prior
        lessons = {
            n: x._replace(mean=(x.mean - centre) / wide, variance=x.variance / wide**2)
            for n, x in lessons.items()
        }
        general = np.column_stack([general[:, 0] + general[:, 1] * centre, general[:, 1] * wide])
    return PriorPool(general, lessons)


def shipped_prior(task: str = "") -> Array:
    """Return the prior (8, 2) for a task from the table that ships; the general one for an unknown task."""
    table = _table()
    rows = table.get(task) or table[""]
    return np.array([rows[name] for name in PARAMETERS])


def shipped_critical(task: str) -> tuple[float, float] | None:
    """Return what the shipped table says of a task's ln B_c; None where it says nothing."""
    return _table().get(task, {}).get("critical_batch")


def table_rows(pool: PriorPool, source: str) -> list[dict[str, str]]:
    """Return the rows of the table that ships: one a task and parameter, mean and standard deviation of its ln."""
    rows = []
    for task in ["", *sorted({x.task for x in pool.lessons.values()})]:
        count = sum(not task or x.task == task for x in pool.lessons.values())
        values: Mapping[str, Any] = dict(zip(PARAMETERS, pool.prior(task).tolist(), strict=True))
        critical = pool.critical(task)
        if critical:
            values = {**values, "critical_batch": critical}
        for name, (mean, spread) in values.items():
            rows.append(
                {"task": task, "parameter": name, "ln_mean": f"{mean:.3f}", "ln_sd": f"{spread:.3f}",
                 "families": str(count), "source": source}
            )  # fmt: skip
    return rows


def _lesson(family: Family, general: Array) -> FamilyEstimate:
    found = fit_scaling(family.points, family.rates, general).posterior
    mean = found.best.copy()
    variance = found.weights @ (found.draws - mean) ** 2
    # not learnt: those who publish keep their devices busy, others may not
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
    # each sibling counts as far as its data, not the prior, placed its parameters
    told = np.clip(1 - np.array([x.variance for x in siblings]), 0.0, 1.0).sum(axis=0)
    rest = (1 - TASK_SHARE) / TASK_SHARE
    shift = np.sum([x.mean for x in siblings], axis=0) / (told + rest)
    spread = np.sqrt(1 - TASK_SHARE + TASK_SHARE * rest / (told + rest))
    return np.column_stack([general[:, 0] + general[:, 1] * shift, general[:, 1] * spread])


def _joined(found: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if not found:
        return None
    means, spreads = np.array(found).T
    weights = 1 / (spreads**2 + _TASK_SPREAD**2)
    # a weak opinion from elsewhere keeps one family from deciding alone
    width = UNKNOWN_TASK[1]
    total = weights.sum() + 1 / width**2
    return float(weights @ means / weights.sum()), float(np.sqrt(1 / total + _TASK_SPREAD**2))


@functools.cache
def _table() -> dict[str, dict[str, tuple[float, float]]]:
    found: dict[str, dict[str, tuple[float, float]]] = {}
    text = (resources.files("wattlaw.laws") / "scaling_prior.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["task"], {})[row["parameter"]] = (
            float(row["ln_mean"]),
            float(row["ln_sd"]),
        )
    return found
