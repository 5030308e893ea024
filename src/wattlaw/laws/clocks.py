"""How time and power answer to a clock limit: t(f) and E(f) from three probes.

With f the clock as a share of the highest one probed:

    t(f) = t₁·(M + (1 − M)/f)              M: share of the time that waits for memory, host or network
    P(f) = P₁·(S + (1 − S)·g(f)·w(f))      S: static share of the power; w = (1 − M)/f ÷ (M + (1 − M)/f) at f,
                                           over its value at 1: the share of the time in which the clock works
    g(f) = f^κ above the kink f₀, f₀^(κ−1)·f below

Above the kink voltage rises with the clock, so power goes as f^κ, κ ≈ 3; below it voltage is at its least and
power goes as f. Energy is least where the dynamic power saved no longer pays for the static power of a longer run.
The prior is that of the cap law where both have a parameter; no published clock sweep has taught it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.statistics.arrays import Array, positive
from wattlaw.laws.statistics.posterior import Posterior, fit_posterior, weighted_interval

PARAMETERS = ("waiting_share", "static_share", "kink", "exponent")

PRIOR = np.array([(-0.85, 1.2), (-1.2, 0.7), (0.6, 0.8), (np.log(3.07), 0.16)])
"""Mean and standard deviation of logit M, logit S, logit f₀ and ln κ."""

NOISE = (0.012, 0.016)
"""Scale of relative noise of time and of mean power, as for caps."""


class ClockLaw(NamedTuple):
    """The law of one workload on one device; the last two parameters are ln t₁ and ln P₁ (where power was given)."""

    scale_mhz: float
    lowest_mhz: float
    has_power: bool
    posterior: Posterior

    def time(self, clock_mhz: float, of_a_run: bool = True) -> Interval:
        """Return time at a clock with its 90 % interval."""
        best, draws = self._both(clock_mhz)
        noise = self.posterior.noise[:1] if of_a_run else ()
        return weighted_interval(
            draws[0][:, 0], self.posterior.weights, float(np.exp(best[0][0, 0])), noise
        )

    def energy(self, clock_mhz: float, of_a_run: bool = True) -> Interval:
        """Return energy at a clock with its 90 % interval. Raises FitError where no power was measured."""
        if not self.has_power:
            raise FitError("no power was given with the times, so this law knows no energy")
        best, draws = self._both(clock_mhz)
        logs = draws[0][:, 0] + draws[1][:, 0]
        value = float(np.exp(best[0][0, 0] + best[1][0, 0]))
        return weighted_interval(
            logs, self.posterior.weights, value, self.posterior.noise if of_a_run else ()
        )

    def parameters(self) -> dict[str, Interval]:
        """Return the physical parameters; the kink as a share of the highest clock."""
        best, draws = _physical(self.posterior.best[None]), _physical(self.posterior.draws)
        columns = zip(PARAMETERS, best[0].tolist(), draws.T, strict=True)
        return {
            name: weighted_interval(np.log(values), self.posterior.weights, value)
            for name, value, values in columns
        }

    def _both(self, clock_mhz: float) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        share = np.array([clock_mhz / self.scale_mhz])
        return response(self.posterior.best[None], share), response(self.posterior.draws, share)


def fit_clocks(
    clocks_mhz: ArrayLike, times_s: ArrayLike, powers_w: ArrayLike | None = None
) -> ClockLaw:
    """Fit the law to probes at three or more clocks; repeats of a clock may stand side by side.

    Raises FitError for fewer than three clocks and for numbers that are not positive and finite.
    """
    clocks, times = positive("clock", clocks_mhz), positive("time", times_s)
    powers = None if powers_w is None else positive("power", powers_w)
    if clocks.shape != times.shape or (powers is not None and powers.shape != clocks.shape):
        raise FitError("clocks, times and powers differ in number")
    if len(np.unique(clocks)) < 3:
        raise FitError(
            f"a clock law needs probes at three clocks; there are {len(np.unique(clocks))}"
        )
    scale = float(clocks.max())
    shares, log_t = clocks / scale, np.log(times)
    log_p = None if powers is None else np.log(powers)

    def residuals(z: Array) -> Sequence[Array]:
        time, power = response(z, shares)
        return [time - log_t] if log_p is None else [time - log_t, power - log_p]

    start = [
        0.0,
        0.0,
        0.0,
        0.0,
        float(log_t.min()),
        float(log_p.max()) if log_p is not None else 0.0,
    ]
    free = [4, 5] if log_p is not None else [4]
    posterior = fit_posterior(
        residuals, NOISE if log_p is not None else NOISE[:1], [start], free=free
    )
    return ClockLaw(scale, float(clocks.min()), powers is not None, posterior)


def response(z: Array, shares: Array) -> tuple[Array, Array]:
    """Return ln of time and ln of mean power, each (n, c), at clocks given as shares of the highest."""
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
