"""Judges readings: drivers answer sentinels and nonsense as if they were readings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from wattlaw.devices.meter import Boundary, DeviceInfo, Sample, boundary_of

SENTINELS = frozenset({2**31 - 1, *range(2**32 - 2, 2**32), *range(2**63 - 1, 2**63 + 1),
                       *range(2**64 - 2, 2**64)})  # fmt: skip
"""Values by which libraries say "unknown" or "not set": NVML's and AMD SMI's largest integers, and
Slurm's NO_VAL and INFINITE of 32 and 64 bits."""

MAX_POWER_W: dict[Boundary, float] = {
    "gpu": 1e4,
    "cpu": 5e3,
    "dram": 5e3,
    "psys": 2e4,
    "node": 2e5,
    "job": 2e5,
}
"""Power that no device of a boundary draws, if its own limit is unknown, W."""

_FAR_ABOVE = 3.0
"""A device exceeds its limit for milliseconds, but never by this factor in an average."""

_MIN_REFERENCE_W = 1500.0
"""A cap in force may be raised later: if the largest possible one is unknown, this is allowed."""


class PlausibleRange(NamedTuple):
    """The lowest and the highest plausible value, in the quantity's unit."""

    low: float
    high: float


_RANGES: dict[str, PlausibleRange] = {
    # shares may exceed 1 a little where a driver rounds
    "utilisation": PlausibleRange(0.0, 1.05),
    "memory_utilisation": PlausibleRange(0.0, 1.05),
    "temperature_c": PlausibleRange(-60.0, 150.0),
    "sm_clock_mhz": PlausibleRange(0.0, 2e4),
    "memory_clock_mhz": PlausibleRange(0.0, 2e4),
    "application_sm_clock_mhz": PlausibleRange(0.0, 2e4),
    "application_memory_clock_mhz": PlausibleRange(0.0, 2e4),
    # 10 TJ is 100 kW for three years
    "energy_j": PlausibleRange(0.0, 1e13),
    "cpu_time_s": PlausibleRange(0.0, 1e12),
    "processes": PlausibleRange(0.0, 1e7),
    "memory_used_bytes": PlausibleRange(0.0, 1e15),
}
_COUNT = PlausibleRange(0.0, 2.0**62)


def plausible_range(quantity: str, device: str, info: DeviceInfo | None = None) -> PlausibleRange:
    """Return the values of a quantity (a field of Sample) that a device can have."""
    if quantity == "power_w":
        return PlausibleRange(0.0, max_power_w(device, info))
    return _RANGES.get(quantity, _COUNT)


def max_power_w(device: str, info: DeviceInfo | None = None) -> float:
    """Return the power that a device cannot exceed, W: far above its limit, else its boundary's."""
    limits = {}
    if info is not None:
        limits = {n: v for n, v in info.limits.items() if n.endswith("_w") and v > 0}
    if not limits:
        return MAX_POWER_W[info.boundary if info else boundary_of(device)]
    highest = _FAR_ABOVE * max(limits.values())
    if "power_limit_max_w" in limits or "power_limit_default_w" in limits:
        return highest
    return max(highest, _MIN_REFERENCE_W)


def plausible_sample(sample: Sample, info: DeviceInfo | None) -> Sample:
    """Return a sample without its implausible values."""
    empty: dict[str, None] = {}
    for name in Sample.__struct_fields__:
        value = getattr(sample, name)
        if name == "time_s" or not isinstance(value, int | float):
            continue
        low, high = plausible_range(name, sample.device, info)
        if not low <= value <= high:  # true for NaN
            empty[name] = None
    return replace(sample, **empty) if empty else sample


def is_sentinel(value: object) -> bool:
    """Return whether an answer of a library means that it has no value."""
    return type(value) is int and value in SENTINELS


def plausible_limits(limits: Mapping[str, float]) -> dict[str, float]:
    """Return the limits, W and MHz, that a device can have."""
    found = {}
    for name, value in limits.items():
        most = MAX_POWER_W["gpu"] if name.endswith("_w") else _RANGES["sm_clock_mhz"].high
        if math.isfinite(value) and 0 <= value <= most:
            found[name] = value
    return found
