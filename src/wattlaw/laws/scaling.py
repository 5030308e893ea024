"""The α–β law: the time of a training step over devices, nodes and batch.

A step on N devices in m nodes (n = N/m in each) with b samples per device (B = N·b in all) takes

    t = (T_c^γ + T_n^γ)^(1/γ) + σ·τ·B + t_fixed
    T_c = τ·b·(1 + s·Q(N)),  γ = 1 + overlap
    T_n = c_within·(n−1)/n + c_between·(m−1)/m + latency·log₂N

T_c is compute, which ends when the slowest of N devices ends: s is the relative spread of the step
times of one device, and Q(N) the expected maximum of N standard normals (Blom 1958). T_n is the
all-reduce: the bandwidth terms of a ring within and between nodes and the latency of a tree
(Hockney 1994, Thakur et al. 2005). γ is the degree to which compute hides it: not at all for γ = 1,
entirely for large γ; published runs hide little of it. σ is the share of the work that more
devices do not speed up (Amdahl 1967), t_fixed the constant cost of a step: kernel launches, the
optimiser, the host. Times are in s, so that one workload can inform the prior of another: a kernel
launch takes about as long in any workload. The rate is B/t.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.reading import Note
from wattlaw.laws.law import Law, Observations
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import (
    Noise,
    Posterior,
    fit_posterior,
    quantiles,
    weighted_interval,
)

NAMES = {"alpha-beta": "AlphaBeta"}

PARAMETERS = (
    "fixed_s",
    "within_nodes_s",
    "between_nodes_s",
    "latency_s",
    "overlap",
    "spread",
    "serial_share",
    "compute_share",
)
"""The last is τ as a share of the smallest measured device time per sample."""

NOISE = 0.04
"""Scale of the relative noise of a rate, which includes unknown differences within a family."""

EXTRAPOLATION_SD = 0.05
"""Standard deviation of ln rate per e-fold beyond the measured sizes."""

BEYOND_RUNS = "beyond the devices or batch per device that were run"
"""Why a prediction is an extrapolation; see ``ScalingLaw.extrapolates``."""


class Points(NamedTuple):
    """Settings of one family: devices N, global batch B and nodes m, arrays of one length."""

    devices: Array
    batches: Array
    nodes: Array

    @classmethod
    def of(cls, devices: ArrayLike, batches: ArrayLike, nodes: ArrayLike | None = None) -> Points:
        """Build from sequences; without ``nodes`` all devices are in one node.

        Raises FitError for numbers that are not positive and finite.
        """
        n = positive("number of devices", devices)
        m = np.ones_like(n) if nodes is None else positive("number of nodes", nodes)
        found = cls(n, positive("batch", batches), np.minimum(m, n))
        if not found.devices.shape == found.batches.shape == found.nodes.shape:
            raise FitError("devices, batches and nodes differ in length")
        return found

    def at(self, keep: Array) -> Points:
        """Return the points selected by a mask or by indices."""
        return Points(self.devices[keep], self.batches[keep], self.nodes[keep])


class ScalingLaw(NamedTuple):
    """The law of one family.

    task_prior  (8, 2) mean and standard deviation of ln of PARAMETERS
    prior       the same with τ in s as the last parameter
    seen        the settings that were run
    """

    task_prior: Array
    prior: Array
    posterior: Posterior
    seen: Points

    def log_rate(self, points: Points) -> tuple[Array, Array]:
        """Return ln of samples per s: its posterior median (c,) and every draw (n, c)."""
        draws = np.log(points.batches) - log_step(self.posterior.draws, points, self.prior)
        weights = self.posterior.weights
        medians = [quantiles(column, weights, [0.5])[0] for column in draws.T]
        return np.array(medians), draws

    def rate(self, points: Points, of_a_run: bool = True) -> list[Interval]:
        """Return samples per s with 90 % intervals: of one more run, or of the law."""
        middle, draws = self.log_rate(points)
        noises = self.noises(points) if of_a_run else [()] * len(middle)
        found = []
        for column, value, noise in zip(draws.T, np.exp(middle).tolist(), noises, strict=True):
            found.append(weighted_interval(column, self.posterior.weights, value, noise))
        return found

    def noises(self, points: Points) -> list[tuple[Noise, ...]]:
        """Return for each point the noise of a run and that of an extrapolation."""
        above = points.devices / self.seen.devices.max()
        below = self.seen.devices.min() / points.devices
        beyond = np.log(np.maximum(np.maximum(above, below), 1.0))
        count = len(self.posterior.weights)
        found = []
        for distance in beyond:
            extrapolation = Noise(np.full(count, EXTRAPOLATION_SD * distance), 30.0)
            found.append((*self.posterior.noise, extrapolation))
        return found

    def parameters(self) -> dict[str, Interval]:
        """Return the parameters with 90 % intervals; times in s."""
        draws, weights = physical(self.posterior.draws, self.prior), self.posterior.weights
        found = {}
        for name, column in zip((*PARAMETERS[:-1], "sample_s"), draws.T, strict=True):
            logs = np.log(np.maximum(column, 1e-300))
            found[name] = weighted_interval(logs, weights, float(np.exp(weights @ logs)))
        return found

    def extrapolates(self, points: Points) -> Array:
        """Return for each point whether it is outside the devices or batches that were run."""
        batch, known = points.batches / points.devices, self.seen.batches / self.seen.devices
        outside: Array = (
            (points.devices > self.seen.devices.max() * 1.001)
            | (points.devices < self.seen.devices.min() * 0.999)
            | (batch > known.max() * 1.001)
            | (batch < known.min() * 0.999)
        )
        return outside


_DEVICES = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 2)


@dataclass(frozen=True, eq=False)
class AlphaBeta(Law):
    """The α–β law of the time per sample, with the prior of published runs of the task."""

    law: ScalingLaw

    over: ClassVar = ("devices", "batch_per_device")
    targets: ClassVar = ("time_per_sample_s",)
    covariates: ClassVar = {"time_per_sample_s": ("devices", "global_batch", "nodes")}
    varied: ClassVar = ("devices", "batch_per_device")
    notes: ClassVar = (
        Note("prior", "the prior of the communication times comes from published MLPerf runs"),
    )
    example: ClassVar = Observations(
        "devices",
        "time_per_sample_s",
        _DEVICES,
        0.002 * (1 + 0.03 * np.log2(_DEVICES)) / _DEVICES,
        {"devices": _DEVICES, "global_batch": 32 * _DEVICES, "nodes": np.ones_like(_DEVICES)},
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law to two or more settings; see ``fit_scaling``."""
        if not len(observations.x):
            raise FitError(
                "no run has both a rate and a batch; alpha-beta needs samples_per_s and "
                "batch_per_device"
            )
        prior = shipped_prior(observations.task)
        return cls(fit_scaling(_points(observations), 1 / observations.y, prior))

    def parameters(self) -> dict[str, Interval]:
        """Return the parameters; times in s."""
        return self.law.parameters()

    def predict(self, points: Observations) -> Array:
        """Return the posterior median of the time per sample, s."""
        middle, _ = self.law.log_rate(_points(points))
        found: Array = np.exp(-middle)
        return found

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the time per sample, s, with 90 % intervals."""
        found = []
        for rate in self.law.rate(_points(points), of_a_run):
            fastest, slowest = rate.high or rate.value, rate.low or rate.value
            found.append(Interval(1 / rate.value, 1 / fastest, 1 / slowest))
        return found

    @classmethod
    def held_out_error(cls, observations: Observations) -> float | None:
        """Return the median error of each device count, predicted from the others."""
        devices = observations.covariates["devices"]
        sizes = np.unique(devices)
        errors = []
        for size in sizes if len(sizes) > 2 else ():
            is_hidden = devices == size
            law = cls.fit(observations.at(~is_hidden))
            hidden = observations.at(is_hidden)
            errors.append(float(np.abs(hidden.y / law.predict(hidden) - 1).mean()))
        return float(np.median(errors)) if errors else None

    def grid(self, observations: Observations) -> Observations:
        """Return the settings that were run, by devices and batch."""
        columns = [observations.x, *observations.covariates.values()]
        _, first = np.unique(np.stack(columns), axis=1, return_index=True)
        chosen = observations.at(first)
        order = np.lexsort((chosen.covariates["global_batch"], chosen.covariates["devices"]))
        return chosen.at(order)


def _points(observations: Observations) -> Points:
    covariates = observations.covariates
    return Points.of(covariates["devices"], covariates["global_batch"], covariates["nodes"])


def fit_scaling(points: Points, rates: ArrayLike, prior: Array, noise: float = NOISE) -> ScalingLaw:
    """Fit the law to rates, samples per s, at two or more settings; a setting may be repeated.

    ``prior`` (8, 2) holds mean and standard deviation of ln of each of PARAMETERS; see priors.py.
    Raises FitError for a single setting, or numbers that are not positive and finite.
    """
    rate = positive("rate", rates)
    if rate.shape != points.devices.shape:
        raise FitError("rates and settings differ in length")
    if len(set(zip(points.devices.tolist(), points.batches.tolist(), strict=True))) < 2:
        raise FitError("a scaling law needs two settings that differ in devices or batch")
    log_t = np.log(points.batches / rate)
    scaled_prior = scale_prior(prior, float(np.min(points.devices / rate)))

    # the law is evaluated once per setting, not once per repeat
    distinct, place = np.unique(np.stack(points), axis=1, return_inverse=True)
    settings, place = Points(*distinct), place.ravel()

    def residuals(z: Array) -> Sequence[Array]:
        return [log_step(z, settings, scaled_prior)[:, place] - log_t]

    starts = _starts(scaled_prior, float(log_t.min()))
    return ScalingLaw(prior, scaled_prior, fit_posterior(residuals, [noise], starts), points)


def scale_prior(prior: Array, device_s: float) -> Array:
    """Return the prior with τ in s.

    ``device_s`` is the smallest measured device time per sample.
    """
    found = prior.copy()
    found[-1, 0] += np.log(device_s)
    return found


def physical(z: Array, prior: Array) -> Array:
    """Return the physical parameters (n, 8), times in s, under a scaled prior."""
    found: Array = np.exp(np.clip(prior[:, 0] + prior[:, 1] * z, -80.0, 80.0))
    return found


def log_step(z: Array, points: Points, prior: Array) -> Array:
    """Return ln of the time of a step, s, (n, c) for parameters z (n, 8) under a scaled prior."""
    columns = physical(z, prior).T[:, :, None]
    fixed, within, between, latency, overlap, spread, serial, sample = columns
    devices, nodes = points.devices, points.nodes
    per_node = devices / nodes
    compute = np.log(sample * points.batches / devices)
    compute = compute + np.log1p(spread * expected_maximum(devices))
    network = within * (per_node - 1) / per_node
    network = network + between * (nodes - 1) / nodes + latency * np.log2(devices)
    gamma = 1 + overlap
    # in logarithms, so that no power overflows
    both = np.logaddexp(gamma * compute, gamma * np.log(network + 1e-30)) / gamma
    constant = np.log(fixed + np.minimum(serial, 1.0) * sample * points.batches)
    found: Array = np.logaddexp(both, constant)
    return found


def expected_maximum(devices: Array) -> Array:
    """Return the expected maximum of N standard normals, within 1 %.

    Φ⁻¹((N − 0.375)/(N + 0.25)), Blom 1958.
    """
    found: Array = np.maximum(special.ndtri((devices - 0.375) / (devices + 0.25)), 0.0)
    return found


def shipped_prior(task: str = "") -> Array:
    """Return the shipped prior (8, 2) of a task; the general one for an unknown task."""
    table = _shipped_table()
    rows = table.get(task) or table[""]
    return np.array([rows[name] for name in PARAMETERS])


def shipped_critical_batch(task: str) -> tuple[float, float] | None:
    """Return mean and sd of ln of a task's critical batch; None for an unknown task."""
    return _shipped_table().get(task, {}).get("critical_batch")


@functools.cache
def _shipped_table() -> dict[str, dict[str, tuple[float, float]]]:
    found: dict[str, dict[str, tuple[float, float]]] = {}
    text = (resources.files("wattlaw.laws") / "scaling_prior.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        parameters = found.setdefault(row["task"], {})
        parameters[row["parameter"]] = (float(row["ln_mean"]), float(row["ln_sd"]))
    return found


def _starts(prior: Array, log_step_s: float) -> list[list[float]]:
    # the prior mean; half the compute; every constant time well below the shortest step
    usual = np.zeros(len(prior))
    half, quick = usual.copy(), usual.copy()
    half[-1] = -0.7 / prior[-1, 1]
    quick[:4] = np.minimum((log_step_s + np.log(0.1) - prior[:4, 0]) / prior[:4, 1], 0.0)
    return [usual.tolist(), half.tolist(), quick.tolist()]
