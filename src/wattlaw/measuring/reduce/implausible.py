"""Leaves implausible readings out of telemetry, and counts them. The files keep them."""

from __future__ import annotations

import math
from array import array

from wattlaw.core.reading import Note
from wattlaw.devices.meter import DeviceInfo
from wattlaw.devices.plausible import SENTINELS, PlausibleRange, plausible_range
from wattlaw.measuring.files.host_files import Host, HostWindow, Series, TelemetryColumn
from wattlaw.measuring.reduce.series import within

_SMALL_SENTINELS = tuple(float(value) for value in SENTINELS if value < 2**62)
_INTEGERS = ("_bytes",)


def leave_out_implausible(host: Host, series: dict[str, Series]) -> None:
    """Move the implausible readings of every device to its ``implausible`` columns."""
    infos = {info.id: info for info in host.devices}
    for device, own in series.items():
        _leave_out(own, device, infos.get(device))


def implausible_notes(window: HostWindow) -> list[Note]:
    """Return a warning for each quantity of which readings in the window are implausible."""
    infos = {info.id: info for info in window.host.devices}
    notes = []
    for device, series in window.series.items():
        for name, column in series.implausible.items():
            bad = within(column, window.start_s, window.end_s)
            if bad:
                good = within(series.column(name), window.start_s, window.end_s)
                allowed = plausible_range(name, device, infos.get(device))
                where = f"{device} on {window.host.host}"
                text = (
                    f"{where}: {len(bad)} of {len(bad) + len(good)} readings of {name} are "
                    f"implausible and left out, such as {_example(bad):g} "
                    f"(plausible: {allowed.low:g} to {allowed.high:g})"
                )
                notes.append(Note("implausible_readings", text))
    return notes


def _leave_out(series: Series, device: str, info: DeviceInfo | None) -> None:
    for name, column in series.columns.items():
        allowed = plausible_range(name, device, info)
        if _is_whole(name, column.values, allowed):
            continue
        good, bad = TelemetryColumn(), TelemetryColumn()
        for time_s, value in zip(column.times, column.values, strict=True):
            part = good if _is_plausible(name, value, allowed) else bad
            part.times.append(time_s)
            part.values.append(value)
        series.columns[name] = good
        series.implausible[name] = bad


def _is_whole(name: str, values: array[float], allowed: PlausibleRange) -> bool:
    """Return whether all values are plausible; columns have millions, so no loop in Python."""
    if not math.isfinite(sum(values)):
        return False
    if values and not allowed.low <= min(values) <= max(values) <= allowed.high:
        return False
    return not name.endswith(_INTEGERS) or not any(map(values.count, _SMALL_SENTINELS))


def _is_plausible(name: str, value: float, allowed: PlausibleRange) -> bool:
    is_sentinel = name.endswith(_INTEGERS) and value in _SMALL_SENTINELS
    return allowed.low <= value <= allowed.high and not is_sentinel  # false for NaN


def _example(values: array[float]) -> float:
    return max(values, key=abs)
