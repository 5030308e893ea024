"""How many samples a target needs against the global batch: S = S₀·(1 + B/B_c).

The critical batch B_c (McCandlish et al. 2018) belongs to the task: below it a larger batch costs no
samples, above it samples grow in proportion. A task that others have trained informs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Posterior, fit_posterior, quantiles, weighted_interval

NOISE = 0.06
"""Scale of the relative noise of samples to a target: seeds, and the distance between evaluations."""

UNKNOWN_TASK = (2.2, 1.2)
"""Mean and standard deviation of ln(B_c / smallest batch tried) where nothing is known of the task."""


class SamplesLaw(NamedTuple):
    """The law of one task: ``critical`` is the prior (mean, standard deviation) of ln B_c."""

    critical: tuple[float, float]
    posterior: Posterior

    def log_samples(self, batches: ArrayLike) -> tuple[Array, Array]:
        """Return ln of the samples needed: the posterior median (c,) and every draw (n, c)."""
        draws = _log_samples(
            self.posterior.draws, np.atleast_1d(np.asarray(batches, float)), self.critical
        )
        return np.array(
            [quantiles(column, self.posterior.weights, [0.5])[0] for column in draws.T]
        ), draws

    def critical_batch(self) -> Interval:
        """Return B_c in samples with its 90 % interval."""
        logs = self.critical[0] + self.critical[1] * self.posterior.draws[:, 0]
        return weighted_interval(
            logs, self.posterior.weights, float(np.exp(self.posterior.weights @ logs))
        )


def fit_samples(
    batches: ArrayLike,
    samples: ArrayLike,
    critical: tuple[float, float] | None = None,
    noise: float = NOISE,
) -> SamplesLaw:
    """Fit the law to samples needed at one or more global batches.

    ``critical`` is what is known of ln B_c beforehand. Raises FitError for numbers that are not positive
    and finite.
    """
    b, s = positive("batch", batches), positive("number of samples", samples)
    if b.shape != s.shape or not len(b):
        raise FitError("batches and samples differ in number, or there are none")
    known = critical or (float(np.log(b.min())) + UNKNOWN_TASK[0], UNKNOWN_TASK[1])
    start = float(np.log(s).mean() - np.log1p(np.exp(np.log(b).mean() - known[0])))

    def residuals(z: Array) -> Sequence[Array]:
        return [_log_samples(z, b, known) - np.log(s)]

    return SamplesLaw(known, fit_posterior(residuals, [noise], [[0.0, start]], free=[1]))


def _log_samples(z: Array, batches: Array, critical: tuple[float, float]) -> Array:
    found: Array = z[:, 1:2] + np.log1p(batches * np.exp(-(critical[0] + critical[1] * z[:, :1])))
    return found
