"""What runs scatter by, and a setting that was run as its runs tell of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattlaw.analysis.families import rate_of
from wattlaw.core.factors import repeats
from wattlaw.core.run import Run
from wattlaw.laws.statistics.posterior import Noise, forecasts
from wattlaw.laws.statistics.ratios import pooled_noise
from wattlaw.laws.usl import NOISE, NU

Array = NDArray[Any]


class Ran(NamedTuple):
    """ln of the time per sample, s, of a setting that was run: middle, draws (n,) of its mean and of one more run."""

    middle: float
    of_mean: Array
    of_run: Array


def run_noise(runs: Sequence[Run]) -> Noise:
    """Return the relative noise of one run: what repeats scatter by, and a usual scale where they are few."""
    spread, df = pooled_noise([[rate_of(r) or 1.0 for r in members] for members in repeats(runs)])
    scale = math.sqrt((NU * NOISE**2 + df * spread**2) / (NU + df))
    return Noise(np.array([scale]), NU + df)


def as_run(members: Sequence[Run], noise: Noise, count: int, seed: int = 0) -> Ran:
    """Return the time of a setting from its runs, each with a rate."""
    logs = [-math.log(rate_of(r) or 1.0) for r in members]
    middle = math.fsum(logs) / len(logs)
    error = Noise(noise.scale / math.sqrt(len(logs)), noise.df)
    one, point = np.ones(1), np.array([middle])
    of_mean = forecasts(point, one, [error], count, (seed, 1))
    return Ran(middle, of_mean, of_mean + forecasts(np.zeros(1), one, [noise], count, (seed, 2)))
