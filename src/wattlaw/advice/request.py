"""What an advice is asked: the quantity to make small, bounds and prices; and the quantities that compare settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wattlaw.analysis.prices import COST, Prices
from wattlaw.core.errors import UsageError
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, GPU_ENERGY, TIME, quantity

_PER_SAMPLE = {
    "time": TIME, "elapsed_s": TIME, "step_time_s": TIME, "device_hours": DEVICE_TIME, "device_time": DEVICE_TIME,
    "energy": ENERGY, "energy_j": ENERGY, "gpu_energy_j": GPU_ENERGY, "cpu_energy_j": "cpu_energy_per_sample_j",
    "node_energy_j": "node_energy_per_sample_j", "cost": COST,
}  # fmt: skip
"""Totals of a window compare only per sample, since windows hold different numbers of samples."""

_MOST_SLOWDOWN = 1e6


class Asked(NamedTuple):
    """What is to be small (None: what the runs suggest) per sample, and within what.

    ``bound`` is the share of time allowed over the fastest setting's, ``limits`` the most of other quantities; they
    hold with at least ``confidence``.
    """

    minimise: str | None
    bound: float | None
    confidence: float
    limits: Mapping[str, float]
    prices: Prices

    def bounds(self) -> str:
        """Return the bounds in words; "" where there are none."""
        parts = [] if self.bound is None else [f"the bound of {100 * self.bound:.3g} %"]
        return " and ".join([*parts, self.limits_in_words()] if self.limits else parts)

    def limits_in_words(self) -> str:
        """Return the limits in words."""
        return " and ".join(f"{name} ≤ {most:g}" for name, most in self.limits.items())


def what_is_asked(
    minimise: str | None,
    max_slowdown: float | None,
    confidence: float,
    limits: Mapping[str, float],
    prices: Prices,
) -> Asked:
    """Return what is asked in quantities per sample. Raises UsageError for what means nothing."""
    what = None if minimise is None else per_sample(minimise)
    if max_slowdown is not None and not 0 <= max_slowdown <= _MOST_SLOWDOWN:
        raise UsageError(
            f"max_slowdown is {max_slowdown}; give a share of at least 0 and at most {_MOST_SLOWDOWN:g}, such as 0.05"
        )
    if not 0 <= confidence < 1:
        raise UsageError(
            f"confidence is {confidence}; give a probability of at least 0 and below 1"
        )
    least = _least(limits)
    check_prices(prices, [what or "", *least])
    return Asked(what, max_slowdown, confidence, least, prices)


def per_sample(name: str) -> str:
    """Return the quantity that compares settings; totals of a window hold different numbers of samples.

    Raises UnknownNameError where there is none of that name.
    """
    found = _PER_SAMPLE.get(name, name)
    quantity(found)
    return found


def check_prices(prices: Prices, names: Sequence[str]) -> None:
    """Raise UsageError for prices that mean nothing, or none where a cost is asked about."""
    prices.check()
    if COST in names and not prices.are_set:
        raise UsageError("a cost needs a price per device-hour, per kWh, or both")


def _least(limits: Mapping[str, float]) -> dict[str, float]:
    # several words may mean one quantity: all limits on it are to hold
    found: dict[str, float] = {}
    for name, most in limits.items():
        if not (math.isfinite(most) and most > 0):
            raise UsageError(f"the limit on {name} is {most}; give a positive number")
        found[per_sample(name)] = min(most, found.get(per_sample(name), math.inf))
    return found
