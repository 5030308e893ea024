"""What time and energy cost: a price per accelerator-hour, a price per kWh, and the data centre's overhead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattlaw.core.errors import UsageError
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Reading, missing
from wattlaw.core.run import Run
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST

COST = "cost_per_sample"

_MOST = 1e15
_J_PER_KWH = 3.6e6


class Prices(NamedTuple):
    """Prices in any one currency; ``pue`` is the power of the building over that of its machines (ISO/IEC 30134-2)."""

    per_device_hour: float = 0.0
    per_kwh: float = 0.0
    pue: float = 1.0

    @property
    def are_set(self) -> bool:
        """Whether any price was given."""
        return self.per_device_hour > 0 or self.per_kwh > 0

    def cost(self, device_s: ArrayLike, energy_j: ArrayLike) -> NDArray[np.float64]:
        """Return the cost of device-seconds and of the joules that were metered."""
        hours, kwh = np.asarray(device_s, float) / 3600, np.asarray(energy_j, float) / _J_PER_KWH
        found: NDArray[np.float64] = self.per_device_hour * hours + self.per_kwh * self.pue * kwh
        return found

    def check(self) -> None:
        """Raise UsageError for a price below 0, a PUE below 1, or a PUE with no price per kWh."""
        for name, value in (
            ("price per device-hour", self.per_device_hour),
            ("price per kWh", self.per_kwh),
        ):
            if not 0 <= value <= _MOST:
                raise UsageError(
                    f"the {name} is {value}; give a number of at least 0 and at most {_MOST:g}"
                )
        if not 1 <= self.pue <= _MOST:
            raise UsageError(f"the PUE is {self.pue}; give a number of at least 1, such as 1.3")
        if self.pue != 1 and not self.per_kwh:
            raise UsageError("a PUE multiplies the price of energy; give a price per kWh with it")


NO_PRICES = Prices()


def priced(run: Run, name: str, prices: Prices) -> Reading:
    """Return a quantity of a run as ``derive`` does, and its cost per sample at these prices.

    Where energy has a price the run must have measured it: an estimate would only repeat the time.
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
    if prices.per_kwh and (energy.value is None or energy.status != "measured"):
        return missing("energy has a price, but no meter measured it")
    joules = (energy.value or 0.0) if prices.per_kwh else 0.0
    if joules < 0 or joules > LARGEST:
        return missing(f"an energy per sample of {joules:g} J has no cost")
    return Reading(float(prices.cost(time.value, joules)), time.status)
