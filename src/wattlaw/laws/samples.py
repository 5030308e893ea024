"""The number of samples to a target against the global batch: S = S₀·(1 + B/B_c).

The critical batch B_c (McCandlish et al. 2018) is a property of the task: below it a larger batch
costs no samples, above it the samples grow in proportion to the batch. Published runs of the same
task inform it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.law import Law, Observations, leave_one_out
from wattlaw.laws.scaling import shipped_critical_batch
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import (
    Posterior,
    fit_posterior,
    quantiles,
    weighted_interval,
)

NAMES = {"samples": "SamplesToTarget"}

NOISE = 0.06
"""Scale of the relative noise of samples to a target: seeds, evaluation interval."""

UNKNOWN_TASK = (2.2, 1.2)
"""Mean and standard deviation of ln(B_c / smallest batch tried) for an unknown task."""


class SamplesLaw(NamedTuple):
    """The law of one task; ``critical`` is the prior (mean, standard deviation) of ln B_c."""

    critical: tuple[float, float]
    posterior: Posterior

    def log_samples(self, batches: ArrayLike) -> tuple[Array, Array]:
        """Return ln of the samples to the target: median (c,) and every draw (n, c)."""
        b = np.atleast_1d(np.asarray(batches, float))
        draws = _log_samples(self.posterior.draws, b, self.critical)
        medians = [quantiles(column, self.posterior.weights, [0.5])[0] for column in draws.T]
        return np.array(medians), draws

    def samples(self, batch: float, of_a_run: bool = False) -> Interval:
        """Return the samples to the target at one global batch with their 90 % interval."""
        (middle,), draws = self.log_samples([batch])
        noise = self.posterior.noise if of_a_run else ()
        value = float(np.exp(middle))
        return weighted_interval(draws[:, 0], self.posterior.weights, value, noise)

    def critical_batch(self) -> Interval:
        """Return B_c in samples with its 90 % interval."""
        logs = self.critical[0] + self.critical[1] * self.posterior.draws[:, 0]
        weights = self.posterior.weights
        return weighted_interval(logs, weights, float(np.exp(weights @ logs)))


_BATCHES = np.repeat([256.0, 1024.0, 4096.0, 16384.0], 2)


@dataclass(frozen=True, eq=False)
class SamplesToTarget(Law):
    """The samples that a run needs to its target, against its global batch."""

    law: SamplesLaw

    over: ClassVar = ("batch_per_device", "devices")
    targets: ClassVar = ("target_samples",)
    covariates: ClassVar = {"target_samples": ("global_batch",)}
    varied: ClassVar = ("devices", "batch_per_device")
    example: ClassVar = Observations(
        "batch_per_device",
        "target_samples",
        _BATCHES,
        2e6 * (1 + _BATCHES / 8000),
        {"global_batch": _BATCHES},
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law to two or more global batches; see ``fit_samples``."""
        batches = observations.covariates["global_batch"]
        count = len(np.unique(batches))
        if count < 2:
            raise FitError(f"a samples law needs two global batches; there are {count}")
        critical = shipped_critical_batch(observations.task)
        return cls(fit_samples(batches, observations.y, critical))

    def parameters(self) -> dict[str, Interval]:
        """Return the critical batch, and the samples to the target with a small batch."""
        return {"critical_batch": self.law.critical_batch(), "samples_0": self.law.samples(0.0)}

    def predict(self, points: Observations) -> Array:
        """Return the posterior median of the samples to the target."""
        found: Array = np.exp(self.law.log_samples(points.covariates["global_batch"])[0])
        return found

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the samples to the target with 90 % intervals."""
        batches = points.covariates["global_batch"].tolist()
        return [self.law.samples(batch, of_a_run) for batch in batches]

    @classmethod
    def held_out_error(cls, observations: Observations) -> float | None:
        """Return the median error of interior values, each predicted from the others."""
        return leave_one_out(cls, observations, 4)

    def grid(self, observations: Observations) -> Observations:
        """Return the batches that were run."""
        _, first = np.unique(observations.covariates["global_batch"], return_index=True)
        return observations.at(first)


def fit_samples(
    batches: ArrayLike,
    samples: ArrayLike,
    critical: tuple[float, float] | None = None,
    noise: float = NOISE,
) -> SamplesLaw:
    """Fit the law to the samples to a target at one or more global batches.

    ``critical`` is the prior (mean, standard deviation) of ln B_c. Raises FitError for numbers that
    are not positive and finite.
    """
    b, s = positive("batch", batches), positive("number of samples", samples)
    if b.shape != s.shape or not len(b):
        raise FitError("batches and samples differ in length or are empty")
    prior = critical or (float(np.log(b.min())) + UNKNOWN_TASK[0], UNKNOWN_TASK[1])
    start = float(np.log(s).mean() - np.log1p(np.exp(np.log(b).mean() - prior[0])))

    def residuals(z: Array) -> Sequence[Array]:
        return [_log_samples(z, b, prior) - np.log(s)]

    return SamplesLaw(prior, fit_posterior(residuals, [noise], [[0.0, start]], free=[1]))


def _log_samples(z: Array, batches: Array, critical: tuple[float, float]) -> Array:
    log_critical = critical[0] + critical[1] * z[:, :1]
    found: Array = z[:, 1:2] + np.log1p(batches * np.exp(-log_critical))
    return found
