"""Which power cap to set: the least energy within a bound on the slowdown, over probed and unprobed caps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.laws.caps import CapLaw
from wattlaw.laws.statistics.posterior import Noise, interval_of

CONFIDENCE = 0.5
"""Least probability with which the bound must hold: more likely kept than not."""


class CapOption(NamedTuple):
    """What one cap is expected to do, against the reference cap: ``energy`` and ``cost`` as ratios, a slowdown's share.

    ``cost`` is what is to be small; it is the energy unless time has a price too.
    """

    cap_w: float
    cost: Interval
    energy: Interval
    slowdown: Interval
    probability: float
    is_measured: bool


def weigh_caps(
    law: CapLaw,
    candidates_w: Sequence[float],
    max_slowdown: float,
    measured: Mapping[float, tuple[float, float]],
    time_share: float = 0.0,
) -> list[CapOption]:
    """Weigh each candidate cap against the highest measured one.

    ``measured`` maps a cap to its measured (time, energy). A measured cap stands at its measurement, any other at
    the law, and both are compared with what was measured at the highest cap: against the law's own value there,
    bounds on published curves of either device are forecast worse. The probability that the bound holds allows
    for the noise of a measurement. ``time_share`` is the share of time in the cost at the highest cap; the rest is
    energy's (0: the energy is to be small, 1: the time).
    Raises FitError where nothing was measured or the law knows no energy.
    """
    if not measured:
        raise FitError("no measured cap to compare with")
    reference = max(measured)
    return [_weigh(law, cap, max_slowdown, measured, reference, time_share) for cap in candidates_w]


def choose_cap(options: Sequence[CapOption], confidence: float = CONFIDENCE) -> CapOption:
    """Return the option of least cost among those that keep the bound with the confidence asked for."""
    if not options:
        raise FitError("no cap to choose from")
    allowed = [o for o in options if o.probability >= confidence]
    return min(allowed or [max(options, key=lambda o: o.cap_w)], key=lambda o: o.cost.value)


def _weigh(
    law: CapLaw,
    cap: float,
    bound: float,
    measured: Mapping[float, tuple[float, float]],
    reference: float,
    time_share: float,
) -> CapOption:
    if cap == reference:
        return CapOption(
            cap,
            Interval(1.0, 1.0, 1.0),
            Interval(1.0, 1.0, 1.0),
            Interval(0.0, 0.0, 0.0),
            1.0,
            True,
        )
    noise, weights = law.posterior.noise, law.posterior.weights
    if cap in measured:
        noise = tuple(Noise(np.array([float(weights @ n.scale)]), n.df) for n in noise)
        slower = np.array([np.log(measured[cap][0] / measured[reference][0])])
        dearer = np.array([np.log(measured[cap][1] / measured[reference][1])])
        slowdown, saving, weights = float(slower[0]), float(dearer[0]), np.ones(1)
    else:
        (time,), slower = law.log_time([cap])
        (energy,), dearer = law.log_energy([cap])
        at_time, at_energy = np.log(measured[reference])
        slowdown, slower = float(time - at_time), slower[:, 0] - at_time
        saving, dearer = float(energy - at_energy), dearer[:, 0] - at_energy
    margin = (np.log1p(bound) - slower) / noise[0].scale
    probability = float(weights @ special.stdtr(noise[0].df, margin))
    ratio = interval_of(slower, weights, float(np.exp(slowdown)), noise[:1])
    cost = np.log(time_share * np.exp(slower) + (1 - time_share) * np.exp(dearer))
    middle = time_share * np.exp(slowdown) + (1 - time_share) * np.exp(saving)
    return CapOption(
        cap,
        interval_of(cost, weights, float(middle), noise if time_share < 1 else noise[:1]),
        interval_of(dearer, weights, float(np.exp(saving)), noise),
        Interval(ratio.value - 1, (ratio.low or 0) - 1, (ratio.high or 0) - 1),
        probability,
        cap in measured,
    )
