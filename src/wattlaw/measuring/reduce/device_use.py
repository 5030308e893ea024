"""What each device did in a window: energy both ways, power, utilisation, memory, temperature, clocks."""

from __future__ import annotations

import msgspec

from wattlaw.core.reading import Reading, measured, missing
from wattlaw.devices.meter import Boundary, DeviceInfo
from wattlaw.measuring.files.telemetry import Series
from wattlaw.measuring.reduce.series import mean, moved, peak
from wattlaw.measuring.reduce.window_energy import DeviceEnergy, HostWindow

HOLDING_DOWN = {"hw_slowdown", "thermal", "hw_thermal", "power_brake"}
"""What counts as throttling. A power cap, application clocks and idleness are settings, not faults."""


class DeviceUse(msgspec.Struct, frozen=True, kw_only=True):
    """One device in a window; None is "not read". ``energy`` is the reading that is taken, the two after it
    are what counter and sampled power gave, J. ``throttled_share`` is the share of readings in which heat
    or a power brake held the clocks down."""

    host: str
    device: str
    boundary: Boundary
    name: str = ""
    uuid: str = ""
    energy: Reading
    counter_energy_j: float | None = None
    sampled_energy_j: float | None = None
    mean_power_w: float | None = None
    max_power_w: float | None = None
    utilisation: float | None = None
    memory_peak_bytes: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttled_share: float | None = None
    pcie_received_bytes: float | None = None
    pcie_sent_bytes: float | None = None
    nvlink_received_bytes: float | None = None
    nvlink_sent_bytes: float | None = None


MOVED = {
    "pcie_received_bytes": "received_bytes",
    "pcie_sent_bytes": "sent_bytes",
    "nvlink_received_bytes": "nvlink_received_bytes",
    "nvlink_sent_bytes": "nvlink_sent_bytes",
}
"""Quantities of bytes that GPUs moved, and the columns of telemetry behind them."""


def device_uses(window: HostWindow, found: list[DeviceEnergy]) -> list[DeviceUse]:
    """Return every device of a host that has an energy, or is a GPU."""
    energies = {e.device.id: e for e in found if e.host == window.host.host}
    uses = []
    for info in window.host.devices:
        e = energies.get(info.id)
        if e is None and info.boundary != "gpu":
            continue
        uses.append(
            DeviceUse(
                host=window.host.host,
                device=info.id,
                boundary=info.boundary,
                name=info.name,
                uuid=info.uuid,
                energy=e.reading
                if e
                else Reading(None, "missing", info.reason or "no meter of its energy"),
                counter_energy_j=e.counter.value if e else None,
                sampled_energy_j=e.sampled.value if e else None,
                **_quantities(window, e),
                **_use(window, window.series.get(info.id) or Series()),
            )
        )
    return uses


def throttled_share(window: HostWindow, series: Series) -> float | None:
    """Return the share of readings in the window in which heat or a power brake held the clocks down."""
    seen = [names for at, names in series.throttle if window.start_s <= at <= window.end_s]
    if not seen:
        return None
    return sum(bool(HOLDING_DOWN.intersection(names.split("|"))) for names in seen) / len(seen)


def _quantities(window: HostWindow, e: DeviceEnergy | None) -> dict[str, float | None]:
    elapsed = window.end_s - window.start_s
    if e is None or e.reading.value is None or elapsed <= 0:
        return {}
    return {"mean_power_w": e.reading.value / elapsed}


def _use(window: HostWindow, series: Series) -> dict[str, float | None]:
    span = (window.start_s, window.end_s)
    return {
        "max_power_w": peak(series.column("power_w"), *span),
        "utilisation": mean(series.column("utilisation"), *span),
        "memory_peak_bytes": peak(series.column("memory_used_bytes"), *span),
        "temperature_c": peak(series.column("temperature_c"), *span),
        "sm_clock_mhz": mean(series.column("sm_clock_mhz"), *span),
        "memory_clock_mhz": mean(series.column("memory_clock_mhz"), *span),
        "throttled_share": throttled_share(window, series),
        **{name: moved(series.column(column), *span).value for name, column in MOVED.items()},
    }


def bytes_moved(windows: list[HostWindow]) -> dict[str, Reading]:
    """Return the bytes that all GPUs together moved, by way and direction; a sum that lacks one GPU is missing."""
    gpus = [
        (w, d)
        for w in windows
        for d in w.host.devices
        if d.boundary == "gpu" and not _is_in_another(d, w)
    ]
    return {name: _moved_by_all(gpus, column) for name, column in MOVED.items()} if gpus else {}


def _is_in_another(device: DeviceInfo, window: HostWindow) -> bool:
    return any(d.id == device.part_of for d in window.host.devices)


def _moved_by_all(gpus: list[tuple[HostWindow, DeviceInfo]], column: str) -> Reading:
    total = 0.0
    for w, device in gpus:
        found = moved((w.series.get(device.id) or Series()).column(column), w.start_s, w.end_s)
        if found.value is None:
            why = device.lacks.get(column) or (
                found.why if device.meter == "nvml" else f"{device.meter} has none"
            )
            return missing(f"{device.id} on {w.host.host}: {why}")
        total += found.value
    return measured(
        total,
        f"counters of {len(gpus)} GPU{'' if len(gpus) == 1 else 's'}, read about once a second",
    )
