"""The speedup of each size against the smallest: ratios of repeated measurements, no curve.

With a fixed batch per device, a step on N devices does N times the work. If the target is the
time of a step, the speedup therefore compares the time per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.law import Law, Observations
from wattlaw.laws.statistics.arrays import Array
from wattlaw.laws.statistics.ratios import (
    bounded_exp,
    interval,
    log_ratio,
    pooled_noise,
    t_quantile,
)

NAMES = {"speedup": "Speedup"}

_STEP, _SAMPLE = "step_time_s", "time_per_sample_s"
_SPEEDS = (_SAMPLE, _STEP, "elapsed_s")
"""Targets for which a smaller value is a speedup; for any other target the ratio is reported."""


@dataclass(frozen=True, eq=False)
class Speedup(Law):
    """The repeats of each size; ratios are taken of the values in ``compared``."""

    target: str
    repeats: dict[float, Array]
    compared: dict[float, Array]

    covariates: ClassVar = {_STEP: (_SAMPLE,)}
    example: ClassVar = Observations(
        "devices",
        _SAMPLE,
        np.repeat([1.0, 2.0, 4.0], 3),
        np.repeat([1.0, 0.55, 0.3], 3) * np.tile([0.98, 1.0, 1.02], 3),
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Group the repeats of each size. Raises FitError for fewer than two sizes."""
        sizes = np.unique(observations.x)
        if len(sizes) < 2:
            raise FitError(f"a speedup needs two sizes; there are {len(sizes)}")
        compared = observations.covariates.get(_SAMPLE, observations.y)
        return cls(
            observations.target,
            {float(size): observations.y[observations.x == size] for size in sizes},
            {float(size): compared[observations.x == size] for size in sizes},
        )

    def parameters(self) -> dict[str, Interval]:
        """Return ``speedup_N`` (or ``ratio_N``) of each size; without repeats no ends."""
        noise = pooled_noise([values.tolist() for values in self.compared.values()])
        first, *others = self.compared
        smallest = self.compared[first].tolist()
        found = {}
        for size in others:
            values = self.compared[size].tolist()
            if self.target in _SPEEDS:
                found[f"speedup_{size:g}"] = interval(log_ratio(smallest, values, noise))
            else:
                found[f"ratio_{size:g}"] = interval(log_ratio(values, smallest, noise))
        return found

    def predict(self, points: Observations) -> Array:
        """Return the geometric mean at sizes that were run. Raises FitError for any other size."""
        return np.array([np.exp(np.log(self._at(size)).mean()) for size in points.x.tolist()])

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the geometric mean with the t interval of the pooled run-to-run variation."""
        spread, df = pooled_noise([values.tolist() for values in self.repeats.values()])
        found = []
        for size, value in zip(points.x.tolist(), self.predict(points).tolist(), strict=True):
            if not df:
                found.append(Interval(value))
                continue
            variance = spread**2 * (1 / len(self._at(size)) + of_a_run)
            factor = bounded_exp(t_quantile(df) * variance**0.5)
            found.append(Interval(value, value / factor, value * factor))
        return found

    @classmethod
    def held_out_error(cls, observations: Observations) -> None:
        """Return None: a speedup says nothing about sizes that were not run."""
        return

    def grid(self, observations: Observations) -> Observations:
        """Return no points: a speedup has no curve."""
        return observations.at(np.zeros(len(observations.x), bool))

    def _at(self, size: float) -> Array:
        if size not in self.repeats:
            raise FitError(f"a speedup says nothing about {size:g}, which was not run")
        return self.repeats[size]
