"""What nvidia-smi wrote: ``--query-gpu=… --format=csv`` in a loop, or ``dmon``. The whole file is one run."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import DataError
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.core.units import counted
from wattlaw.importers.imported import Imported, number, text_of
from wattlaw.importers.tables import cells

NAMES = {"nvidia-smi": "read"}

_STAMPS = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S")


class Row(NamedTuple):
    """One reading of one GPU: time s, power W, utilisation as a share, memory bytes, temperature °C."""

    time: float
    gpu: str
    power: float | None
    utilisation: float | None
    memory: float | None
    temperature: float | None


def read(path: Path, workload: str = "command", interval_s: float = 1.0) -> Imported:
    """Read one file; ``interval_s`` is the time between dmon's readings where it printed no clock."""
    found = Imported()
    lines = text_of(path).splitlines()
    dmon = any(re.match(r"#\s*(Date|Time|gpu)\b", line) for line in lines[:20])
    names: set[str] = set()
    rows = list(
        _dmon(lines, path, interval_s, found) if dmon else _query(lines, path, names, found)
    )
    if not rows:
        if not found.skipped:
            found.skip(str(path), "it holds no reading")
        return found
    found.runs.append(
        _run(path, rows, workload, "dmon" if dmon else "query", ", ".join(sorted(names)))
    )
    return found


def _query(lines: list[str], path: Path, names: set[str], found: Imported) -> Iterator[Row]:
    header: list[str] = []
    for index, line in enumerate(lines, 1):
        values = [c.strip() for c in cells(line)]
        if any(v.startswith("power.draw") for v in values):
            header = [re.sub(r"\s*\[.*\]$", "", v) for v in values]
            continue
        if not line.strip():
            continue
        if not header:
            raise DataError(
                f"{path}:{index}: there is no header with power.draw; write one with --format=csv"
            )
        if len(values) != len(header):
            found.skip(
                str(path),
                f"{counted(len(values), 'cell')} where the header has {len(header)}",
                index,
            )
            continue
        row = dict(zip(header, values, strict=True))
        time = _stamp(row.get("timestamp", ""))
        if time is None:
            found.skip(
                str(path), f"{row.get('timestamp', '')!r} is no time stamp", index, "timestamp"
            )
            continue
        power = next(
            (
                number(row[c])
                for c in row
                if c.startswith("power.draw") and number(row[c]) is not None
            ),
            None,
        )
        if power is None:
            found.skip(str(path), "no power was read", index, "power.draw")
        names.update({row["name"]} if row.get("name") else set())
        memory = number(row.get("memory.used"))
        share = number(row.get("utilization.gpu"))
        gpu = row.get("index") or row.get("uuid") or row.get("pci.bus_id") or "0"
        yield Row(time, gpu, power, None if share is None else share / 100,
                  None if memory is None else memory * 2**20, number(row.get("temperature.gpu")))  # fmt: skip


def _dmon(lines: list[str], path: Path, interval_s: float, found: Imported) -> Iterator[Row]:
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
            found.skip(
                str(path),
                f"{counted(len(words), 'word')} where the header has {len(header)}",
                index,
            )
            continue
        row = dict(zip(header, words, strict=True))
        tick = ticks[row["gpu"]] = ticks.get(row["gpu"], -1) + 1
        time = (
            _stamp(f"{row['Date'][:4]}/{row['Date'][4:6]}/{row['Date'][6:]} {row['Time']}")
            if "Date" in row
            else None
        )
        power = number(row["pwr"])
        if power is None:
            found.skip(str(path), "no power was read", index, "pwr")
        share, memory = number(row.get("sm")), number(row.get("fb"))
        yield Row(time if time is not None else tick * interval_s, row["gpu"], power,
                  None if share is None else share / 100, None if memory is None else memory * 2**20,
                  number(row.get("gtemp")))  # fmt: skip


def _run(path: Path, rows: list[Row], workload: str, how: str, name: str) -> Run:
    gpus = sorted({r.gpu for r in rows})
    series = {
        g: sorted(
            (r.time, r.power) for r in rows if r.gpu == g and r.power is not None and r.power >= 0
        )
        for g in gpus
    }
    energies = [_trapezoid(s) for s in series.values() if len(s) > 1]
    start, stop = min(r.time for r in rows), max(r.time for r in rows)
    energy = missing("fewer than two readings of power") if len(energies) < len(gpus) else measured(
        sum(energies), f"trapezoid of nvidia-smi {how}, {counted(len(gpus), 'GPU')}"
    )  # fmt: skip
    readings: dict[str, Reading] = {"gpu_energy_j": energy}
    if stop > start:
        readings["elapsed_s"] = measured(stop - start, "first to last reading")
        if energy.value is not None:
            readings["gpu_mean_power_w"] = measured(energy.value / (stop - start), "energy ÷ time")
    used = [r.utilisation for r in rows if r.utilisation is not None]
    if used:
        readings["gpu_utilisation"] = measured(sum(used) / len(used), "mean of nvidia-smi")
    for quantity, values in (
        ("gpu_memory_peak_bytes", [r.memory for r in rows if r.memory is not None]),
        ("gpu_temperature_c", [r.temperature for r in rows if r.temperature is not None]),
    ):
        if values:
            readings[quantity] = measured(max(values), "highest of nvidia-smi")
    return Run(
        setting=setting_from({"workload": workload, "devices_per_node": len(gpus)}), trial=f"smi-{path.stem}",
        source="nvidia-smi", machine=Machine(device_type="cuda", device_name=name), quantities=readings,
    )  # fmt: skip


def _trapezoid(series: list[tuple[float, float]]) -> float:
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in itertools.pairwise(series))


def _stamp(text: str) -> float | None:
    for form in _STAMPS:
        try:
            return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
