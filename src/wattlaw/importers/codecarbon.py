"""CodeCarbon's emissions.csv: one run for each run or task. Its 0 for "no reading" is missing."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from msgspec import structs

from wattlaw.core.errors import SettingError
from wattlaw.core.reading import Note, Reading, estimated, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.importer import (
    Imported,
    Importer,
    columns_of,
    number,
    positive,
    read_rows,
)

NAMES = {"codecarbon": "CodeCarbon"}

_J_PER_KWH = 3.6e6
_REQUIRED = ("duration", "cpu_energy", "gpu_energy", "ram_energy")
_SAME_START_S = 1.0
_NO_ID = ("", "none", "nan")
_SCOPE = Note(
    "tracker_scope",
    "CodeCarbon measures the whole machine by default; "
    "simultaneous runs each include the energy of the others",
)
_PROCESS_SCOPE = Note(
    "tracker_scope",
    "CPU and memory energy are those of the process, GPU energy is that of whole GPUs",
)


class TrackerRow(NamedTuple):
    """A run from one row, and the row's time from ``start_s`` to ``stop_s``, s since 1970.

    ``key`` names the tracker and its task; "" if the row does not name its tracker.
    """

    run: Run
    key: str
    start_s: float | None
    stop_s: float

    def is_flush_of(self, other: TrackerRow) -> bool:
        """Whether both rows are of one tracker: each flush counts from the tracker's beginning."""
        if self.key != other.key:
            return False
        if self.start_s is None or other.start_s is None:
            return bool(self.key)
        if not self.key:
            return abs(self.start_s - other.start_s) <= _SAME_START_S
        overlap = min(self.stop_s, other.stop_s) - max(self.start_s, other.start_s)
        shorter = min(self.stop_s - self.start_s, other.stop_s - other.start_s)
        return overlap > shorter / 2


@dataclass(frozen=True)
class CodeCarbon(Importer):
    """Reads an emissions.csv, whose energies are in kWh.

    CPU energy without RAPL, all RAM energies and all energies of Apple silicon are estimates.
    CodeCarbon multiplies energies by the PUE; they are divided by it again.
    """

    summary: ClassVar[str] = "emissions.csv"

    def recognises(self, path: Path) -> bool:
        return set(_REQUIRED) <= columns_of(path)

    def read(self, path: Path) -> Imported:
        found = Imported()
        kept: dict[str, list[TrackerRow]] = {}
        for line, row in read_rows(path, _REQUIRED, found):
            duration = positive(row["duration"])
            if duration is None:
                reason = f"{row['duration']!r} is not a positive number"
                found.skip(path, reason, line, "duration")
                continue
            try:
                new = _tracker_row(row, duration, line)
            except SettingError as error:
                found.skip(path, str(error), line)
                continue
            rows = kept.setdefault(new.key, [])
            index = next((i for i, old in enumerate(rows) if new.is_flush_of(old)), None)
            if index is None:
                rows.append(new)
                continue
            reason = "one of several rows of a run; only the longest is read"
            found.skip(path, reason, line, "run_id")
            if _duration(new.run) > _duration(rows[index].run):
                rows[index] = new
        found.runs = [row.run for rows in kept.values() for row in rows]
        return found


def _duration(run: Run) -> float:
    return run.reading("elapsed_s").value or 0.0


def _tracker_row(row: dict[str, str], duration: float, line: int) -> TrackerRow:
    run_id, task = row.get("run_id", ""), row.get("task_name", "")
    if run_id.lower() in _NO_ID:
        run_id = ""
    trial = "-".join(filter(None, (run_id or f"codecarbon-{line}", task)))
    run = _run(row, duration, trial)
    key = f"{run_id}\n{task}" if run_id else ""
    try:
        stop = datetime.datetime.fromisoformat(row.get("timestamp", ""))
        begin = stop - datetime.timedelta(seconds=duration)
    except (ValueError, OverflowError):
        return TrackerRow(run, key, None, 0.0)
    started = begin.isoformat(timespec="seconds")
    stop_s = stop.replace(tzinfo=stop.tzinfo or datetime.UTC).timestamp()
    run = structs.replace(run, started=started)
    return TrackerRow(run, key, stop_s - duration, stop_s)


def _run(row: dict[str, str], duration: float, trial: str) -> Run:
    gpus = int(number(row.get("gpu_count")) or 0)
    gpu_model = row.get("gpu_model", "")
    setting: dict[str, object] = {
        "workload": row.get("project_name") or "codecarbon",
        "devices_per_node": max(gpus, 1),
    }
    if row.get("task_name"):
        setting["options"] = {"task": row["task_name"]}
    device_type, sensor, gpu_estimate = "cuda" if gpus else "cpu", "NVML", ""
    if "apple" in gpu_model.lower():
        device_type, gpu_estimate = "mps", "powermetrics through CodeCarbon"
    elif "amd" in gpu_model.lower() or "instinct" in gpu_model.lower():
        sensor = "AMD SMI"
    cpu_estimate = "CodeCarbon: RAPL, Power Gadget, powermetrics or a share of the TDP"
    quantities = {
        "elapsed_s": measured(duration, "CodeCarbon duration"),
        "gpu_energy_j": _energy(row, "gpu_energy", gpu_estimate, sensor),
        "cpu_energy_j": _energy(row, "cpu_energy", cpu_estimate),
        "dram_energy_j": _energy(row, "ram_energy", "CodeCarbon's model of W per GB"),
    }
    is_process = row.get("tracking_mode") == "process"
    return Run(
        setting=setting_from(setting),
        trial=trial,
        source="codecarbon",
        quantities=quantities,
        warnings=(_PROCESS_SCOPE if is_process else _SCOPE,),
        machine=Machine(
            device_type=device_type, device_name=gpu_model, cpu_name=row.get("cpu_model", "")
        ),
    )


def _energy(row: dict[str, str], column: str, model: str, sensor: str = "") -> Reading:
    """Return an energy without the PUE: estimated by ``model``, else measured by ``sensor``."""
    value = number(row[column])
    if value is None or value < 0:
        return missing(f"{column} is {row[column]!r}")
    if value == 0:
        return missing(f"CodeCarbon wrote 0 kWh for {column}, which it also writes for no reading")
    pue = max(number(row.get("pue")) or 1.0, 1.0)
    joules = value * _J_PER_KWH / pue
    if model:
        return estimated(joules, model)
    how = f"{sensor} through CodeCarbon"
    return measured(joules, how if pue == 1 else f"{how}, divided by the PUE {pue:g}")
