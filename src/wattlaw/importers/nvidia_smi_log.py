"""A log of nvidia-smi: ``--query-gpu=… --format=csv`` in a loop, or ``dmon``. A file is one run."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import ClassVar, NamedTuple

from wattlaw.core.csv_table import read_text
from wattlaw.core.errors import DataError, UsageError
from wattlaw.core.integrate import gaps, sampled_integral
from wattlaw.core.reading import Note, measured, missing
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
_DAY_S = 86400.0

_ID_COLUMNS = (
    "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "serial", "gpu_serial", "index", "pci.bus",
    "gpu", "gpu_id",
)  # fmt: skip
"""Columns that name a GPU. The first ones name it also in a log of several hosts."""

_MAX_ROUND_S = 1.0
_MAX_ROUND_SHARE = 0.4
"""nvidia-smi reads all GPUs within 1 s and this share of the time between two rounds."""

_MIN_COVERED = 0.9
_MAX_GPUS = 64
_IRREGULAR = 2.5
_MAX_IRREGULAR_SHARE = 0.05


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

    ``interval_s`` is the time between two readings of dmon, in s. A log of dmon without times
    (``-o T`` or ``-o DT``) needs it.
    """

    summary: ClassVar[str] = "--query-gpu … --format=csv, or dmon"

    workload: str = "command"
    interval_s: float | None = None

    def __post_init__(self) -> None:
        """Raise UsageError if ``interval_s`` is not a positive number."""
        if self.interval_s is not None and not 0 < self.interval_s < _DAY_S:
            raise UsageError(f"the interval {self.interval_s:g} s is not between 0 s and one day")

    def recognises(self, path: Path) -> bool:
        lines = head_of(path).splitlines()[:_HEADER_LINES]
        return _is_dmon(lines) or any("power.draw" in line for line in lines)

    def read(self, path: Path) -> Imported:
        found = Imported()
        lines = read_text(path).splitlines()
        if _is_dmon(lines):
            readings = list(_read_dmon(lines, path, self.interval_s, found))
        else:
            readings = _read_query(lines, path, found)
        if readings:
            found.runs.append(_run(path, readings, self.workload, _is_dmon(lines)))
        elif not found.skipped:
            found.skip(path, "there is no reading in it")
        return found


def _is_dmon(lines: list[str]) -> bool:
    return any(_DMON_HEADER.match(line) for line in lines[:_HEADER_LINES])


def _read_query(lines: list[str], path: Path, found: Imported) -> list[SmiReading]:
    header: list[str] = []
    sessions: list[list[SmiReading]] = []
    for index, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = _cells(line)
        if any(cell.startswith("power.draw") for cell in cells):
            header = [re.sub(r"\s*\[.*\]$", "", cell) for cell in cells]
            sessions.append([])
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
            gpu=_gpu_id(row),
            name=row.get("name", ""),
            power=_power(row),
            utilisation=_scaled(row.get("utilization.gpu"), 0.01),
            memory=_scaled(row.get("memory.used"), _BYTES_PER_MIB),
            temperature=number(row.get("temperature.gpu")),
        )
        if reading.power is None:
            found.skip(path, "there is no reading of power", index, "power.draw")
        sessions[-1].append(reading)
    readings: list[SmiReading] = []
    for session in sessions:
        readings += _with_gpus(session, path)
    return readings


def _gpu_id(row: dict[str, str]) -> str:
    """Return what names the GPU of a row; "" if no column does."""
    for column in _ID_COLUMNS:
        cell = row.get(column, "")
        if cell and "N/A" not in cell and "Not Supported" not in cell:
            return cell
    return ""


def _with_gpus(session: list[SmiReading], path: Path) -> list[SmiReading]:
    """Number the GPUs of a session whose rows do not name them, by their order in each round.

    Raises DataError if the times do not show how many GPUs there are.
    """
    if all(reading.gpu for reading in session):
        return session
    gpus = _gpus_per_round([reading.time for reading in session])
    if gpus is None:
        raise DataError(
            f"{path}: no column names the GPU, and the times do not show how many GPUs there are; "
            "record with --query-gpu=timestamp,index,power.draw --format=csv"
        )
    return [reading._replace(gpu=str(i % gpus)) for i, reading in enumerate(session)]


def _gpus_per_round(times: Sequence[float]) -> int | None:
    """Return the number of rows that nvidia-smi wrote in each round; None if it is not clear."""
    for gpus in range(_MAX_GPUS, 1, -1):
        if _are_rounds(times, gpus):
            return gpus
    spacings = [after - before for before, after in pairwise(times)]
    if not spacings:
        return 1
    usual = median(spacings)
    low, high = usual / _IRREGULAR, usual * _IRREGULAR
    irregular = sum(not low <= spacing <= high for spacing in spacings)
    is_one_gpu = usual > 0 and irregular <= _MAX_IRREGULAR_SHARE * len(spacings)
    return 1 if is_one_gpu else None


def _are_rounds(times: Sequence[float], gpus: int) -> bool:
    """Return whether every ``gpus`` rows are close in time, and far from the next ones."""
    starts = range(0, len(times), gpus)
    if len(times) <= gpus:
        return False
    for start in starts:
        span = times[min(start + gpus, len(times)) - 1] - times[start]
        if not 0 <= span <= _MAX_ROUND_S:
            return False
        if start + gpus < len(times):
            period = times[start + gpus] - times[start]
            if period <= 0 or span > _MAX_ROUND_SHARE * period:
                return False
    return True


def _read_dmon(
    lines: list[str], path: Path, interval_s: float | None, found: Imported
) -> Iterator[SmiReading]:
    header: list[str] = []
    ticks: dict[str, int] = {}
    days, time_before = 0, 0.0
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
            if interval_s is None:
                raise UsageError(
                    f"{path}:{index}: dmon printed no time; give the time between two readings "
                    "with --interval SECONDS (nvidia-smi dmon -d; its default is 1)"
                )
            time = ticks[gpu] * interval_s
        elif "Date" not in row:
            # a clock without a date that falls has passed midnight
            if time < time_before:
                days += 1
            time_before = time
            time += days * _DAY_S
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


class GpuSeries(NamedTuple):
    """The energy of one GPU in J, the time in s that it covers, and its gaps in s.

    ``read_s`` is the time in s for which anything of the GPU was read.
    """

    gpu: str
    energy: float | None
    sampled_s: float
    read_s: float
    gaps_s: list[float]


def _run(path: Path, readings: list[SmiReading], workload: str, is_dmon: bool) -> Run:
    names = {r.name for r in readings if r.name}
    gpus = _series(readings)
    seconds = max(gpu.read_s for gpu in gpus)
    energies = [gpu.energy for gpu in gpus if gpu.energy is not None]
    quantities = {"gpu_energy_j": missing("fewer than two readings of power")}
    if seconds > 0:
        quantities["elapsed_s"] = measured(seconds, "first to last reading, without gaps")
    if len(energies) == len(gpus):
        mode = "dmon" if is_dmon else "query"
        how = f"trapezoid of nvidia-smi {mode}, {counted(len(gpus), 'GPU')}"
        quantities["gpu_energy_j"] = measured(sum(energies), how)
        powers = [e / gpu.sampled_s for e, gpu in zip(energies, gpus, strict=True)]
        quantities["gpu_mean_power_w"] = measured(sum(powers), "energy ÷ time, summed over GPUs")
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
        warnings=_gap_notes(gpus, seconds),
        machine=Machine(device_type="cuda", device_name=", ".join(sorted(names))),
        quantities=quantities,
    )


def _series(readings: list[SmiReading]) -> list[GpuSeries]:
    by_gpu: dict[str, list[SmiReading]] = {}
    for reading in readings:
        by_gpu.setdefault(reading.gpu, []).append(reading)
    series = []
    for gpu, own in by_gpu.items():
        own.sort(key=lambda reading: reading.time)
        points = [(r.time, r.power) for r in own if r.power is not None and r.power >= 0]
        times, powers = [time for time, _ in points], [power for _, power in points]
        all_times = [r.time for r in own]
        _, read_s = sampled_integral(all_times, all_times)
        energy, sampled_s = sampled_integral(times, powers) if times else (0.0, 0.0)
        gaps_s = [times[i] - times[i - 1] for i in gaps(times)]
        known = energy if sampled_s > 0 else None
        series.append(GpuSeries(gpu, known, sampled_s, read_s, gaps_s))
    return series


def _gap_notes(gpus: list[GpuSeries], seconds: float) -> tuple[Note, ...]:
    notes = []
    with_gaps = [gpu for gpu in gpus if gpu.gaps_s]
    if with_gaps:
        worst = max(with_gaps, key=lambda gpu: sum(gpu.gaps_s))
        text = (
            f"GPU {worst.gpu} was not read for {sum(worst.gaps_s):.4g} s in "
            f"{counted(len(worst.gaps_s), 'gap')}; energy and time leave gaps out"
        )
        notes.append(Note("sampling_gap", text))
    least = min(gpus, key=lambda gpu: gpu.sampled_s)
    if 0 < least.sampled_s < _MIN_COVERED * seconds:
        text = (
            f"the power of GPU {least.gpu} covers {least.sampled_s:.4g} of {seconds:.4g} s; "
            "its energy is that of this part"
        )
        notes.append(Note("partly_sampled", text))
    return tuple(notes)


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
    day, time = row.get("Date", "19700101"), row.get("Time", "")
    return _seconds(f"{day[:4]}/{day[4:6]}/{day[6:]} {time}")


def _seconds(stamp: str) -> float | None:
    """Return a time stamp in s since 1970, taken for UTC; None for other text."""
    for form in _STAMPS:
        try:
            return datetime.datetime.strptime(stamp, form).replace(tzinfo=datetime.UTC).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
