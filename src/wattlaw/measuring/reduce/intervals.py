"""Totals over the spans of a window in which training went on, its pauses left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from wattlaw.core.reading import Reading, Status, measured, missing
from wattlaw.measuring.files.pauses import Pause
from wattlaw.measuring.files.telemetry import Column
from wattlaw.measuring.reduce.device_use import bytes_moved
from wattlaw.measuring.reduce.series import growth
from wattlaw.measuring.reduce.window_energy import (
    BOUNDARIES,
    HostWindow,
    boundary_energy,
    cut_to,
    device_energies,
    with_estimate,
)

Span = tuple[float, float]
"""Start and end, s, on the clock common to all ranks."""


def without(whole: Span, pauses: Iterable[Pause]) -> list[Span]:
    """Return the parts of a window that lie in no pause; the window itself where none lies in it."""
    spans, start = [], whole[0]
    for pause in sorted(pauses, key=lambda p: p.start_s):
        if pause.end_s <= start or pause.start_s >= whole[1]:
            continue
        if pause.start_s > start:
            spans.append((start, pause.start_s))
        start = pause.end_s
    return [*spans, (start, whole[1])] if start < whole[1] or not spans else spans


def totals(
    windows: Sequence[HostWindow], spans: Sequence[Span], base_s: float
) -> dict[str, Reading]:
    """Return elapsed time, CPU time, energies and bytes moved, each summed over the spans.

    ``base_s`` is the common clock's offset to UTC. A sum that lacks a span is missing.
    """
    cuts = [
        [
            cut_to(w, start + base_s - w.host.offset_s, end + base_s - w.host.offset_s)
            for w in windows
        ]
        for start, end in spans
    ]
    found: dict[str, Reading] = {
        "elapsed_s": measured(sum(end - start for start, end in spans), "monotonic clock"),
        "cpu_time_s": added([_cpu_time(cut) for cut in cuts]),
    }
    for boundary in BOUNDARIES:
        found[f"{boundary}_energy_j"] = added(
            [
                boundary_energy(boundary, cut, [e for w in cut for e in device_energies(w)])
                for cut in cuts
            ]
        )
    found["cpu_energy_j"] = with_estimate(found["cpu_energy_j"], found["cpu_time_s"].value)
    moved = [bytes_moved(cut) for cut in cuts]
    return found | {name: added([m[name] for m in moved]) for name in (moved[0] if moved else {})}


def added(readings: Sequence[Reading]) -> Reading:
    """Return the sum of readings of one kind; missing where one of them is, or where there is none."""
    lacking = [r for r in readings if r.value is None]
    if lacking or not readings:
        return lacking[0] if lacking else missing("there is nothing to sum")
    status: Status = "estimated" if any(r.status == "estimated" for r in readings) else "measured"
    hows = "; ".join(dict.fromkeys(r.how for r in readings if r.how))
    return Reading(sum(r.value for r in readings if r.value is not None), status, hows)


def each(
    windows: Sequence[HostWindow],
    device: str,
    column: str,
    take: Callable[[Column, float, float], float | None],
) -> list[float]:
    """Return what ``take`` finds in a column of every device of that name, or of every one that begins with "gpu:"."""
    values = [
        take(series.column(column), w.start_s, w.end_s)
        for w in windows
        for name, series in w.series.items()
        if name == device or (device.endswith(":") and name.startswith(device))
    ]
    return [v for v in values if v is not None and math.isfinite(v)]


def sum_over_hosts(
    windows: Sequence[HostWindow],
    device: str,
    column: str,
    take: Callable[[Column, float, float], float | None],
) -> float | None:
    """Return the sum of one device's column over hosts; None where a host lacks it."""
    values = each(windows, device, column, take)
    return sum(values) if values and len(values) == len(windows) else None


def _cpu_time(windows: Sequence[HostWindow]) -> Reading:
    value = sum_over_hosts(windows, "job", "cpu_time_s", growth)
    if value is None:
        return missing(
            "the CPU time of the job's processes was not read in every span between pauses"
        )
    return measured(value, "processes of the job")
