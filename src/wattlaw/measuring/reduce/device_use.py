"""What each device used in a window: energy both ways, power, utilisation, memory, temperature, clocks, bytes moved."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.units import counted
from wattlaw.devices.cpu_model import cpu_energy
from wattlaw.devices.meter import Boundary, DeviceInfo
from wattlaw.measuring.files.host_files import Host, HostWindow, Series
from wattlaw.measuring.reduce.series import (
    Total,
    counter_total,
    mean,
    moved,
    peak,
    trapezoid,
    within,
)

DISAGREEMENT = 0.05
"""Counter and sampled power that differ by more than this share are warned about."""


BOUNDARIES: tuple[Boundary, ...] = ("gpu", "cpu", "dram", "node")


_SHORT_UPDATES = 20


_FEW_READINGS = 10


_LATE_S = 3.0


class DeviceEnergy(NamedTuple):
    """The energy of one device in a window, J, both ways, and the reading that is taken."""

    device: DeviceInfo
    host: str
    counter: Total
    sampled: Total
    reading: Reading


def device_energies(window: HostWindow) -> list[DeviceEnergy]:
    """Return the energy of every device of a host that has one."""
    return [_device(window, d) for d in window.host.devices if d.energy != "none"]


def boundary_energy(
    boundary: Boundary, windows: list[HostWindow], found: list[DeviceEnergy]
) -> Reading:
    """Return the energy within one boundary over all hosts: the sum of its devices, or why there is none.

    A sum that lacks one device is missing: part of an energy is no energy.
    """
    parts = [e for e in found if e.device.boundary == boundary]
    for window in windows:
        if window.host.shared and boundary in ("cpu", "dram", "node"):
            return missing(f"shared: {window.host.shared}")
        if window.host.gpus_unread and boundary == "gpu":
            return missing(f"{window.host.host}: {window.host.gpus_unread}")
        if not any(e.host == window.host.host for e in parts):
            return missing(_absent(boundary, window.host))
        if boundary == "gpu" and (silent := _without_energy(window.host)):
            return missing(f"{silent.id} on {window.host.host}: {silent.reason}")
    if not parts:
        return missing("no telemetry was recorded")
    for part in parts:
        if part.reading.value is None:
            return missing(f"{part.device.id} on {part.host}: {part.reading.how}")
    total = sum(p.reading.value for p in parts if p.reading.value is not None)
    hows = dict.fromkeys(p.reading.how for p in parts)
    return measured(total, f"{' and '.join(hows)} of {_count(parts)}")


def with_estimate(energy: Reading, cpu_time_s: float | None) -> Reading:
    """Return a CPU energy, or the estimate of the CPU model where nothing measured it."""
    return (
        cpu_energy(cpu_time_s) if energy.status == "missing" and cpu_time_s is not None else energy
    )


def energy_notes(window: HostWindow, found: list[DeviceEnergy]) -> list[Note]:
    """Return the warnings about a host's energies: disagreement, steps back, lost devices, short windows."""
    notes = []
    for e in found:
        where = f"{e.device.id} on {e.host}"
        if e.counter.value and e.sampled.value is not None:
            off = e.sampled.value / e.counter.value - 1
            if abs(off) > DISAGREEMENT:
                notes.append(
                    Note(
                        "counter_disagrees",
                        f"{where}: sampled power gives {off:+.0%} against the counter",
                    )
                )
        if (
            e.counter.value is None
            and e.sampled.value
            and _readings(window, e, "energy_j") >= _FEW_READINGS
        ):
            notes.append(
                Note(
                    "counter_disagrees",
                    f"{where}: {e.counter.why}; the energy is that of sampled power",
                )
            )
        if e.counter.steps_back:
            notes.append(
                Note(
                    "counter_went_back",
                    f"{where}: its energy counter fell {e.counter.steps_back} times",
                )
            )
        notes += _lost(window, e, where) + _short(window, e, where)
    return notes


def _device(window: HostWindow, device: DeviceInfo) -> DeviceEnergy:
    series = window.series.get(device.id) or Series()
    counter = counter_total(series.column("energy_j"), window.start_s, window.end_s)
    power = series.column("power_w")
    # as far as the readings go on after the window
    lag = max(0.0, min(device.lag_s, power.times[-1] - window.end_s)) if len(power) else 0.0
    sampled = trapezoid(power, window.start_s + lag, window.end_s + lag)
    if counter.value is not None:
        reading = measured(counter.value, f"{device.meter} counter")
    elif sampled.value is not None:
        reading = measured(sampled.value, f"{device.meter} sampled power")
    else:
        reading = missing(counter.why if device.energy == "counter" else sampled.why)
    return DeviceEnergy(device, window.host.host, counter, sampled, reading)


def _without_energy(host: Host) -> DeviceInfo | None:
    """Return a GPU of a host that has no energy and whose energy is in no other's."""
    gpus = [d for d in host.devices if d.boundary == "gpu"]
    metered = {d.id for d in gpus if d.energy != "none"}
    return next((d for d in gpus if d.id not in metered and d.part_of not in metered), None)


def _absent(boundary: Boundary, host: Host) -> str:
    """Return why a host has no energy within a boundary: what its devices or its meters say."""
    known = [d.reason for d in host.devices if d.boundary == boundary and d.reason]
    if known:
        return f"{known[0]} on {host.host}"
    said = [p.reason + (f"; `{p.grant}` would grant it" if p.grant else "")
            for p in host.probes if boundary in p.boundaries and p.reason]  # fmt: skip
    what = {"gpu": "GPU", "cpu": "CPU packages", "dram": "memory", "node": "whole node"}.get(
        boundary, boundary
    )
    return " / ".join(dict.fromkeys(said)) or f"no meter of the {what} on {host.host}"


def _lost(window: HostWindow, e: DeviceEnergy, where: str) -> list[Note]:
    series = window.series.get(e.device.id)
    times = [c.times[-1] for c in series.columns.values() if len(c)] if series else []
    newest = max(
        (c.times[-1] for s in window.series.values() for c in s.columns.values() if len(c)),
        default=None,
    )
    if newest is None:
        return []
    last = max(times, default=window.start_s)
    late = _LATE_S + 3 / window.host.hz
    if last < min(newest, window.end_s) - late:
        return [
            Note(
                "device_lost",
                f"{where} answered no more, {window.end_s - last:.1f} s before the window ended",
            )
        ]
    return []


def _short(window: HostWindow, e: DeviceEnergy, where: str) -> list[Note]:
    elapsed = window.end_s - window.start_s
    if e.device.update_s and elapsed < _SHORT_UPDATES * e.device.update_s:
        text = f"{elapsed:.2f} s are fewer than {_SHORT_UPDATES} update periods ({e.device.update_s:g} s) of {where}"
        return [Note("window_short", text)]
    n = _readings(window, e, "energy_j" if e.counter.value is not None else "power_w")
    if n < _FEW_READINGS:
        return [
            Note(
                "window_short",
                f"only {counted(n, 'reading')} of {where} lie{'s' * (n == 1)} within the window",
            )
        ]
    return []


def _readings(window: HostWindow, e: DeviceEnergy, column: str) -> int:
    series = window.series.get(e.device.id) or Series()
    return len(within(series.column(column), window.start_s, window.end_s))


def _count(parts: list[DeviceEnergy]) -> str:
    return parts[0].device.id if len(parts) == 1 else f"{len(parts)} devices"


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
            why = device.lacks.get(column, found.why)
            return missing(f"{device.id} on {w.host.host}: {why}")
        total += found.value
    return measured(
        total,
        f"counters of {len(gpus)} GPU{'' if len(gpus) == 1 else 's'}, read about once a second",
    )
