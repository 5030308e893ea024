"""Time to a target: samples needed ÷ rate, each with its own law, the uncertainty of both carried through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlaw.analysis.families import batch_of
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.run import Run
from wattlaw.laws.priors import shipped_critical
from wattlaw.laws.samples import Array, SamplesLaw, fit_samples
from wattlaw.laws.scaling import Points, ScalingLaw
from wattlaw.laws.statistics.posterior import Noise, forecasts, interval_of


def samples_to_target(runs: Sequence[Run], batch: float, draws: int) -> tuple[float, Array]:
    """Return ln of the samples that one more run needs to the runs' target at a global batch: median and draws (n,).

    Runs that did not reach it tell nothing. Raises FitError where none did, or their targets differ.
    """
    rows = [
        (b, s, r) for r in runs if (b := batch_of(r)) and (s := r.reading("target_samples").value)
    ]
    if not rows:
        raise FitError(
            "no run reached a target; give the runs one, as in stop = { target = … }, or say how many samples"
        )
    if len({r.setting.stop.target for _, _, r in rows}) > 1:
        raise FitError("the runs have different targets; predict from those of one")
    law = fit_samples(
        [b for b, _, _ in rows],
        [s for _, s, _ in rows],
        shipped_critical(rows[0][2].setting.workload),
    )
    middle, found = law.log_samples([batch])
    told = forecasts(found[:, 0], law.posterior.weights, law.posterior.noise, draws, seed=5)
    return float(middle[0]), np.random.default_rng(5).permutation(told)


def time_to_target(
    rate: ScalingLaw, samples: SamplesLaw, points: Points, of_a_run: bool = True
) -> list[Interval]:
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
