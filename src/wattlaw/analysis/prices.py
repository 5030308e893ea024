"""Costs: a price per device-hour, a price per kWh, and the overhead of the building."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import UsageError
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Reading, missing
from wattlaw.core.run import Run
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, Array

COST = "cost_per_sample"

_MAX_PRICE = 1e15
_J_PER_KWH = 3.6e6


class Prices(NamedTuple):
    """Prices in any one currency.

    ``pue`` is the power of the building divided by that of its machines (ISO/IEC 30134-2).
    """

    per_device_hour: float = 0.0
    per_kwh: float = 0.0
    pue: float = 1.0

    @property
    def are_set(self) -> bool:
        """Whether there is any price."""
        return self.per_device_hour > 0 or self.per_kwh > 0

    def cost(self, device_s: ArrayLike, energy_j: ArrayLike) -> Array:
        """Return the cost of device-seconds and of metered joules, arrays of one shape."""
        hours, kwh = np.asarray(device_s, float) / 3600, np.asarray(energy_j, float) / _J_PER_KWH
        found: Array = self.per_device_hour * hours + self.per_kwh * self.pue * kwh
        return found

    def check(self) -> None:
        """Raise UsageError for a price below 0, a PUE below 1, or a PUE without a price per kWh."""
        for name, value in (
            ("price per device-hour", self.per_device_hour),
            ("price per kWh", self.per_kwh),
        ):
            if not 0 <= value <= _MAX_PRICE:
                raise UsageError(f"the {name} is {value}; give a number from 0 to {_MAX_PRICE:g}")
        if not 1 <= self.pue <= _MAX_PRICE:
            raise UsageError(f"the PUE is {self.pue}; give a number of at least 1, such as 1.3")
        if self.pue != 1 and not self.per_kwh:
            raise UsageError("a PUE multiplies the price of energy; give a price per kWh with it")


NO_PRICES = Prices()


def priced(run: Run, name: str, prices: Prices) -> Reading:
    """Return a quantity of a run as ``derive`` does, and also its cost per sample at these prices.

    If energy has a price, it must have been measured: an estimate would only repeat the time.
    """
    if name != COST:
        return derive(run, name)
    if not prices.are_set:
        return missing("no price was given")
    time, energy = derive(run, "device_time_per_sample_s"), derive(run, "energy_per_sample_j")
    if time.value is None:
        return time
    if not SMALLEST <= time.value <= LARGEST:
        return missing(f"a time per sample of {time.value:g} s has no cost")
    joules = 0.0
    if prices.per_kwh:
        if energy.value is None or energy.status != "measured":
            return missing("energy has a price, but no meter measured it")
        joules = energy.value
    if joules < 0 or joules > LARGEST:
        return missing(f"an energy per sample of {joules:g} J has no cost")
    return Reading(float(prices.cost(time.value, joules)), time.status)
