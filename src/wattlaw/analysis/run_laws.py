"""The α–β scaling law fitted to a group of runs, with the prior of its task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wattlaw.analysis.groups import batch_of, rate_of
from wattlaw.core.errors import FitError
from wattlaw.core.factors import repeats
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import derive
from wattlaw.core.run import Run
from wattlaw.laws.priors import shipped_critical, shipped_prior
from wattlaw.laws.samples import SamplesLaw, fit_samples
from wattlaw.laws.scaling import PARAMETERS, Points, ScalingLaw, fit_scaling
from wattlaw.laws.statistics.arrays import Array
from wattlaw.laws.statistics.posterior import NU, Noise, predictive_draws, weighted_interval
from wattlaw.laws.statistics.ratios import pooled_noise
from wattlaw.laws.usl import NOISE

SPREAD_KNOWN = 0.2
"""Standard deviation of ln of a spread of step times that was measured: some 25 steps tell it so well."""


def fit_scaling_to_runs(
    runs: list[Run], step_spread: float = 0.0, prior: Array | None = None
) -> tuple[ScalingLaw, Points, list[float]]:
    """Fit the law to every run with a rate and a batch; return it with the runs' points and rates.

    ``step_spread`` is the relative spread of one device's step times, where it was measured; 0 leaves it to the prior.
    ``prior`` (8, 2) stands for the one that ships. Raises FitError where fewer than two settings give both.
    """
    rows = [
        (r.setting.devices, batch, r.setting.nodes, rate)
        for r in runs
        if (rate := rate_of(r)) and (batch := batch_of(r))
    ]
    if not rows:
        raise FitError(
            "no run gives both a rate and a batch; alpha-beta needs samples_per_s and batch_per_device"
        )
    devices, batches, nodes, rates = (list(column) for column in zip(*rows, strict=True))
    points = Points.of(devices, batches, nodes)
    prior = shipped_prior(runs[0].setting.workload) if prior is None else prior.copy()
    if step_spread:
        prior[PARAMETERS.index("spread")] = np.log(step_spread), SPREAD_KNOWN
    return fit_scaling(points, rates, prior), points, list(rates)


class MeasuredTime(NamedTuple):
    """ln of the time per sample, s, of a setting that was run: middle, draws (n,) of its mean and of one more run."""

    middle: float
    of_mean: Array
    of_run: Array


def run_noise(runs: Sequence[Run]) -> Noise:
    """Return the relative noise of one run: what repeats scatter by, and a usual scale where they are few."""
    spread, df = pooled_noise([[rate_of(r) or 1.0 for r in members] for members in repeats(runs)])
    scale = math.sqrt((NU * NOISE**2 + df * spread**2) / (NU + df))
    return Noise(np.array([scale]), NU + df)


def measured_time(members: Sequence[Run], noise: Noise, count: int, seed: int = 0) -> MeasuredTime:
    """Return the time of a setting from its runs, each with a rate."""
    logs = [-math.log(rate_of(r) or 1.0) for r in members]
    middle = math.fsum(logs) / len(logs)
    error = Noise(noise.scale / math.sqrt(len(logs)), noise.df)
    one, point = np.ones(1), np.array([middle])
    of_mean = predictive_draws(point, one, [error], count, (seed, 1))
    return MeasuredTime(
        middle, of_mean, of_mean + predictive_draws(np.zeros(1), one, [noise], count, (seed, 2))
    )


POWER_SLOPE = 0.05
"""Standard deviation of the prior of b: devices draw a few percent less or more with each e-fold of their number."""

POWER_NOISE = 0.03
"""Scale of the relative noise of a run's mean power: meters, temperature, and boards that differ."""


class DevicePower(NamedTuple):
    """ln of a device's mean power in W: most probable (level, slope) around ``centre``, their covariance, the noise."""

    centre: float
    best: Array
    covariance: Array
    noise: float
    df: float

    def forecast(
        self, devices: float, count: int, of_run: bool = True, seed: int = 5
    ) -> tuple[float, Array]:
        """Return ln W at so many devices: the middle, and equally likely draws (count,), of one more run or the mean.

        Draws of all numbers of devices belong together.
        """
        x = np.array([1.0, np.log(devices) - self.centre])
        middle, variance = (
            float(x @ self.best),
            float(x @ self.covariance @ x) + of_run * self.noise**2,
        )
        draws = predictive_draws(
            np.array([middle]), np.ones(1), [Noise(np.array([variance**0.5]), self.df)], count, seed
        )
        return middle, draws


def fit_device_power(runs: Sequence[Run]) -> DevicePower | None:
    """Fit to runs; None unless every one measured its GPUs' power or energy."""
    powers = [measured_device_power(run) for run in runs]
    known = [p for p in powers if p is not None]
    if not known or len(known) < len(powers):
        return None
    x, y = np.log([run.setting.devices for run in runs]), np.log(known)
    centre = float(x.mean())
    design = np.column_stack([np.ones_like(x), x - centre])
    # ridge in units of the noise: the slope has a prior, the level none
    inverse = np.linalg.inv(design.T @ design / POWER_NOISE**2 + np.diag([0.0, 1 / POWER_SLOPE**2]))
    best = inverse @ (design.T @ y) / POWER_NOISE**2
    squares = float(((y - design @ best) ** 2).sum())
    df = NU + len(y) - 1
    noise = ((NU * POWER_NOISE**2 + squares) / df) ** 0.5
    return DevicePower(centre, best, inverse * max(1.0, noise / POWER_NOISE) ** 2, noise, df)


_LEAST_W, _MOST_W = 1e-3, 1e6
"""What one device draws, be it a chip or a rack; anything else is no power."""


def measured_device_power(run: Run) -> float | None:
    """Return the measured mean power of one device of a run, W; None where nothing measured one that a device draws."""
    watts = _device_power(run)
    return watts if watts is not None and _LEAST_W <= watts <= _MOST_W else None


def _device_power(run: Run) -> float | None:
    reading = derive(run, "gpu_mean_power_w")
    if reading.value is not None and reading.status == "measured":
        return reading.value / run.setting.devices
    joules, seconds = derive(run, "gpu_energy_j"), derive(run, "elapsed_s").value
    if joules.value is None or joules.status != "measured" or not seconds:
        return None
    return joules.value / seconds / run.setting.devices


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
    told = predictive_draws(found[:, 0], law.posterior.weights, law.posterior.noise, draws, seed=5)
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
        found.append(weighted_interval(logs, equal, value, noise if of_a_run else ()))
    return found
