"""Time and power under a clock limit, t(f) and P(f), from three measured clocks.

With f the clock as a share of the highest one measured:

    t(f) = t₁·(M + (1 − M)/f)              M: share of the time that waits for memory, host or
                                           network
    P(f) = P₁·(S + (1 − S)·g(f)·w(f))      S: static share of the power
    w(f) = (1 − M)/f ÷ (M + (1 − M)/f), over its value at 1: the share of the time in which the
    clock works g(f) = f^κ above the kink f₀, f₀^(κ−1)·f below it

Above the kink the voltage rises with the clock, so that power is proportional to f^κ with κ ≈ 3;
below it the voltage is at its minimum and power is proportional to f. Energy is least where the
dynamic power saved no longer pays for the static power of a longer run. Parameters shared with the
cap law have the same prior; no published clock sweep informs it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.law import Law, Observations, geometric_means, leave_one_out
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Posterior, fit_posterior, weighted_interval

NAMES = {"clock": "ClockLimit"}

PARAMETERS = ("waiting_share", "static_share", "kink", "exponent")

PRIOR = np.array([(-0.85, 1.2), (-1.2, 0.7), (0.6, 0.8), (np.log(3.07), 0.16)])
"""Mean and standard deviation of logit M, logit S, logit f₀ and ln κ."""

NOISE = (0.012, 0.016)
"""Scale of the relative noise of time and of mean power, as for caps."""


class ClockLaw(NamedTuple):
    """The law of one workload on one device.

    The last two parameters of the posterior are ln t₁ and, if power was measured, ln P₁.
    """

    scale_mhz: float
    lowest_mhz: float
    has_power: bool
    posterior: Posterior

    def time(self, clock_mhz: float, of_a_run: bool = True) -> Interval:
        """Return time at a clock with its 90 % interval: of one more measurement, or of the law."""
        (best, _), (draws, _) = self._both(clock_mhz)
        noise = self.posterior.noise[:1] if of_a_run else ()
        return weighted_interval(draws, self.posterior.weights, float(np.exp(best[0])), noise)

    def energy(self, clock_mhz: float, of_a_run: bool = True) -> Interval:
        """Return energy at a clock with its 90 % interval.

        Raises FitError if the law was fitted without power.
        """
        if not self.has_power:
            raise FitError("this law was fitted without power, so it cannot predict energy")
        best, draws = self._both(clock_mhz)
        noise = self.posterior.noise if of_a_run else ()
        value = float(np.exp(best[0][0] + best[1][0]))
        return weighted_interval(draws[0] + draws[1], self.posterior.weights, value, noise)

    def parameters(self) -> dict[str, Interval]:
        """Return the physical parameters; the kink as a share of the highest clock."""
        best, draws = _physical(self.posterior.best[None]), _physical(self.posterior.draws)
        found = {}
        for name, value, column in zip(PARAMETERS, best[0].tolist(), draws.T, strict=True):
            found[name] = weighted_interval(np.log(column), self.posterior.weights, value)
        return found

    def _both(self, clock_mhz: float) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        # ln of time and of power: of the most probable parameters (1,), and of every draw (n,)
        share = np.array([clock_mhz / self.scale_mhz])
        best = response(self.posterior.best[None], share)
        draws = response(self.posterior.draws, share)
        return (best[0][:, 0], best[1][:, 0]), (draws[0][:, 0], draws[1][:, 0])


def fit_clocks(
    clocks_mhz: ArrayLike, times_s: ArrayLike, powers_w: ArrayLike | None = None
) -> ClockLaw:
    """Fit the law to measurements at three or more clocks; a clock may be repeated.

    Raises FitError for fewer than three clocks and for numbers that are not positive and finite.
    """
    clocks, times = positive("clock", clocks_mhz), positive("time", times_s)
    powers = None if powers_w is None else positive("power", powers_w)
    if clocks.shape != times.shape or (powers is not None and powers.shape != clocks.shape):
        raise FitError("clocks, times and powers differ in length")
    count = len(np.unique(clocks))
    if count < 3:
        raise FitError(f"a clock law needs measurements at three clocks; there are {count}")
    scale = float(clocks.max())
    shares, log_t = clocks / scale, np.log(times)
    log_p = None if powers is None else np.log(powers)

    def residuals(z: Array) -> Sequence[Array]:
        time, power = response(z, shares)
        return [time - log_t] if log_p is None else [time - log_t, power - log_p]

    start, free = [0.0] * 6, [4]
    start[4] = float(log_t.min())
    if log_p is not None:
        start[5] = float(log_p.max())
        free.append(5)
    posterior = fit_posterior(residuals, NOISE[: len(free)], [start], free=free)
    return ClockLaw(scale, float(clocks.min()), powers is not None, posterior)


def response(z: Array, shares: Array) -> tuple[Array, Array]:
    """Return ln of time and ln of mean power, each (n, c).

    ``z`` (n, 6) are standardised parameters, ``shares`` (c,) clocks as shares of the highest.
    """
    waiting, static, kink, kappa = _physical(z).T[:, :, None]
    f = shares[None, :]
    time = waiting + (1 - waiting) / f
    busy = ((1 - waiting) / f / time) / (1 - waiting)
    dynamic = np.where(f >= kink, f**kappa, kink ** (kappa - 1) * f)
    power = static + (1 - static) * dynamic * busy
    return z[:, 4:5] + np.log(time), z[:, 5:6] + np.log(power)


def _physical(z: Array) -> Array:
    v = PRIOR[:, 0] + PRIOR[:, 1] * z[:, :4]
    found: Array = np.column_stack([1 / (1 + np.exp(-v[:, :3])), np.exp(v[:, 3:4])])
    return found


_CLOCKS = np.repeat([600.0, 800.0, 1000.0, 1200.0, 1400.0], 2)
_TYPICAL = np.array([[0.0, 0.0, 0.0, 0.0, np.log(0.1), np.log(250.0)]])
_TIMES, _POWERS = (np.exp(values[0]) for values in response(_TYPICAL, _CLOCKS / _CLOCKS.max()))


@dataclass(frozen=True, eq=False)
class ClockLimit(Law):
    """Time or energy of a workload under a clock limit; an energy is that of all ``devices``."""

    target: str
    devices: float
    law: ClockLaw

    over: ClassVar = ("sm_clock_mhz",)
    targets: ClassVar = (
        "time_per_sample_s",
        "elapsed_s",
        "gpu_energy_per_sample_j",
        "gpu_energy_j",
    )
    covariates: ClassVar = {
        "gpu_energy_per_sample_j": ("time_per_sample_s", "devices"),
        "gpu_energy_j": ("elapsed_s", "devices"),
    }
    example: ClassVar = Observations(
        "sm_clock_mhz",
        "gpu_energy_per_sample_j",
        _CLOCKS,
        _TIMES * _POWERS,
        {"time_per_sample_s": _TIMES, "devices": np.ones_like(_CLOCKS)},
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law to the geometric means of three or more clocks; see ``fit_clocks``."""
        means = geometric_means(observations)
        if means.target not in cls.covariates:
            return cls(means.target, 1.0, fit_clocks(means.x, means.y))
        times, devices = (means.covariates[name] for name in cls.covariates[means.target])
        law = fit_clocks(means.x, times, means.y / times / devices)
        return cls(means.target, float(devices[0]), law)

    def parameters(self) -> dict[str, Interval]:
        """Return the physical parameters; see ``PARAMETERS``."""
        return self.law.parameters()

    def predict(self, points: Observations) -> Array:
        """Return the most probable time, s, or energy, J."""
        return np.array([found.value for found in self.interval(points)])

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the time, s, or energy, J, with 90 % intervals."""
        if self.target not in self.covariates:
            return [self.law.time(clock, of_a_run) for clock in points.x.tolist()]
        found = []
        for clock in points.x.tolist():
            energy = self.law.energy(clock, of_a_run)
            low, high = energy.low or energy.value, energy.high or energy.value
            ends = (energy.value, low, high)
            found.append(Interval(*(self.devices * end for end in ends)))
        return found

    @classmethod
    def held_out_error(cls, observations: Observations) -> float | None:
        """Return the median error of interior clocks, each predicted from the others."""
        return leave_one_out(cls, observations, 4)
