"""Plays a recorded trace as if it were a device, so that the truth about a measurement is known."""

from __future__ import annotations

import bisect
import csv
import itertools
import os
import time
from collections.abc import Callable

from wattlaw.core.errors import DataError
from wattlaw.devices.meter import (
    LINK_BYTES,
    DeviceInfo,
    Meter,
    Probe,
    Sample,
    Scope,
    boundary_of,
    lag_of,
)

NAMES = {"replay": "Replay"}


class Replay(Meter):
    """Answers each reading with the newest row of each device that the trace holds at that moment.

    The trace has the columns of telemetry-<host>.csv; its rows are the moments at which the device
    updates, its first row is the moment of the probe. After its last row a device answers no more.
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
                meter="replay", reason="no trace to play", grant="export WATTLAW_REPLAY=TRACE.csv"
            )
        try:
            rows = read_trace(self.scope.replay)
        except (OSError, DataError) as error:
            return Probe(meter="replay", reason=str(error), grant="export WATTLAW_REPLAY=TRACE.csv")
        for row in rows:
            self.rows.setdefault(row.device, []).append(row)
        self.times = {d: [r.time_s for r in rows] for d, rows in self.rows.items()}
        first = min((times[0] for times in self.times.values()), default=0.0)
        self.shift = self.clock() - first
        return Probe(meter="replay", devices=tuple(self._info(d) for d in self.rows))

    def read(self) -> list[Sample]:
        found = []
        for device, times in self.times.items():
            now = self.clock()
            index = bisect.bisect_right(times, now - self.shift) - 1
            if index >= 0 and now - self.shift <= times[-1]:
                found.append(_at(self.rows[device][index], now))
        return found

    def read_quick(self) -> list[Sample]:
        now = self.clock()
        found = []
        for device, times in self.times.items():
            index = bisect.bisect_right(times, now - self.shift) - 1
            if index >= 0 and now - self.shift <= times[-1]:
                found.append(_quick(self.rows[device][index], now))
        return found

    def _info(self, device: str) -> DeviceInfo:
        rows, times = self.rows[device], self.times[device]
        has_counter = any(r.energy_j is not None for r in rows)
        has_power = any(r.power_w is not None for r in rows)
        steps = sorted(b - a for a, b in itertools.pairwise(times))
        not_in_trace = [n for n in LINK_BYTES if all(getattr(r, n) is None for r in rows)]
        update_s = steps[len(steps) // 2] if steps else None
        return DeviceInfo(
            id=device,
            boundary=boundary_of(device),
            meter="replay",
            name=f"replay of {os.path.basename(self.scope.replay)}",
            energy="counter" if has_counter else "power" if has_power else "none",
            update_s=update_s,
            lacks=dict.fromkeys(not_in_trace, "the trace has no such column"),
            lag_s=lag_of(update_s) if update_s and has_power else 0.0,
        )


def read_trace(path: str) -> list[Sample]:
    """Read a trace, oldest row first. Raises OSError, or DataError naming file, line and column."""
    found = []
    with open(path, encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            values: dict[str, object] = {"device": row.get("device") or "node"}
            for name, text in row.items():
                if name in ("device", "throttle") or not text:
                    continue
                if name not in Sample.__struct_fields__:
                    raise DataError(f"{path}:{line}: no column {name!r} in a trace")
                try:
                    values[name] = float(text)
                except ValueError:
                    raise DataError(
                        f"{path}:{line}: {name} is {text!r}; a number is needed"
                    ) from None
            if "time_s" not in values:
                raise DataError(f"{path}:{line}: no time_s")
            found.append(Sample(throttle=row.get("throttle") or None, **values))  # type: ignore[arg-type]
    return sorted(found, key=lambda r: r.time_s)


def _quick(row: Sample, now: float) -> Sample:
    power = row.power_w if row.energy_j is None else None
    return Sample(time_s=now, device=row.device, energy_j=row.energy_j, power_w=power)


def _at(row: Sample, now: float) -> Sample:
    values = {n: getattr(row, n) for n in Sample.__struct_fields__}
    return Sample(**{**values, "time_s": now})
