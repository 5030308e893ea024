"""How time and power answer to a power cap: t(P) and E(P) from as few as three probes.

The physics, with powers as shares of the highest cap:
- A share h of the time the device waits for the host and draws only its static power S; a cap does not touch it.
- The rest is work whose demand d, the power it would draw at full clock, is spread log-normally (median D,
  spread s) over kernels. Under a limit L = η·cap < d the clock is lowered until the work draws L.
- Dynamic power goes with clock and voltage as f·V². At high clocks V rises with f, so power goes as f^κ, κ ≈ 3; below
  the clock at which V reaches its least value power goes as f. With y = (L − S)/(d − S), the kink at y₀:
  f = y^(1/κ) above, f = y₀^(1/κ)·y/y₀ below.
- A share M of the work waits for memory, whose clock a cap leaves alone: it takes time M + (1 − M)/f.
Time is flat above what the work draws, rises as a power of the cap below it, and steeply near the static power.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Posterior, fit_posterior, weighted_interval

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
        (-0.306, 1.862),  # logit h: anything from a device that idles to one that is always busy
        (-0.401, 0.433),  # ln D: two thirds of the highest cap
        (-1.844, 0.599),  # ln s
        (-0.162, 0.615),  # logit y0
        (-1.973, 0.203),  # ln S: 35 W of 250 W
        (1.021, 0.031),  # eta: boards keep their limit to a few percent
        (-0.980, 0.932),  # logit M: about a quarter
        (1.101, 0.179),  # ln kappa: 3.0, the cube of CMOS, found again
    ]
)
"""Mean and standard deviation of each parameter, learnt by empirical Bayes from 113 published curves of V100
and P100 (Zeus, NSDI 2023, Apache-2.0). Learnt from one device alone it serves the other nearly as well: see
bench/caps_prior.py."""

NOISE = (0.012, 0.016)
"""Scale of relative noise of time and of mean power: medians over the same curves, for the parameters fitted."""

_NEVER = 1e-6
"""No device waits less of the time than this, or works less."""

_NODES, _WEIGHTS = hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class CapLaw(NamedTuple):
    """The law of one workload on one device: ``scale_w`` is the highest cap, the last parameter is ln t."""

    scale_w: float
    lowest_w: float
    centre: float
    has_power: bool
    prior: Array
    posterior: Posterior

    def log_time(self, caps_w: ArrayLike) -> tuple[Array, Array]:
        """Return ln of time at caps (c,): the most probable (c,), and of every draw (n, c)."""
        best, draws = self._both(caps_w)
        return best[0][0], draws[0]

    def log_energy(self, caps_w: ArrayLike) -> tuple[Array, Array]:
        """Return ln of energy (J where time is in s) likewise. Raises FitError where no power was measured."""
        if not self.has_power:
            raise FitError("no power was given with the times, so this law knows no energy")
        best, draws = self._both(caps_w)
        watt = np.log(self.scale_w)
        return (best[0] + best[1])[0] + watt, draws[0] + draws[1] + watt

    def time(self, cap_w: float, of_a_run: bool = True) -> Interval:
        """Return time at a cap with its 90 % interval: of one more measurement, or of the law itself."""
        best, draws = self.log_time([cap_w])
        noise = self.posterior.noise[:1] if of_a_run else ()
        return weighted_interval(draws[:, 0], self.posterior.weights, float(np.exp(best[0])), noise)

    def energy(self, cap_w: float, of_a_run: bool = True) -> Interval:
        """Return energy at a cap with its 90 % interval."""
        best, draws = self.log_energy([cap_w])
        noise = self.posterior.noise if of_a_run else ()
        return weighted_interval(draws[:, 0], self.posterior.weights, float(np.exp(best[0])), noise)

    def band(self, caps_w: ArrayLike, energy: bool = False) -> list[Interval]:
        """Return time, or energy, of the law itself at many caps with 90 % intervals."""
        best, draws = self.log_energy(caps_w) if energy else self.log_time(caps_w)
        columns = zip(draws.T, np.exp(best).tolist(), strict=True)
        return [
            weighted_interval(column, self.posterior.weights, value) for column, value in columns
        ]

    def parameters(self) -> dict[str, Interval]:
        """Return the physical parameters; demand and static power as shares of the highest cap."""
        best = physical(self.posterior.best[None, :-1], self.prior)[0]
        draws = physical(self.posterior.draws[:, :-1], self.prior)
        weights = self.posterior.weights
        pairs = zip(PARAMETERS, best.tolist(), draws.T, strict=True)
        return {
            name: weighted_interval(np.log(values), weights, value) for name, value, values in pairs
        }

    def _both(self, caps_w: ArrayLike) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        caps = np.asarray(caps_w, float) / self.scale_w
        best, draws = self.posterior.best[None], self.posterior.draws
        found = []
        for z in (best, draws):
            time, power = response(z[:, :-1], caps, self.prior)
            found.append((time + z[:, -1:] + self.centre, power))
        return found[0], found[1]


def fit_caps(
    caps_w: ArrayLike,
    times_s: ArrayLike,
    powers_w: ArrayLike | None = None,
    prior: Array = PRIOR,
    scale_w: float | None = None,
) -> CapLaw:
    """Fit the law to probes at three or more caps; repeats of a cap may stand side by side.

    times_s   time of the same work (a sample, an epoch) at each cap
    powers_w  mean power of one device meanwhile; without it the law gives times only
    scale_w   the device's default limit, by default the highest cap probed
    Raises FitError for fewer than three caps and for numbers that are not positive and finite.
    """
    caps, times = positive("cap", caps_w), positive("time", times_s)
    powers = None if powers_w is None else positive("power", powers_w)
    if caps.shape != times.shape or (powers is not None and powers.shape != caps.shape):
        raise FitError("caps, times and powers differ in number")
    if len(np.unique(caps)) < 3:
        raise FitError(f"a cap law needs probes at three caps; there are {len(np.unique(caps))}")
    scale = float(caps.max()) if scale_w is None else scale_w
    log_t, shares, centre = np.log(times), caps / scale, float(np.log(times).mean())
    log_p = None if powers is None else np.log(powers / scale)

    each, place = np.unique(shares, return_inverse=True)

    def residuals(z: Array) -> Sequence[Array]:
        time, power = response(z[:, :-1], each, prior)
        of_time = time[:, place] + z[:, -1:] + centre - log_t
        return [of_time] if log_p is None else [of_time, power[:, place] - log_p]

    k = len(prior)
    starts = [
        [first, second, *[0.0] * (k - 1)]
        for first, second in ((0.0, 0.0), (1.5, 0.0), (-0.5, -1.5))
    ]
    posterior = fit_posterior(
        residuals, NOISE if powers is not None else NOISE[:1], starts, free=[k]
    )
    return CapLaw(scale, float(caps.min()), centre, powers is not None, prior, posterior)


def physical(z: Array, prior: Array = PRIOR) -> Array:
    """Return the physical parameters (n, 8), in the order of PARAMETERS, of standardised ones."""
    v = prior[:, 0] + prior[:, 1] * z
    logistic, plain = (0, 3, 6), (5,)
    columns = [
        1 / (1 + np.exp(-v[:, i])) if i in logistic else v[:, i] if i in plain else np.exp(v[:, i])
        for i in range(v.shape[1])
    ]
    return np.stack(columns, axis=1)


def with_work(z: Array, log_share: Array, prior: Array = PRIOR) -> Array:
    """Return parameters (n, 8) where the device works exp(``log_share``) (n,) of the time it did: it waits the rest."""
    works = (1 - physical(z, prior)[:, 0]) * np.exp(log_share)
    waits = np.clip(1 - works, _NEVER, 1 - _NEVER)
    found = z.copy()
    found[:, 0] = (np.log(waits / (1 - waits)) - prior[0, 0]) / prior[0, 1]
    return found


def response(z: Array, caps: Array, prior: Array = PRIOR) -> tuple[Array, Array]:
    """Return ln of relative time and ln of mean power (share of the scale), each (n, c), at caps given as shares."""
    h, demand, spread, kink, static, regulation, memory, kappa = physical(z, prior).T[
        :, :, None, None
    ]
    wanted = np.maximum(demand * np.exp(spread * _NODES), 1.05 * static)
    limit = np.maximum(regulation * caps[None, :, None], 1.1 * static)
    share = np.minimum((limit - static) / (wanted - static), 1.0)
    clock = np.where(share >= kink, share ** (1 / kappa), kink ** (1 / kappa) * share / kink)
    slower = memory + (1 - memory) / clock
    wait = h[:, :, 0]
    time = wait + (1 - wait) * (slower @ _WEIGHTS)
    energy = wait * static[:, :, 0] + (1 - wait) * ((slower * np.minimum(wanted, limit)) @ _WEIGHTS)
    return np.log(time), np.log(energy / time)
