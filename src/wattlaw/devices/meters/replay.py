"""Plays a recorded trace as if it were a device, so that the truth about a measurement is known."""

from __future__ import annotations

import bisect
import csv
import itertools
import os
import time
from collections.abc import Callable

from msgspec.structs import replace

from wattlaw.core.errors import DataError
from wattlaw.devices.meter import (
    LINK_BYTES,
    TELEMETRY_COLUMNS,
    DeviceInfo,
    EnergyBy,
    Meter,
    Probe,
    Sample,
    Scope,
    boundary_of,
    lag_of,
)

NAMES = {"replay": "Replay"}


class Replay(Meter):
    """Answers each reading with the newest row of each device in the trace at that moment.

    The trace has the columns of telemetry-<host>.csv; its rows are the moments at which the device
    updates, and its first row is the moment of the probe. A device stops answering after its last
    row.
    """

    boundaries = ("gpu", "cpu", "dram", "node")
    priority = 50

    def __init__(self, scope: Scope, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(scope)
        self.clock = clock
        self.rows: dict[str, list[Sample]] = {}
        self.times: dict[str, list[float]] = {}
        self.shift = 0.0

    def probe(self) -> Probe:
        if not self.scope.replay:
            return Probe(
                meter="replay", reason="no trace to replay", grant="export WATTLAW_REPLAY=TRACE.csv"
            )
        try:
            rows = read_trace(self.scope.replay)
        except (OSError, DataError) as error:
            return Probe(meter="replay", reason=str(error), grant="export WATTLAW_REPLAY=TRACE.csv")
        for row in rows:
            self.rows.setdefault(row.device, []).append(row)
        for device, of_device in self.rows.items():
            self.times[device] = [row.time_s for row in of_device]
        first = rows[0].time_s if rows else 0.0
        self.shift = self.clock() - first
        return Probe(meter="replay", devices=tuple(self._info(d) for d in self.rows))

    def read(self) -> list[Sample]:
        return [replace(row, time_s=now) for row, now in self._current()]

    def read_quick(self) -> list[Sample]:
        found = []
        for row, now in self._current():
            power = row.power_w if row.energy_j is None else None
            energy = row.energy_j
            found.append(Sample(time_s=now, device=row.device, energy_j=energy, power_w=power))
        return found

    def _current(self) -> list[tuple[Sample, float]]:
        """Return the current row of each device that has not ended, and the time of its reading."""
        found = []
        for device, times in self.times.items():
            now = self.clock()
            index = bisect.bisect_right(times, now - self.shift) - 1
            if index >= 0 and now - self.shift <= times[-1]:
                found.append((self.rows[device][index], now))
        return found

    def _info(self, device: str) -> DeviceInfo:
        rows, times = self.rows[device], self.times[device]
        has_power = any(row.power_w is not None for row in rows)
        energy: EnergyBy = "none"
        if any(row.energy_j is not None for row in rows):
            energy = "counter"
        elif has_power:
            energy = "power"
        steps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
        not_in_trace = [name for name in LINK_BYTES if not _has_column(rows, name)]
        update_s, lag_s = None, 0.0
        if steps:
            update_s = steps[len(steps) // 2]
            lag_s = lag_of(update_s) if has_power else 0.0
        return DeviceInfo(
            id=device,
            boundary=boundary_of(device),
            meter="replay",
            name=f"replay of {os.path.basename(self.scope.replay)}",
            energy=energy,
            update_s=update_s,
            lacks=dict.fromkeys(not_in_trace, "the trace has no such column"),
            lag_s=lag_s,
        )


def read_trace(path: str) -> list[Sample]:
    """Read a trace, oldest row first. Raises OSError, or DataError naming file, line and column."""
    found = []
    with open(path, encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            found.append(_sample(row, f"{path}:{line}"))
    return sorted(found, key=lambda sample: sample.time_s)


def _sample(row: dict[str, str], place: str) -> Sample:
    numbers: dict[str, float] = {}
    for name, text in row.items():
        if name in ("device", "throttle") or not text:
            continue
        if name not in TELEMETRY_COLUMNS:
            raise DataError(f"{place}: a trace has no column {name!r}")
        try:
            numbers[name] = float(text)
        except ValueError:
            raise DataError(f"{place}: {name} is {text!r}; a number is needed") from None
    if "time_s" not in numbers:
        raise DataError(f"{place}: no time_s")
    device, throttle = row.get("device") or "node", row.get("throttle") or None
    return Sample(device=device, throttle=throttle, **numbers)  # type: ignore[arg-type]


def _has_column(rows: list[Sample], name: str) -> bool:
    return any(getattr(row, name) is not None for row in rows)
