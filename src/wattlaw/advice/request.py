"""A request for advice: an objective, limits and prices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wattlaw.analysis.prices import COST, Prices
from wattlaw.core.errors import UsageError, nearest
from wattlaw.core.quantities import (
    DEVICE_TIME,
    ENERGY,
    MORE,
    TIME,
    Limit,
    parse_limit,
    quantity,
)
from wattlaw.core.run import Run
from wattlaw.core.units import show

SHORT_NAMES = {"time": TIME, "device_time": DEVICE_TIME, "energy": ENERGY, "cost": COST}
"""Short names of quantities per sample."""

MAX_SLOWDOWN = 1e6


class Constraint(NamedTuple):
    """A limit in a quantity by which settings can be compared.

    ``requested`` is the limit as the user set it on a total, if it was converted; ``samples`` is
    the number of samples that the total is for.
    """

    limit: Limit
    requested: Limit | None = None
    samples: float = 1.0

    @property
    def quantity(self) -> str:
        """Name of the limited quantity."""
        return self.limit.quantity

    def __str__(self) -> str:
        if self.requested is None:
            return str(self.limit)
        return f"{self.limit} ({self.requested} for {self.samples:g} samples)"

    def holds(self, value: float) -> bool:
        """Return whether a value of the quantity is within the limit."""
        if quantity(self.quantity).better == MORE:
            return value >= self.limit.value
        return value <= self.limit.value


class AdviceRequest(NamedTuple):
    """An objective, constraints and prices.

    minimise      quantity to minimise; None takes the energy if it was measured, else the device
                  time
    max_slowdown  allowed increase of the time per sample over the fastest setting, as a share
    confidence    minimum probability with which the constraints must hold
    constraints   limits on other quantities
    """

    minimise: str | None
    max_slowdown: float | None
    confidence: float
    constraints: tuple[Constraint, ...]
    prices: Prices

    def limit_values(self) -> dict[str, float]:
        """Return the value of each limit by quantity."""
        return {c.quantity: c.limit.value for c in self.constraints}

    def limits_as_text(self, slowdown_probability: float | None = None) -> list[str]:
        """Return every limit as text, the bound on the slowdown first.

        ``slowdown_probability`` is the probability that this bound holds; it is added if there are
        other limits.
        """
        texts = [str(constraint) for constraint in self.constraints]
        if self.max_slowdown is not None:
            bound = f"slowdown ≤ {100 * self.max_slowdown:.3g} %"
            if texts and slowdown_probability is not None:
                bound += f" with probability {slowdown_probability:.2f}"
            texts.insert(0, bound)
        return texts


def parse_request(
    minimise: str | None,
    max_slowdown: float | None,
    confidence: float,
    limits: Mapping[str, float],
    samples: float | None,
    prices: Prices,
) -> AdviceRequest:
    """Check a request and return it in quantities by which settings can be compared.

    Raises UsageError for a value out of range, UnknownNameError for an unknown quantity.
    """
    objective = None if minimise is None else objective_of(minimise)
    if max_slowdown is not None and not 0 <= max_slowdown <= MAX_SLOWDOWN:
        raise UsageError(
            f"max_slowdown is {max_slowdown}; give a share from 0 to {MAX_SLOWDOWN:g}, such as 0.05"
        )
    if not 0 <= confidence < 1:
        raise UsageError(
            f"confidence is {confidence}; give a probability of at least 0 and below 1"
        )
    constraints = _constraints(limits, samples)
    check_prices(prices, [objective or "", *(c.quantity for c in constraints)])
    return AdviceRequest(objective, max_slowdown, confidence, constraints, prices)


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Return limits such as "time=20 ms" or "gpu_energy_j=3 kWh" by quantity, in its unit.

    Raises UsageError for a wrong value and for a quantity with two limits.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        limit = parse_limit(f"{SHORT_NAMES.get(name, name)}{equals}{value}")
        if limit.quantity in found:
            unit = quantity(limit.quantity).unit
            both = f"{show(found[limit.quantity], unit)} and {show(limit.value, unit)}"
            raise UsageError(f"{name} has two limits, {both}; give one --limit for it")
        found[limit.quantity] = limit.value
    return found


def comparable(name: str) -> str:
    """Return the quantity by which settings are compared: a total or a time of a step per sample.

    Windows hold different numbers of samples, and steps different batches.
    Raises UnknownNameError if there is no quantity of that name.
    """
    name = SHORT_NAMES.get(name, name)
    known = quantity(name)
    if known.basis == "step":
        return TIME
    return known.per_sample or name


def objective_of(name: str) -> str:
    """Return the quantity to minimise; see ``comparable``.

    Raises UsageError if larger values are better, UnknownNameError for an unknown quantity.
    """
    found = comparable(name)
    if quantity(found).better == MORE:
        raise UsageError(f"more {name} is better, so it cannot be minimised; minimise {TIME}")
    return found


def check_tunable(runs: Iterable[Run], names: Sequence[str]) -> None:
    """Raise UsageError if no run has an option that the request calls tunable."""
    known = sorted({option for run in runs for option in run.setting.options})
    for name in names:
        if name not in known:
            raise UsageError(
                f"tunable names {name!r}, but no run has that option; {nearest(name, known)}"
            )


def check_prices(prices: Prices, names: Sequence[str]) -> None:
    """Raise UsageError for prices out of range, or if a cost needs prices and has none."""
    prices.check()
    if COST in names and not prices.are_set:
        raise UsageError("a cost needs a price per device-hour, per kWh, or both")


def _constraints(limits: Mapping[str, float], samples: float | None) -> tuple[Constraint, ...]:
    if samples is not None and not (math.isfinite(samples) and samples > 0):
        raise UsageError(f"samples is {samples}; give a positive number")
    # several names may mean one quantity: the tightest limit holds
    found: dict[str, Constraint] = {}
    for name, value in limits.items():
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"the limit on {name} is {value}; it must be a positive number")
        made = _constraint(Limit(SHORT_NAMES.get(name, name), value), samples)
        other = found.get(made.quantity)
        if other is None or other.holds(made.limit.value):
            found[made.quantity] = made
    totals = [name for name in limits if quantity(SHORT_NAMES.get(name, name)).per_sample]
    if samples is not None and not totals:
        raise UsageError(
            "samples is used only by a limit on a total, such as device_hours; give one or leave "
            "samples out"
        )
    return tuple(found.values())


def _constraint(limit: Limit, samples: float | None) -> Constraint:
    per_sample = quantity(limit.quantity).per_sample
    if not per_sample:
        return Constraint(limit)
    if samples is None:
        raise UsageError(
            f"a limit on {limit.quantity}, a total, needs the number of samples that it is for: "
            f"add --samples N, or limit {per_sample} instead"
        )
    return Constraint(limit.per_sample(samples), limit, samples)
