"""Which form forecasts best here? The one that predicts sizes which it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattlaw.core.findings import Interval
from wattlaw.laws import usl
from wattlaw.laws.power import fit_power, held_out_error
from wattlaw.laws.scaling import Points, ScalingLaw, fit_scaling

Array = NDArray[Any]

LEAST_SIZES = 4
"""Below so many sizes a held-out error says little, and the α–β law with its prior stands."""

CLEARLY = 0.5
"""A form without a prior is taken only where its held-out error is below this share of the α–β law's."""


def time_per_sample(law: ScalingLaw, rates: Array, target: Points) -> Interval:
    """Return the time per sample, s, at one setting, by the form with the least held-out error.

    ``law`` was fitted to ``rates`` at ``law.seen``. Forms without a batch compete only where the batch a device
    is the same at all settings.
    """
    rate = law.rate(target)[0]
    best = Interval(1 / rate.value, 1 / (rate.high or rate.value), 1 / (rate.low or rate.value))
    rival = _rival(law, rates, target)
    return rival or best


def _rival(law: ScalingLaw, rates: Array, target: Points) -> Interval | None:
    seen = law.seen
    share = np.append(seen.batches / seen.devices, target.batches / target.devices)
    if len(np.unique(seen.devices)) < LEAST_SIZES or np.ptp(share) > 1e-6 * share[0]:
        return None
    times = 1 / rates
    errors = {
        "power": held_out_error(seen.devices, times),
        "amdahl": usl.held_out_error(seen.devices, times, amdahl=True),
        "usl": usl.held_out_error(seen.devices, times),
    }
    name = min(errors, key=lambda n: errors[n])
    if errors[name] > CLEARLY * _held_out(law, rates):
        return None
    size = float(target.devices[0])
    if name == "power":
        return fit_power(seen.devices, times).interval(size, of_a_run=True)
    return usl.fit_usl(seen.devices, times, amdahl=name == "amdahl").time(size, of_a_run=True)


def _held_out(law: ScalingLaw, rates: Array) -> float:
    errors = []
    for size in np.unique(law.seen.devices):
        keep = law.seen.devices != size
        other = fit_scaling(Points(*(v[keep] for v in law.seen)), rates[keep], law.prior)
        middle, _ = other.log_rate(Points(*(v[~keep] for v in law.seen)))
        errors.append(float(np.abs(np.expm1(middle - np.log(rates[~keep]))).mean()))
    return float(np.median(errors))
