"""What each device used in a window: energy, power, utilisation, memory, clocks, bytes.

Energies within a boundary are sums over devices, or missing with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.units import counted
from wattlaw.devices.cpu_model import cpu_energy
from wattlaw.devices.meter import Boundary, DeviceInfo
from wattlaw.devices.plausible import max_power_w
from wattlaw.measuring.files.host_files import Host, HostWindow, Series
from wattlaw.measuring.reduce.series import (
    Total,
    bytes_total,
    counter_total,
    integral,
    is_same_counter,
    mean,
    peak,
    within,
)

BOUNDARIES: tuple[Boundary, ...] = ("gpu", "cpu", "dram", "node")

DISAGREEMENT = 0.05
"""A larger relative difference between counter and sampled power is a warning."""

THROTTLING = {"hw_slowdown", "thermal", "hw_thermal", "power_brake"}
"""Reasons that count as throttling. A power cap, application clocks and idleness do not."""

BYTE_COLUMNS = {
    "pcie_received_bytes": "received_bytes",
    "pcie_sent_bytes": "sent_bytes",
    "nvlink_received_bytes": "nvlink_received_bytes",
    "nvlink_sent_bytes": "nvlink_sent_bytes",
}
"""Quantities of bytes that GPUs transferred, and their columns of telemetry."""

_BOUNDARY_NAMES = {"gpu": "GPU", "cpu": "CPU packages", "dram": "memory", "node": "whole node"}

_SHORT_UPDATES = 20
_FEW_READINGS = 10
_LATE_S = 3.0


class DeviceEnergy(NamedTuple):
    """The energy of a device in a window, J: by counter, by sampled power, and the one used.

    same_as  id of the device whose counter this one repeats; that one is counted
    """

    device: DeviceInfo
    host: str
    counter: Total
    sampled: Total
    reading: Reading
    same_as: str = ""


class DeviceUse(msgspec.Struct, frozen=True, kw_only=True):
    """One device in a window; None means not read.

    ``energy`` is the reading that is used; ``counter_energy_j`` and ``sampled_energy_j`` are
    those of the counter and of sampled power, J. ``throttled_share`` is the share of readings in
    which heat or a power brake reduced the clocks.
    """

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


def device_energies(window: HostWindow) -> list[DeviceEnergy]:
    """Return the energy of every device of a host that has one."""
    energies = [_device_energy(window, d) for d in window.host.devices if d.energy != "none"]
    return [_without_mirrored(window, e, energies[:i]) for i, e in enumerate(energies)]


def boundary_energy(
    boundary: Boundary, windows: Sequence[HostWindow], energies: Sequence[DeviceEnergy]
) -> Reading:
    """Return the energy within one boundary: the sum over devices of all hosts, or missing.

    A sum that lacks one device is missing: part of an energy is never given as the whole.
    """
    parts = [e for e in energies if e.device.boundary == boundary]
    for window in windows:
        why = _why_missing(boundary, window.host, parts)
        if why:
            return missing(why)
    if not parts:
        return missing("no telemetry was recorded")
    parts = [part for part in parts if not part.same_as]
    for part in parts:
        if part.reading.value is None:
            return missing(f"{part.device.id} on {part.host}: {part.reading.how}")
    total = sum(p.reading.value or 0.0 for p in parts)
    how = " and ".join(dict.fromkeys(p.reading.how for p in parts))
    devices = parts[0].device.id if len(parts) == 1 else f"{len(parts)} devices"
    return measured(total, f"{how} of {devices}")


def with_estimate(
    energy: Reading,
    cpu_time_s: float | None,
    windows: Sequence[HostWindow],
    energies: Sequence[DeviceEnergy],
) -> Reading:
    """Return a CPU energy, or the estimate of the CPU model if nothing measured it.

    There is no estimate beside a measured part: the missing energy names the part that lacks.
    """
    if energy.status != "missing" or cpu_time_s is None:
        return energy
    if any(_is_part_measured(window.host, energies) for window in windows):
        return energy
    return cpu_energy(cpu_time_s)


def _is_part_measured(host: Host, energies: Sequence[DeviceEnergy]) -> bool:
    """Return whether some CPU packages of a host were measured and others were not."""
    if host.shared:
        return False
    packages = {d.id for d in host.devices if d.boundary == "cpu"}
    own = [e for e in energies if e.host == host.host and e.device.id in packages]
    measured_ids = {e.device.id for e in own if e.reading.value is not None}
    mirrored_ids = {e.device.id for e in own if e.same_as}
    return bool(measured_ids) and bool(packages - measured_ids - mirrored_ids)


def device_uses(window: HostWindow, energies: Sequence[DeviceEnergy]) -> list[DeviceUse]:
    """Return every device of a host that has an energy or is a GPU."""
    by_id = {e.device.id: e for e in energies if e.host == window.host.host}
    uses = []
    for device in window.host.devices:
        energy = by_id.get(device.id)
        if energy or device.boundary == "gpu":
            uses.append(_device_use(window, device, energy))
    return uses


def bytes_transferred(windows: Sequence[HostWindow]) -> dict[str, Reading]:
    """Return the bytes that all GPUs transferred; a sum that lacks one GPU is missing."""
    gpus = []
    for window in windows:
        ids = {d.id for d in window.host.devices}
        whole = [d for d in window.host.devices if d.part_of not in ids]
        gpus += [(window, d) for d in whole if d.boundary == "gpu"]
    if not gpus:
        return {}
    return {name: _bytes_of_all(gpus, column) for name, column in BYTE_COLUMNS.items()}


def energy_notes(window: HostWindow, energies: Sequence[DeviceEnergy]) -> list[Note]:
    """Return the warnings about energies: disagreement, falls, lost devices, short windows."""
    notes = []
    for e in energies:
        where = f"{e.device.id} on {e.host}"
        if e.same_as:
            text = f"{where} shows the energy counter of {e.same_as}, which is counted once"
            notes.append(Note("mirrored_counter", text))
            continue
        notes += _disagreement(window, e, where)
        if e.counter.steps_back:
            text = f"{where}: its energy counter fell {e.counter.steps_back} times"
            notes.append(Note("counter_went_back", text))
        notes += _lost_device(window, e, where) + _short_window(window, e, where)
    return notes


def _device_energy(window: HostWindow, device: DeviceInfo) -> DeviceEnergy:
    series = window.series_of(device.id)
    counter = counter_total(
        series.column("energy_j"),
        window.start_s,
        window.end_s,
        max_power_w(device.id, device),
        device.update_s or 0.0,
    )
    power = series.column("power_w")
    # power readings lag; shift the window by the lag as far as readings follow it
    following_s = power.times[-1] - window.end_s if len(power) else 0.0
    lag_s = max(0.0, min(device.lag_s, following_s))
    sampled = integral(power, window.start_s + lag_s, window.end_s + lag_s)
    if counter.value is not None:
        reading = measured(counter.value, f"{device.meter} counter")
    elif sampled.value == 0 and window.end_s > window.start_s:
        why = f"{counter.why}; " if device.energy == "counter" else ""
        reading = missing(f"{why}its power reads 0 W throughout")
    elif sampled.value is not None:
        reading = measured(sampled.value, f"{device.meter} sampled power")
    else:
        reading = missing(_why_no_energy(device, series, counter, sampled))
    return DeviceEnergy(device, window.host.host, counter, sampled, reading)


def _without_mirrored(
    window: HostWindow, energy: DeviceEnergy, before: Sequence[DeviceEnergy]
) -> DeviceEnergy:
    """Return an energy, or mark it if an earlier device of its meter has the same counter."""
    device = energy.device
    if not device.may_mirror or energy.counter.value is None:
        return energy
    column = window.series_of(device.id).column("energy_j")
    for other in before:
        is_alike = other.device.may_mirror and other.device.meter == device.meter
        if not is_alike or other.device.boundary != device.boundary or other.same_as:
            continue
        theirs = window.series_of(other.device.id).column("energy_j")
        if is_same_counter(column, theirs):
            reading = missing(f"its counter is that of {other.device.id}, which is counted")
            return energy._replace(reading=reading, same_as=other.device.id)
    return energy


def _why_no_energy(device: DeviceInfo, series: Series, counter: Total, sampled: Total) -> str:
    column = "energy_j" if device.energy == "counter" else "power_w"
    why = counter.why if device.energy == "counter" else sampled.why
    bad = series.implausible.get(column)
    return f"{why}; {len(bad)} of its readings are implausible" if bad else why


def _why_missing(boundary: Boundary, host: Host, parts: Sequence[DeviceEnergy]) -> str:
    """Return why a host lacks the energy within a boundary; "" if it has devices for it."""
    if host.shared and boundary in ("cpu", "dram", "node"):
        return f"shared: {host.shared}"
    if host.gpus_unread and boundary == "gpu":
        return f"{host.host}: {host.gpus_unread}"
    if not any(part.host == host.host for part in parts):
        return _why_no_device(boundary, host)
    if boundary == "node":  # the node's use and its energy come from two meters
        return ""
    device = _device_without_energy(boundary, host)
    return f"{device.id} on {host.host}: {device.reason}" if device else ""


def _device_without_energy(boundary: Boundary, host: Host) -> DeviceInfo | None:
    """Return a device without an energy, neither its own nor that of the device it is part of."""
    devices = [d for d in host.devices if d.boundary == boundary]
    metered = {d.id for d in devices if d.energy != "none"}
    for device in devices:
        if device.id not in metered and device.part_of not in metered:
            return device
    return None


def _why_no_device(boundary: Boundary, host: Host) -> str:
    """Return why a host has no energy within a boundary: the reasons of its devices or meters."""
    for device in host.devices:
        if device.boundary == boundary and device.reason:
            return f"{device.reason} on {host.host}"
    reasons = []
    for probe in host.probes:
        if boundary in probe.boundaries and probe.reason:
            grant = f"; `{probe.grant}` would grant it" if probe.grant else ""
            reasons.append(probe.reason + grant)
    if reasons:
        return " / ".join(dict.fromkeys(reasons))
    return f"no meter of the {_BOUNDARY_NAMES.get(boundary, boundary)} on {host.host}"


def _device_use(window: HostWindow, device: DeviceInfo, energy: DeviceEnergy | None) -> DeviceUse:
    series = window.series_of(device.id)
    span = (window.start_s, window.end_s)
    if energy is None:
        none = Total(None)
        reading = missing(device.reason or "no meter of its energy")
        energy = DeviceEnergy(device, window.host.host, none, none, reading)
    reading = energy.reading
    elapsed_s = window.end_s - window.start_s
    mean_power_w = None
    if reading.value is not None and elapsed_s > 0:
        mean_power_w = reading.value / elapsed_s
    columns = BYTE_COLUMNS.items()
    transferred = {name: bytes_total(series.column(c), *span).value for name, c in columns}
    return DeviceUse(
        host=window.host.host,
        device=device.id,
        boundary=device.boundary,
        name=device.name,
        uuid=device.uuid,
        energy=reading,
        counter_energy_j=energy.counter.value,
        sampled_energy_j=energy.sampled.value,
        mean_power_w=mean_power_w,
        max_power_w=peak(series.column("power_w"), *span),
        utilisation=mean(series.column("utilisation"), *span),
        memory_peak_bytes=peak(series.column("memory_used_bytes"), *span),
        temperature_c=peak(series.column("temperature_c"), *span),
        sm_clock_mhz=mean(series.column("sm_clock_mhz"), *span),
        memory_clock_mhz=mean(series.column("memory_clock_mhz"), *span),
        throttled_share=_throttled_share(window, series),
        **transferred,
    )


def _throttled_share(window: HostWindow, series: Series) -> float | None:
    in_window = [names for t, names in series.throttle if window.start_s <= t <= window.end_s]
    if not in_window:
        return None
    throttled = [names for names in in_window if THROTTLING.intersection(names.split("|"))]
    return len(throttled) / len(in_window)


def _bytes_of_all(gpus: Sequence[tuple[HostWindow, DeviceInfo]], column: str) -> Reading:
    total = 0.0
    for window, device in gpus:
        series = window.series_of(device.id)
        found = bytes_total(series.column(column), window.start_s, window.end_s)
        if found.value is None:
            why = device.lacks.get(column, found.why)
            return missing(f"{device.id} on {window.host.host}: {why}")
        total += found.value
    return measured(total, f"counters of {counted(len(gpus), 'GPU')}, read about once a second")


def _disagreement(window: HostWindow, e: DeviceEnergy, where: str) -> list[Note]:
    if e.counter.value and e.sampled.value is not None:
        off = e.sampled.value / e.counter.value - 1
        if abs(off) > DISAGREEMENT:
            text = f"{where}: sampled power gives {off:+.0%} compared with the counter"
            return [Note("counter_disagrees", text)]
    has_readings = _readings(window, e, "energy_j") >= _FEW_READINGS
    if e.counter.value is None and e.sampled.value and has_readings:
        text = f"{where}: {e.counter.why}; the energy is that of sampled power"
        if e.counter.is_implausible:
            return [Note("implausible_readings", text)]
        return [Note("counter_disagrees", text)]
    if e.counter.is_implausible:
        return [Note("implausible_readings", f"{where}: {e.counter.why}")]
    return []


def _lost_device(window: HostWindow, e: DeviceEnergy, where: str) -> list[Note]:
    newest_s = window.newest_s()
    if newest_s is None:
        return []
    last_s = window.series_of(e.device.id).newest_s()
    if last_s is None:
        last_s = window.start_s
    late_s = _LATE_S + 3 / window.host.hz
    if last_s >= min(newest_s, window.end_s) - late_s:
        return []
    text = f"{where} stopped answering {window.end_s - last_s:.1f} s before the window ended"
    return [Note("device_lost", text)]


def _short_window(window: HostWindow, e: DeviceEnergy, where: str) -> list[Note]:
    elapsed_s = window.end_s - window.start_s
    update_s = e.device.update_s
    if update_s and elapsed_s < _SHORT_UPDATES * update_s:
        text = (
            f"{elapsed_s:.2f} s are fewer than {_SHORT_UPDATES} update periods "
            f"({update_s:g} s) of {where}"
        )
        return [Note("window_short", text)]
    n = _readings(window, e, "power_w" if e.counter.value is None else "energy_j")
    if n < _FEW_READINGS:
        return [Note("window_short", f"only {counted(n, 'reading')} of {where} in the window")]
    return []


def _readings(window: HostWindow, e: DeviceEnergy, column: str) -> int:
    series = window.series_of(e.device.id)
    return len(within(series.column(column), window.start_s, window.end_s))
