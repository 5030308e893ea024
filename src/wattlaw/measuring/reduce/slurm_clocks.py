"""Clock limits that Slurm was requested to set (`srun --gpu-freq`), read back from telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wattlaw.core.reading import Note
from wattlaw.devices.meter import DeviceInfo
from wattlaw.measuring.files.host_files import HostWindow, read_host, read_telemetry
from wattlaw.measuring.limits.limits import CLOCKS, DeviceLimit, write_limits
from wattlaw.measuring.reduce.attempt import requested_slurm_clocks
from wattlaw.measuring.reduce.series import peak, within

_TOLERANCE = 0.02
"""Slurm takes the nearest clock that a device offers; a smaller difference is that rounding."""


def write_read_back(attempt: Path) -> None:
    """Write limits-<host>.json of every host from the clocks that its devices reported."""
    clocks = requested_slurm_clocks(attempt)
    if not clocks:
        return
    for path in attempt.glob("host-*.json"):
        host = read_host(path)
        telemetry = attempt / f"telemetry-{host.host}.csv"
        series = read_telemetry(telemetry) if telemetry.exists() else {}
        window = HostWindow(host, series, float("-inf"), float("inf"))
        limits = []
        for device in _gpus(window):
            limits += [_limit(window, device, name, value) for name, value in clocks.items()]
        write_limits(attempt, host.host, limits)


def clock_notes(clocks: Mapping[str, float], windows: Sequence[HostWindow]) -> list[Note]:
    """Return the warnings about clocks requested from Slurm: not in force, or not readable."""
    if not clocks:
        return []
    if not any(_gpus(window) for window in windows):
        text = "clocks were requested from Slurm, but no GPU is visible to read them back from"
        return [Note("clock_not_read_back", text)]
    notes = []
    for name in CLOCKS:
        for window in windows if name in clocks else ():
            for device in _gpus(window):
                notes += _notes(window, device.id, name, clocks[name])
    return notes


def _gpus(window: HostWindow) -> list[DeviceInfo]:
    return [d for d in window.host.devices if d.boundary == "gpu"]


def _limit(window: HostWindow, device: DeviceInfo, name: str, value: float) -> DeviceLimit:
    return DeviceLimit(
        control=name,
        device=device.uuid or device.id,
        asked=value,
        now=_reported_clock(window, device.id, name),
        by="slurm",
    )


def _notes(window: HostWindow, device: str, name: str, value: float) -> list[Note]:
    reported = _reported_clock(window, device, name)
    highest = peak(window.series_of(device).column(name), window.start_s, window.end_s)
    where, what = f"{device} on {window.host.host}", name.removesuffix("_mhz").replace("_", " ")
    if reported is not None and abs(reported - value) <= _TOLERANCE * value:
        return []
    if reported is not None:
        text = f"{where}: its {what} was set to {reported:g} MHz; {value:g} MHz were requested"
        return [Note("clock_not_as_asked", text)]
    if highest is not None and highest > value * (1 + _TOLERANCE):
        text = f"{where}: its {what} reached {highest:g} MHz; {value:g} MHz were requested"
        return [Note("clock_not_as_asked", text)]
    seen = "" if highest is None else f"; it was never above {highest:g} MHz"
    text = f"{where}: a {what} of {value:g} MHz was requested from Slurm but not read back{seen}"
    return [Note("clock_not_read_back", text)]


def _reported_clock(window: HostWindow, device: str, name: str) -> float | None:
    """Return the clock that a device reported as set: the median reading in the window, MHz."""
    column = window.series_of(device).column(f"application_{name}")
    values = sorted(within(column, window.start_s, window.end_s))
    return values[len(values) // 2] if values else None
