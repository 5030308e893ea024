"""Energy of each device and of each boundary in a window: by counter and by sampled power, or missing, because …"""

from __future__ import annotations

from typing import NamedTuple

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.units import counted
from wattlaw.devices.cpu_model import cpu_energy
from wattlaw.devices.meter import Boundary, DeviceInfo
from wattlaw.measuring.files.host import Host
from wattlaw.measuring.files.telemetry import Series
from wattlaw.measuring.reduce.series import Total, counter_total, trapezoid, within

DISAGREEMENT = 0.05
"""Counter and sampled power that differ by more than this share are warned about."""

BOUNDARIES: tuple[Boundary, ...] = ("gpu", "cpu", "dram", "node")

EDGE_MARGIN_S = 15.0
"""Telemetry this far beyond a window is used too, for slow counters at its edges."""

_SHORT_UPDATES = 20
_FEW_READINGS = 10
_LATE_S = 3.0


class HostWindow(NamedTuple):
    """One host's telemetry, with the window on that host's own monotonic clock, s."""

    host: Host
    series: dict[str, Series]
    start_s: float
    end_s: float


def cut_to(window: HostWindow, start_s: float, end_s: float) -> HostWindow:
    """Return a part of a host's window, with as much telemetry around it as its edges need."""
    margin = EDGE_MARGIN_S
    return HostWindow(
        window.host,
        {d: s.between(start_s - margin, end_s + margin) for d, s in window.series.items()},
        start_s,
        end_s,
    )


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
    meters = {"gpu": ("nvml", "amdsmi"), "cpu": ("rapl",), "dram": ("rapl",)}.get(boundary, ())
    said = [p.reason + (f"; `{p.grant}` would grant it" if p.grant else "")
            for p in host.probes if p.meter in meters and p.reason]  # fmt: skip
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
