"""How the rate of training answers to devices, nodes and batch: the α–β form, stragglers, a serial share.

A step of N devices on m nodes (n = N/m on each) with b samples a device, B = N·b, takes

    t = (T_c^γ + T_n^γ)^(1/γ) + σ·τ·B + t_fixed
    T_c = τ·b·(1 + s·Q(N)),  γ = 1 + overlap
    T_n = c_within·(n−1)/n + c_between·(m−1)/m + latency·log₂N

T_c is compute, which ends when the slowest of N devices does: s is the relative spread of one device's step and Q(N)
the normal's expected maximum of N (Blom, see network.py). T_n is the all-reduce (bandwidth terms of a ring within and
between nodes, latency of a tree; Hockney 1994, Thakur et al. 2005), hidden behind compute as far as γ says (1: not at
all, large: wholly; published runs say that what shows is nearly added). σ is the share of the work that more devices
do not speed up (Amdahl 1967), t_fixed what every step pays: kernel launches, the optimiser, the host. Times are in s,
which is what lets one workload inform another: a launch takes about as long whatever is trained. The rate is B/t.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.network import expected_maximum
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import (
    Noise,
    Posterior,
    fit_posterior,
    quantiles,
    weighted_interval,
)

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
"""The last is τ as a share of the least device-time a sample that was measured."""

NOISE = 0.04
"""Scale of the relative noise of a rate: configurations of one family differ in more than N and batch."""


EXTRAPOLATION_SD = 0.05
"""Standard deviation of ln rate that each e-fold beyond the sizes run adds: other switches, other tuning."""


BEYOND_RUNS = "outside the devices or the batch a device that were run"
"""Why a prediction reaches beyond the runs, in words; see ``ScalingLaw.extrapolates``."""


class Points(NamedTuple):
    """Settings of one family: devices N, global batch B and nodes m, arrays of one length."""

    devices: Array
    batches: Array
    nodes: Array

    @classmethod
    def of(cls, devices: ArrayLike, batches: ArrayLike, nodes: ArrayLike | None = None) -> Points:
        """Build from sequences; without ``nodes`` all devices stand in one node. Raises FitError for bad numbers."""
        n = positive("number of devices", devices)
        m = np.ones_like(n) if nodes is None else positive("number of nodes", nodes)
        found = cls(n, positive("batch", batches), np.minimum(m, n))
        if not found.devices.shape == found.batches.shape == found.nodes.shape:
            raise FitError("devices, batches and nodes differ in number")
        return found


class ScalingLaw(NamedTuple):
    """The law of one family: the prior as ``given``, and ``placed``, where the last parameter is τ in s."""

    given: Array
    prior: Array
    posterior: Posterior
    seen: Points

    def log_rate(self, points: Points) -> tuple[Array, Array]:
        """Return ln of samples per s: its posterior median (c,) and every draw (n, c)."""
        draws = np.log(points.batches) - log_step(self.posterior.draws, points, self.prior)
        return np.array(
            [quantiles(column, self.posterior.weights, [0.5])[0] for column in draws.T]
        ), draws

    def rate(self, points: Points, of_a_run: bool = True) -> list[Interval]:
        """Return samples per s at each point with 90 % intervals: of one more measurement, or of the law itself."""
        middle, draws = self.log_rate(points)
        noises = self.noises(points) if of_a_run else [()] * len(middle)
        columns = zip(draws.T, np.exp(middle).tolist(), noises, strict=True)
        return [
            weighted_interval(column, self.posterior.weights, value, noise)
            for column, value, noise in columns
        ]

    def noises(self, points: Points) -> list[tuple[Noise, ...]]:
        """Return for each point the noise of a measurement there, and what reaching beyond the largest size adds."""
        above, below = (
            points.devices / self.seen.devices.max(),
            self.seen.devices.min() / points.devices,
        )
        beyond = np.log(np.maximum(np.maximum(above, below), 1.0))
        count = len(self.posterior.weights)
        return [
            (*self.posterior.noise, Noise(np.full(count, EXTRAPOLATION_SD * far), 30.0))
            for far in beyond
        ]

    def parameters(self) -> dict[str, Interval]:
        """Return the law's parameters, times in s, with 90 % intervals."""
        draws, weights = physical(self.posterior.draws, self.prior), self.posterior.weights
        found = {}
        for name, column in zip((*PARAMETERS[:-1], "sample_s"), draws.T, strict=True):
            logs = np.log(np.maximum(column, 1e-300))
            found[name] = weighted_interval(logs, weights, float(np.exp(weights @ logs)))
        return found

    def extrapolates(self, points: Points) -> Array:
        """Return for each point whether it lies outside the devices or the batch a device that were seen."""
        share, known = points.batches / points.devices, self.seen.batches / self.seen.devices
        outside: Array = (
            (points.devices > self.seen.devices.max() * 1.001)
            | (points.devices < self.seen.devices.min() * 0.999)
            | (share > known.max() * 1.001)
            | (share < known.min() * 0.999)
        )
        return outside


def fit_scaling(points: Points, rates: ArrayLike, prior: Array, noise: float = NOISE) -> ScalingLaw:
    """Fit the law to rates, samples per s, at two or more settings; repeats may stand side by side.

    ``prior`` (8, 2) holds mean and standard deviation of ln of each of PARAMETERS (see pooling.py).
    Raises FitError for one setting only, or numbers that are not positive and finite.
    """
    rate = positive("rate", rates)
    if rate.shape != points.devices.shape:
        raise FitError("rates and settings differ in number")
    if len(set(zip(points.devices.tolist(), points.batches.tolist(), strict=True))) < 2:
        raise FitError("a scaling law needs two settings that differ in devices or batch")
    log_t = np.log(points.batches / rate)
    here = scale_prior(prior, float(np.min(points.devices / rate)))

    # repeats share a setting, and what the law says of it
    each, place = np.unique(np.stack(points), axis=1, return_inverse=True)
    settings, place = Points(*each), place.ravel()

    def residuals(z: Array) -> Sequence[Array]:
        return [log_step(z, settings, here)[:, place] - log_t]

    return ScalingLaw(
        prior, here, fit_posterior(residuals, [noise], _starts(here, float(log_t.min()))), points
    )


def scale_prior(prior: Array, device_s: float) -> Array:
    """Return the prior with τ in s, where ``device_s`` is the least device-time a sample that was measured."""
    found = prior.copy()
    found[-1, 0] += np.log(device_s)
    return found


def physical(z: Array, prior: Array) -> Array:
    """Return the physical parameters (n, 8) of standardised ones (n, 8) under a placed prior; times in s."""
    found: Array = np.exp(np.clip(prior[:, 0] + prior[:, 1] * z, -80.0, 80.0))
    return found


def log_step(z: Array, points: Points, prior: Array) -> Array:
    """Return ln of the time of a step, s, (n, c) for parameter sets z (n, 8) under a placed prior."""
    fixed, within, between, latency, overlap, spread, serial, sample = physical(z, prior).T[
        :, :, None
    ]
    devices, nodes = points.devices, points.nodes
    share = devices / nodes
    compute = np.log(sample * points.batches / devices) + np.log1p(
        spread * expected_maximum(devices)
    )
    network = (
        within * (share - 1) / share + between * (nodes - 1) / nodes + latency * np.log2(devices)
    )
    gamma = 1 + overlap
    # in logarithms, so that no power overflows
    both = np.logaddexp(gamma * compute, gamma * np.log(network + 1e-30)) / gamma
    found: Array = np.logaddexp(
        both, np.log(fixed + np.minimum(serial, 1.0) * sample * points.batches)
    )
    return found


def _starts(prior: Array, log_step_s: float) -> list[list[float]]:
    # as the prior has it; with half the compute; and with every fixed time well below the shortest step
    usual = np.zeros(len(prior))
    half, quick = usual.copy(), usual.copy()
    half[-1] = -0.7 / prior[-1, 1]
    quick[:4] = np.minimum((log_step_s + np.log(0.1) - prior[:4, 0]) / prior[:4, 1], 0.0)
    return [usual.tolist(), half.tolist(), quick.tolist()]
