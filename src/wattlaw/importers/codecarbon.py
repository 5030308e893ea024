"""CodeCarbon's emissions.csv: one run a row. Its zeros for "no reading" become missing ones."""

from __future__ import annotations

from pathlib import Path

from wattlaw.core.reading import Note, Reading, estimated, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.imported import Imported, number
from wattlaw.importers.tables import Row, read_table

NAMES = {"codecarbon": "read"}

_J_PER_KWH = 3.6e6
_NEEDED = ("duration", "cpu_energy", "gpu_energy", "ram_energy")


def read(path: Path) -> Imported:
    """Read the table; energies come in kWh. CPU energy without RAPL and all RAM energy are CodeCarbon's estimates."""
    found = Imported()
    last: dict[str, tuple[float, int]] = {}
    for line, row in read_table(path, _NEEDED, found):
        duration = number(row["duration"])
        if not duration or duration <= 0:
            found.skip(str(path), f"{row['duration']!r} is no positive number", line, "duration")
            continue
        run = _run(row, duration, line)
        if run.trial not in last:
            last[run.trial] = duration, len(found.runs)
            found.runs.append(run)
            continue
        # a tracker that is flushed adds a row, which counts from the beginning
        found.skip(str(path), "one of several rows of a run; the longest counts", line, "run_id")
        if duration > last[run.trial][0]:
            found.runs[last[run.trial][1]] = run
            last[run.trial] = duration, last[run.trial][1]
    return found


def _run(row: Row, duration: float, line: int) -> Run:
    gpus = number(row.get("gpu_count")) or 0
    readings = {
        "elapsed_s": measured(duration, "CodeCarbon duration"),
        "gpu_energy_j": _energy(row, "gpu_energy", "NVML through CodeCarbon", is_measured=True),
        "cpu_energy_j": _energy(
            row, "cpu_energy", "CodeCarbon, RAPL or a constant share of TDP", is_measured=False
        ),
        "dram_energy_j": _energy(
            row, "ram_energy", "CodeCarbon's model of W per GB", is_measured=False
        ),
    }
    setting = setting_from(
        {"workload": row.get("project_name") or "codecarbon", "devices_per_node": max(int(gpus), 1)}
    )  # fmt: skip
    note = Note(
        "tracker_scope",
        "CodeCarbon counts the whole machine by default; runs side by side count it each",
    )
    return Run(
        setting=setting, trial=row.get("run_id") or f"codecarbon-{line}", source="codecarbon", quantities=readings,
        started=row.get("timestamp", ""), warnings=(note,),
        machine=Machine(device_type="cuda" if gpus else "cpu", device_name=row.get("gpu_model", ""),
                        cpu_name=row.get("cpu_model", "")),
    )  # fmt: skip


def _energy(row: Row, column: str, how: str, is_measured: bool) -> Reading:
    value = number(row[column])
    if value is None or value < 0:
        return missing(f"{column} is {row[column]!r}")
    if value == 0:
        return missing(
            f"CodeCarbon wrote 0 kWh for {column}, which it also writes where nothing was read"
        )
    return (measured if is_measured else estimated)(value * _J_PER_KWH, how)
