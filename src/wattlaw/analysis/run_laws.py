"""The laws and the variation of one group's runs, from which predictions and advice are composed.

time       the α–β law with the prior of the task, and the mean of a setting that was run
samples    to the target, against the global batch
power      mean power of one device against the number of devices
"""

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
from wattlaw.laws.samples import SamplesLaw, fit_samples
from wattlaw.laws.scaling import (
    PARAMETERS,
    Points,
    ScalingLaw,
    fit_scaling,
    shipped_critical_batch,
    shipped_prior,
)
from wattlaw.laws.statistics.arrays import Array
from wattlaw.laws.statistics.posterior import NU, Noise, predictive_draws, weighted_interval
from wattlaw.laws.statistics.ratios import pooled_noise
from wattlaw.laws.usl import NOISE

SPREAD_KNOWN = 0.2
"""Standard deviation of ln of a measured spread of step times, as about 25 steps determine it."""

POWER_SLOPE = 0.05
"""Standard deviation of the prior of the slope of ln W over ln N."""

POWER_NOISE = 0.03
"""Scale of the relative noise of a run's mean power: meters, temperature, boards."""

_MIN_W, _MAX_W = 1e-3, 1e6
"""Range of the power of one device, from a chip to a rack; any other value is an error."""


def fit_scaling_to_runs(
    runs: list[Run], step_spread: float = 0.0, prior: Array | None = None
) -> tuple[ScalingLaw, Points, list[float]]:
    """Fit the α–β law to the runs with a rate and a batch; return it with their settings and rates.

    ``step_spread`` is the measured relative spread of the step times of one device; 0 leaves it to
    the prior. ``prior`` (8, 2) replaces the shipped one. Raises FitError for fewer than two
    settings.
    """
    rows = []
    for run in runs:
        rate, batch = rate_of(run), batch_of(run)
        if rate and batch:
            rows.append((run.setting.devices, batch, run.setting.nodes, rate))
    if not rows:
        raise FitError(
            "no run has both a rate and a batch; alpha-beta needs samples_per_s and "
            "batch_per_device"
        )
    devices, batches, nodes, rates = (list(column) for column in zip(*rows, strict=True))
    points = Points.of(devices, batches, nodes)
    prior = shipped_prior(runs[0].setting.workload) if prior is None else prior.copy()
    if step_spread:
        prior[PARAMETERS.index("spread")] = np.log(step_spread), SPREAD_KNOWN
    return fit_scaling(points, rates, prior), points, list(rates)


class MeasuredTime(NamedTuple):
    """ln of the time per sample, s, of a setting that was run.

    ``of_mean`` and ``of_run`` are draws (n,) of its mean and of one more run.
    """

    middle: float
    of_mean: Array
    of_run: Array


def run_noise(runs: Sequence[Run]) -> Noise:
    """Return the run-to-run variation: that of repeats, and a typical scale if they are few."""
    samples = [[rate_of(run) or 1.0 for run in members] for members in repeats(runs)]
    spread, df = pooled_noise(samples)
    scale = math.sqrt((NU * NOISE**2 + df * spread**2) / (NU + df))
    return Noise(np.array([scale]), NU + df)


def measured_time(members: Sequence[Run], noise: Noise, count: int, seed: int = 0) -> MeasuredTime:
    """Return the time of a setting from its runs, which all have a rate."""
    logs = [-math.log(rate_of(run) or 1.0) for run in members]
    middle = math.fsum(logs) / len(logs)
    error = Noise(noise.scale / math.sqrt(len(logs)), noise.df)
    one, point = np.ones(1), np.array([middle])
    of_mean = predictive_draws(point, one, [error], count, (seed, 1))
    variation = predictive_draws(np.zeros(1), one, [noise], count, (seed, 2))
    return MeasuredTime(middle, of_mean, of_mean + variation)


def samples_to_target(runs: Sequence[Run], batch: float, draws: int) -> tuple[float, Array]:
    """Return ln of the samples to the target at a global batch: median and draws (n,).

    Runs that did not reach it are ignored. Raises FitError if none did, or the targets differ.
    """
    reached = []
    for run in runs:
        run_batch, samples = batch_of(run), run.reading("target_samples").value
        if run_batch and samples:
            reached.append((run_batch, samples, run))
    if not reached:
        raise FitError(
            "no run reached a target; set one for the runs, as in stop = { target = … }, "
            "or give the number of samples"
        )
    if len({run.setting.stop.target for _, _, run in reached}) > 1:
        raise FitError("the runs have different targets; predict from runs with one target")
    batches, needed, runs_there = (list(column) for column in zip(*reached, strict=True))
    critical = shipped_critical_batch(runs_there[0].setting.workload)
    law = fit_samples(batches, needed, critical)
    middle, found = law.log_samples([batch])
    noise = law.posterior.noise
    of_run = predictive_draws(found[:, 0], law.posterior.weights, noise, draws, seed=5)
    return float(middle[0]), np.random.default_rng(5).permutation(of_run)


def time_to_target(
    rate: ScalingLaw, samples: SamplesLaw, points: Points, of_a_run: bool = True
) -> list[Interval]:
    """Return the time, s, to the target at each point with 90 % intervals: samples ÷ rate."""
    rate_middle, rate_draws = rate.log_rate(points)
    samples_middle, samples_draws = samples.log_samples(points.batches)
    of_samples = samples.posterior.equal_draws(seed=1)
    of_rate = rate.posterior.equal_draws(seed=2)
    equal = np.full(len(of_rate), 1 / len(of_rate))
    found = []
    for i, noises in enumerate(rate.noises(points)):
        noise = [Noise(n.scale[of_rate], n.df) for n in noises]
        noise += [Noise(n.scale[of_samples], n.df) for n in samples.posterior.noise]
        logs = samples_draws[of_samples, i] - rate_draws[of_rate, i]
        value = float(np.exp(samples_middle[i] - rate_middle[i]))
        found.append(weighted_interval(logs, equal, value, noise if of_a_run else ()))
    return found


class DevicePower(NamedTuple):
    """ln W = a + b·(ln N − centre): the mean power of one device, W, against the number of devices.

    Devices that wait for each other draw less, so that W falls slowly with N. The prior of b is
    normal(0, 0.05): a few sizes with the noise of meters would otherwise give any slope. ``best``
    are the most probable (a, b), ``covariance`` (2, 2) theirs; ``noise`` is that of a run, with
    ``df`` degrees of freedom.
    """

    centre: float
    best: Array
    covariance: Array
    noise: float
    df: float

    def forecast(
        self, devices: float, count: int, of_run: bool = True, seed: int = 5
    ) -> tuple[float, Array]:
        """Return ln W: the middle, and draws (count,) of one more run or of the mean.

        Draw i comes from the same draw of the law for every number of devices.
        """
        x = np.array([1.0, np.log(devices) - self.centre])
        middle, variance = float(x @ self.best), float(x @ self.covariance @ x)
        if of_run:
            variance += self.noise**2
        noise = Noise(np.array([variance**0.5]), self.df)
        return middle, predictive_draws(np.array([middle]), np.ones(1), [noise], count, seed)


def fit_device_power(runs: Sequence[Run]) -> DevicePower | None:
    """Fit the power of a device; None unless every run measured its GPUs."""
    known = [power for power in map(measured_device_power, runs) if power is not None]
    if not known or len(known) < len(runs):
        return None
    x, y = np.log([run.setting.devices for run in runs]), np.log(known)
    centre = float(x.mean())
    design = np.column_stack([np.ones_like(x), x - centre])
    # ridge regression in units of the noise: the slope has a prior, the level has none
    precision = design.T @ design / POWER_NOISE**2 + np.diag([0.0, 1 / POWER_SLOPE**2])
    inverse = np.linalg.inv(precision)
    best = inverse @ (design.T @ y) / POWER_NOISE**2
    squares = float(((y - design @ best) ** 2).sum())
    df = NU + len(y) - 1
    noise = ((NU * POWER_NOISE**2 + squares) / df) ** 0.5
    return DevicePower(centre, best, inverse * max(1.0, noise / POWER_NOISE) ** 2, noise, df)


def measured_device_power(run: Run) -> float | None:
    """Return the measured mean power of one device, W; None if missing or absurd."""
    watts = _device_power(run)
    return watts if watts is not None and _MIN_W <= watts <= _MAX_W else None


def _device_power(run: Run) -> float | None:
    reading = derive(run, "gpu_mean_power_w")
    if reading.value is not None and reading.status == "measured":
        return reading.value / run.setting.devices
    joules, seconds = derive(run, "gpu_energy_j"), derive(run, "elapsed_s").value
    if joules.value is None or joules.status != "measured" or not seconds:
        return None
    return joules.value / seconds / run.setting.devices
