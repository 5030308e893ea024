"""What a prediction is asked for: the setting, the work, and prices."""

from __future__ import annotations

import math

import msgspec

from wattlaw.analysis.prices import Prices
from wattlaw.core.errors import UsageError
from wattlaw.laws.network import MOST_DEVICES
from wattlaw.laws.statistics.checks import LEAST, MOST


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The setting asked about, and what prices it.

    devices, nodes, batch_per_device, power_cap_w    the setting; None keeps what the runs had
    samples                                          work to be done; 1 gives figures per sample, None what the target
                                                     of the runs takes (laws/target.py)
    price_per_device_hour, price_per_kwh             in any one currency
    pue                                              power of the building over that of its machines
    step_spread                                      relative standard deviation of one device's step times, where known
    message_bytes, link_bytes_per_s, link_latency_s  gradient and slowest link, where one size only was run
    """

    devices: int
    nodes: int | None = None
    batch_per_device: int | None = None
    power_cap_w: float | None = None
    samples: float | None = 1.0
    price_per_device_hour: float | None = None
    price_per_kwh: float | None = None
    pue: float = 1.0
    step_spread: float = 0.0
    message_bytes: float | None = None
    link_bytes_per_s: float | None = None
    link_latency_s: float = 1e-5

    def prices(self) -> Prices:
        """Return the prices; 0 where none was given."""
        return Prices(self.price_per_device_hour or 0.0, self.price_per_kwh or 0.0, self.pue)


_POSITIVE = (
    "batch_per_device", "power_cap_w", "samples", "price_per_device_hour", "price_per_kwh", "message_bytes",
    "link_bytes_per_s", "link_latency_s",
)  # fmt: skip


def check(wanted: Wanted) -> None:
    """Raise UsageError for a setting that is impossible, and prices that mean nothing."""
    if not 1 <= wanted.devices <= MOST_DEVICES:
        raise UsageError(f"devices is {wanted.devices}; give 1 to {MOST_DEVICES}")
    if wanted.nodes is not None and not 1 <= wanted.nodes <= wanted.devices:
        raise UsageError(f"nodes is {wanted.nodes}; give 1 to the number of devices")
    for name in _POSITIVE:
        value = getattr(wanted, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value}; give a positive number")
        if value is not None and not LEAST <= value <= MOST:
            raise UsageError(f"{name} is {value}; give a number from {LEAST:g} to {MOST:g}")
    if not 0 <= wanted.step_spread < 1:
        raise UsageError(
            f"step_spread is {wanted.step_spread}; give a relative standard deviation from 0 to below 1"
        )
    wanted.prices().check()
