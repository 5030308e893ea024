"""A log of nvidia-smi: ``--query-gpu=… --format=csv`` in a loop, or ``dmon``. A file is one run."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from wattlaw.core.csv_table import read_text
from wattlaw.core.errors import DataError
from wattlaw.core.integrate import trapezoid
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.core.units import counted
from wattlaw.importers.importer import Imported, Importer, head_of, number

NAMES = {"nvidia-smi": "NvidiaSmiLog"}

_STAMPS = (
    "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S",
)
_DMON_HEADER = re.compile(r"#\s*(Date|Time|gpu)\b")
_HEADER_LINES = 20
_BYTES_PER_MIB = 2**20


class SmiReading(NamedTuple):
    """One reading of one GPU: time s, power W, utilisation in [0, 1], memory B, temperature °C."""

    time: float
    gpu: str
    name: str
    power: float | None
    utilisation: float | None
    memory: float | None
    temperature: float | None


@dataclass(frozen=True)
class NvidiaSmiLog(Importer):
    """Reads one file.

    ``interval_s`` is the time between the readings of dmon if it printed no clock.
    """

    summary: ClassVar[str] = "--query-gpu … --format=csv, or dmon"

    workload: str = "command"
    interval_s: float = 1.0

    def recognises(self, path: Path) -> bool:
        lines = head_of(path).splitlines()[:_HEADER_LINES]
        return _is_dmon(lines) or any("power.draw" in line for line in lines)

    def read(self, path: Path) -> Imported:
        found = Imported()
        lines = read_text(path).splitlines()
        if _is_dmon(lines):
            readings = list(_read_dmon(lines, path, self.interval_s, found))
        else:
            readings = list(_read_query(lines, path, found))
        if readings:
            found.runs.append(_run(path, readings, self.workload, _is_dmon(lines)))
        elif not found.skipped:
            found.skip(path, "there is no reading in it")
        return found


def _is_dmon(lines: list[str]) -> bool:
    return any(_DMON_HEADER.match(line) for line in lines[:_HEADER_LINES])


def _read_query(lines: list[str], path: Path, found: Imported) -> Iterator[SmiReading]:
    header: list[str] = []
    for index, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = _cells(line)
        if any(cell.startswith("power.draw") for cell in cells):
            header = [re.sub(r"\s*\[.*\]$", "", cell) for cell in cells]
            continue
        if not header:
            raise DataError(
                f"{path}:{index}: there is no header with power.draw; "
                "record with --query-gpu=timestamp,index,power.draw --format=csv"
            )
        if len(cells) != len(header):
            found.skip(path, _wrong_count(len(cells), len(header)), index)
            continue
        row = dict(zip(header, cells, strict=True))
        stamp = row.get("timestamp", "")
        time = _seconds(stamp)
        if time is None:
            found.skip(path, f"{stamp!r} is not a time stamp", index, "timestamp")
            continue
        reading = SmiReading(
            time=time,
            gpu=row.get("index") or row.get("uuid") or row.get("pci.bus_id") or "0",
            name=row.get("name", ""),
            power=_power(row),
            utilisation=_scaled(row.get("utilization.gpu"), 0.01),
            memory=_scaled(row.get("memory.used"), _BYTES_PER_MIB),
            temperature=number(row.get("temperature.gpu")),
        )
        if reading.power is None:
            found.skip(path, "there is no reading of power", index, "power.draw")
        yield reading


def _read_dmon(
    lines: list[str], path: Path, interval_s: float, found: Imported
) -> Iterator[SmiReading]:
    header: list[str] = []
    ticks: dict[str, int] = {}
    for index, line in enumerate(lines, 1):
        words = line.replace(",", " ").lstrip("#").split()
        if line.startswith("#"):
            if "gpu" in words and "pwr" in words:
                header = words
            continue
        if not words or not header:
            continue
        if len(words) != len(header):
            found.skip(path, _wrong_count(len(words), len(header)), index)
            continue
        row = dict(zip(header, words, strict=True))
        gpu = row["gpu"]
        ticks[gpu] = ticks.get(gpu, -1) + 1
        time = _dmon_seconds(row)
        if time is None:
            time = ticks[gpu] * interval_s
        reading = SmiReading(
            time=time,
            gpu=gpu,
            name="",
            power=number(row["pwr"]),
            utilisation=_scaled(row.get("sm"), 0.01),
            memory=_scaled(row.get("fb"), _BYTES_PER_MIB),
            temperature=number(row.get("gtemp")),
        )
        if reading.power is None:
            found.skip(path, "there is no reading of power", index, "pwr")
        yield reading


def _run(path: Path, readings: list[SmiReading], workload: str, is_dmon: bool) -> Run:
    gpus = {r.gpu for r in readings}
    names = {r.name for r in readings if r.name}
    times = [r.time for r in readings]
    seconds = max(times) - min(times)
    energy = _energy(readings, len(gpus), "dmon" if is_dmon else "query")
    quantities = {"gpu_energy_j": energy}
    if seconds > 0:
        quantities["elapsed_s"] = measured(seconds, "first to last reading")
        if energy.value is not None:
            quantities["gpu_mean_power_w"] = measured(energy.value / seconds, "energy ÷ time")
    used = [r.utilisation for r in readings if r.utilisation is not None]
    if used:
        quantities["gpu_utilisation"] = measured(sum(used) / len(used), "mean of nvidia-smi")
    memory = [r.memory for r in readings if r.memory is not None]
    if memory:
        quantities["gpu_memory_peak_bytes"] = measured(max(memory), "highest of nvidia-smi")
    temperatures = [r.temperature for r in readings if r.temperature is not None]
    if temperatures:
        quantities["gpu_temperature_c"] = measured(max(temperatures), "highest of nvidia-smi")
    return Run(
        setting=setting_from({"workload": workload, "devices_per_node": len(gpus)}),
        trial=f"smi-{path.stem}",
        source="nvidia-smi",
        machine=Machine(device_type="cuda", device_name=", ".join(sorted(names))),
        quantities=quantities,
    )


def _energy(readings: list[SmiReading], gpus: int, mode: str) -> Reading:
    series: dict[str, list[tuple[float, float]]] = {}
    for r in readings:
        if r.power is not None and r.power >= 0:
            series.setdefault(r.gpu, []).append((r.time, r.power))
    energies = []
    for points in series.values():
        if len(points) > 1:
            points.sort()
            times, powers = zip(*points, strict=True)
            energies.append(trapezoid(times, powers, times[0], times[-1]))
    if len(energies) < gpus:
        return missing("fewer than two readings of power")
    how = f"trapezoid of nvidia-smi {mode}, {counted(gpus, 'GPU')}"
    return measured(sum(energies), how)


def _cells(line: str) -> list[str]:
    try:
        cells = next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:
        cells = [line]
    return [cell.strip() for cell in cells]


def _wrong_count(cells: int, columns: int) -> str:
    return f"{counted(cells, 'cell')} under {counted(columns, 'column')}"


def _power(row: dict[str, str]) -> float | None:
    """Return the first power of a row: of power.draw, power.draw.average or power.draw.instant."""
    for name, cell in row.items():
        if name.startswith("power.draw") and number(cell) is not None:
            return number(cell)
    return None


def _scaled(text: str | None, factor: float) -> float | None:
    value = number(text)
    return None if value is None else value * factor


def _dmon_seconds(row: dict[str, str]) -> float | None:
    day, time = row.get("Date", ""), row.get("Time", "")
    return _seconds(f"{day[:4]}/{day[4:6]}/{day[6:]} {time}")


def _seconds(stamp: str) -> float | None:
    """Return a time stamp in s since 1970, taken for UTC; None for other text."""
    for form in _STAMPS:
        try:
            return datetime.datetime.strptime(stamp, form).replace(tzinfo=datetime.UTC).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
