"""Time to a target: samples needed ÷ rate, the uncertainty of both carried through."""

from __future__ import annotations

import numpy as np

from wattlaw.core.findings import Interval
from wattlaw.laws.posterior import Noise, interval_of
from wattlaw.laws.samples import SamplesLaw
from wattlaw.laws.scaling import Points, ScalingLaw


def time_to_target(rate: ScalingLaw, samples: SamplesLaw, points: Points, of_a_run: bool = True) -> list[Interval]:
    """Return the time, s, to reach the target at each point with 90 % intervals."""
    rate_middle, rate_draws = rate.log_rate(points)
    need_middle, need_draws = samples.log_samples(points.batches)
    of_need, of_rate = samples.posterior.picked(seed=1), rate.posterior.picked(seed=2)
    equal = np.full(len(of_rate), 1 / len(of_rate))
    found = []
    for i, noises in enumerate(rate.noises(points)):
        noise = [Noise(n.scale[of_rate], n.df) for n in noises]
        noise += [Noise(n.scale[of_need], n.df) for n in samples.posterior.noise]
        logs = need_draws[of_need, i] - rate_draws[of_rate, i]
        value = float(np.exp(need_middle[i] - rate_middle[i]))
        found.append(interval_of(logs, equal, value, noise if of_a_run else ()))
    return found
