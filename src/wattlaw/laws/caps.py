"""Time and energy under a power cap, t(P) and E(P), from as few as three measured caps.

The physics, with powers as shares of the highest cap:
- For a share h of the time the device waits for the host and draws only its static power S; a cap
  does not affect this share.
- The rest is work whose demand d, the power it would draw at full clock, varies log-normally
  (median D, spread s) between kernels. Under a limit L = η·cap < d the device lowers its clock
  until the work draws L.
- Dynamic power is proportional to f·V². At high clocks the voltage V rises with the clock f, so
  that power is proportional to f^κ with κ ≈ 3; below the clock at which V reaches its minimum,
  power is proportional to f. With y = (L − S)/(d − S) and the kink at y₀: f = y^(1/κ) above the
  kink, f = y₀^(1/κ)·y/y₀ below it.
- A share M of the work waits for memory, whose clock a cap does not change: it takes time
  M + (1 − M)/f.
Time is constant above the power that the work draws, rises as a power of the cap below it, and
steeply near the static power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.law import Law, Observations, geometric_means, leave_one_out
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Posterior, fit_posterior, weighted_interval

NAMES = {"cap": "PowerCap"}

PARAMETERS = (
    "waiting_share",
    "demand",
    "demand_spread",
    "kink",
    "static_power",
    "regulation",
    "memory_share",
    "exponent",
)

PRIOR = np.array(
    [
        (-0.306, 1.862),  # logit h: anything from a mostly idle device to one that is always busy
        (-0.401, 0.433),  # ln D: two thirds of the highest cap
        (-1.844, 0.599),  # ln s
        (-0.162, 0.615),  # logit y0
        (-1.973, 0.203),  # ln S: 35 W of 250 W
        (1.021, 0.031),  # eta: boards hold their limit to within a few percent
        (-0.980, 0.932),  # logit M: about a quarter
        (1.101, 0.179),  # ln kappa: 3.0, the theoretical cube of CMOS
    ]
)
"""Mean and standard deviation of each parameter, by empirical Bayes from 113 published curves of
V100 and P100 (Zeus, NSDI 2023, Apache-2.0). A prior from one of the devices serves the other
nearly as well: see bench/caps_prior.py."""

NOISE = (0.012, 0.016)
"""Scale of the relative noise of time and of mean power: medians over the same curves."""

STEP_W = 5.0
"""Distance of the caps at which a curve is drawn and candidate caps are evaluated."""

_MIN_SHARE = 1e-6
"""Smallest share of the time for which a device waits, or works."""

_NODES, _WEIGHTS = hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class CapLaw(NamedTuple):
    """The law of one workload on one device.

    ``scale_w`` is the highest cap; the last parameter of the posterior is ln t, relative to
    ``centre``.
    """

    scale_w: float
    lowest_w: float
    centre: float
    has_power: bool
    prior: Array
    posterior: Posterior

    def log_time(self, caps_w: ArrayLike) -> tuple[Array, Array]:
        """Return ln of time at caps (c,): most probable (c,), and every draw (n, c)."""
        best, draws = self._both(caps_w)
        return best[0][0], draws[0]

    def log_energy(self, caps_w: ArrayLike) -> tuple[Array, Array]:
        """Return ln of energy in the same form; J if the times are in s.

        Raises FitError if the law was fitted without power.
        """
        if not self.has_power:
            raise FitError("this law was fitted without power, so it cannot predict energy")
        best, draws = self._both(caps_w)
        watt = np.log(self.scale_w)
        return (best[0] + best[1])[0] + watt, draws[0] + draws[1] + watt

    def time(self, cap_w: float, of_a_run: bool = True) -> Interval:
        """Return time at a cap with its 90 % interval: of one more measurement, or of the law."""
        best, draws = self.log_time([cap_w])
        noise = self.posterior.noise[:1] if of_a_run else ()
        value = float(np.exp(best[0]))
        return weighted_interval(draws[:, 0], self.posterior.weights, value, noise)

    def energy(self, cap_w: float, of_a_run: bool = True) -> Interval:
        """Return energy at a cap with its 90 % interval."""
        best, draws = self.log_energy([cap_w])
        noise = self.posterior.noise if of_a_run else ()
        value = float(np.exp(best[0]))
        return weighted_interval(draws[:, 0], self.posterior.weights, value, noise)

    def parameters(self) -> dict[str, Interval]:
        """Return the physical parameters; demand and static power as shares of the highest cap."""
        best = physical(self.posterior.best[None, :-1], self.prior)[0]
        draws = physical(self.posterior.draws[:, :-1], self.prior)
        found = {}
        for name, value, column in zip(PARAMETERS, best.tolist(), draws.T, strict=True):
            found[name] = weighted_interval(np.log(column), self.posterior.weights, value)
        return found

    def _both(self, caps_w: ArrayLike) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        caps = np.asarray(caps_w, float) / self.scale_w
        found = []
        for z in (self.posterior.best[None], self.posterior.draws):
            time, power = response(z[:, :-1], caps, self.prior)
            found.append((time + z[:, -1:] + self.centre, power))
        return found[0], found[1]


_CAPS = np.repeat([100.0, 125.0, 150.0, 175.0, 200.0, 250.0], 2)
_TIMES = 0.3 * (0.5 + 0.5 * np.maximum(1.0, 190.0 / _CAPS) ** 0.7)


@dataclass(frozen=True, eq=False)
class PowerCap(Law):
    """Time or energy of a workload under a power cap; an energy is that of all ``devices``."""

    target: str
    devices: float
    law: CapLaw

    over: ClassVar = ("power_cap_w",)
    targets: ClassVar = (
        "time_per_sample_s",
        "elapsed_s",
        "gpu_energy_per_sample_j",
        "gpu_energy_j",
    )
    covariates: ClassVar = {
        "time_per_sample_s": ("gpu_energy_per_sample_j", "devices"),
        "elapsed_s": ("gpu_energy_j", "devices"),
        "gpu_energy_per_sample_j": ("time_per_sample_s", "devices"),
        "gpu_energy_j": ("elapsed_s", "devices"),
    }
    auto_order: ClassVar = 0
    example: ClassVar = Observations(
        "power_cap_w",
        "time_per_sample_s",
        _CAPS,
        _TIMES,
        {
            "gpu_energy_per_sample_j": _TIMES * np.minimum(_CAPS, 185.0) * 0.97,
            "devices": np.ones_like(_CAPS),
        },
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law to the geometric means of three or more caps; see ``fit_caps``."""
        if len(np.unique(observations.x)) < 3:
            raise FitError("a cap law needs a measured GPU energy at three power caps")
        means = geometric_means(observations)
        other = means.covariates[cls.covariates[means.target][0]]
        times, energies = (other, means.y) if _is_energy(means.target) else (means.y, other)
        devices = means.covariates["devices"]
        law = fit_caps(means.x, times, energies / times / devices)
        return cls(means.target, float(devices[0]), law)

    def parameters(self) -> dict[str, Interval]:
        """Return the physical parameters; see ``PARAMETERS``."""
        return self.law.parameters()

    def predict(self, points: Observations) -> Array:
        """Return the most probable time, s, or energy, J."""
        if not _is_energy(self.target):
            return np.exp(self.law.log_time(points.x)[0])
        found: Array = self.devices * np.exp(self.law.log_energy(points.x)[0])
        return found

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the time, s, or energy, J, with 90 % intervals."""
        if not _is_energy(self.target):
            return [self.law.time(cap, of_a_run) for cap in points.x.tolist()]
        found = []
        for cap in points.x.tolist():
            energy = self.law.energy(cap, of_a_run)
            low, high = energy.low or energy.value, energy.high or energy.value
            ends = (energy.value, low, high)
            found.append(Interval(*(self.devices * end for end in ends)))
        return found

    @classmethod
    def held_out_error(cls, observations: Observations) -> float | None:
        """Return the median error of interior caps, each predicted from the others."""
        return leave_one_out(cls, observations, 4)

    def grid(self, observations: Observations) -> Observations:
        """Return the measured caps and the multiples of 5 W between them."""
        return observations.with_x(np.array(round_caps(observations.x)))


def _is_energy(target: str) -> bool:
    return target.startswith("gpu_energy")


def round_caps(caps_w: Array, step_w: float = STEP_W) -> list[float]:
    """Return measured caps and the multiples of ``step_w`` between them, W, ascending."""
    low, high = float(caps_w.min()), float(caps_w.max())
    between = np.arange(np.ceil(low / step_w) * step_w, high, step_w)
    return sorted({*caps_w.tolist(), *between.tolist()})


def fit_caps(
    caps_w: ArrayLike,
    times_s: ArrayLike,
    powers_w: ArrayLike | None = None,
    prior: Array = PRIOR,
    scale_w: float | None = None,
) -> CapLaw:
    """Fit the law to measurements at three or more caps; a cap may be repeated.

    times_s   time of the same work (a sample, an epoch) at each cap
    powers_w  mean power of one device during that time; without it the law predicts only times
    scale_w   the default limit of the device; by default the highest measured cap
    Raises FitError for fewer than three caps and for numbers that are not positive and finite.
    """
    caps, times = positive("cap", caps_w), positive("time", times_s)
    powers = None if powers_w is None else positive("power", powers_w)
    if caps.shape != times.shape or (powers is not None and powers.shape != caps.shape):
        raise FitError("caps, times and powers differ in length")
    count = len(np.unique(caps))
    if count < 3:
        raise FitError(f"a cap law needs measurements at three caps; there are {count}")
    scale = float(caps.max()) if scale_w is None else scale_w
    log_t, shares, centre = np.log(times), caps / scale, float(np.log(times).mean())
    log_p = None if powers is None else np.log(powers / scale)

    distinct, place = np.unique(shares, return_inverse=True)

    def residuals(z: Array) -> Sequence[Array]:
        time, power = response(z[:, :-1], distinct, prior)
        of_time = time[:, place] + z[:, -1:] + centre - log_t
        return [of_time] if log_p is None else [of_time, power[:, place] - log_p]

    k = len(prior)
    starts = np.zeros((3, k + 1))
    starts[1, 0] = 1.5
    starts[2, :2] = -0.5, -1.5
    noise = NOISE if powers is not None else NOISE[:1]
    posterior = fit_posterior(residuals, noise, starts.tolist(), free=[k])
    return CapLaw(scale, float(caps.min()), centre, powers is not None, prior, posterior)


def physical(z: Array, prior: Array = PRIOR) -> Array:
    """Return the physical parameters (n, 8) for standardised ones, in the order of PARAMETERS."""
    v = prior[:, 0] + prior[:, 1] * z
    logistic, linear = [0, 3, 6], 5
    found: Array = np.exp(v)
    found[:, logistic] = 1 / (1 + np.exp(-v[:, logistic]))
    found[:, linear] = v[:, linear]
    return found


def with_work(z: Array, log_share: Array, prior: Array = PRIOR) -> Array:
    """Return parameters (n, 8) of a device that works exp(``log_share``) (n,) times as much.

    It waits for the rest of the time.
    """
    works = (1 - physical(z, prior)[:, 0]) * np.exp(log_share)
    waits = np.clip(1 - works, _MIN_SHARE, 1 - _MIN_SHARE)
    found = z.copy()
    found[:, 0] = (np.log(waits / (1 - waits)) - prior[0, 0]) / prior[0, 1]
    return found


def response(z: Array, caps: Array, prior: Array = PRIOR) -> tuple[Array, Array]:
    """Return ln of relative time and ln of mean power (share of the scale), each (n, c).

    ``z`` (n, 8) are standardised parameters, ``caps`` (c,) shares of the scale.
    """
    columns = physical(z, prior).T[:, :, None, None]
    h, demand, spread, kink, static, regulation, memory, kappa = columns
    power = np.maximum(demand * np.exp(spread * _NODES), 1.05 * static)
    limit = np.maximum(regulation * caps[None, :, None], 1.1 * static)
    share = np.minimum((limit - static) / (power - static), 1.0)
    clock = np.where(share >= kink, share ** (1 / kappa), kink ** (1 / kappa) * share / kink)
    slower = memory + (1 - memory) / clock
    wait = h[:, :, 0]
    time = wait + (1 - wait) * (slower @ _WEIGHTS)
    energy = wait * static[:, :, 0] + (1 - wait) * ((slower * np.minimum(power, limit)) @ _WEIGHTS)
    return np.log(time), np.log(energy / time)
