"""CodeCarbon's emissions.csv: one run for each row. Its 0 for "no reading" becomes "missing"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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
_SCOPE = Note(
    "tracker_scope",
    "CodeCarbon measures the whole machine by default; "
    "simultaneous runs each include the energy of the others",
)


@dataclass(frozen=True)
class CodeCarbon(Importer):
    """Reads an emissions.csv, whose energies are in kWh.

    CPU energy without RAPL and all RAM energies are estimates of CodeCarbon's.
    """

    summary: ClassVar[str] = "emissions.csv"

    def recognises(self, path: Path) -> bool:
        return set(_REQUIRED) <= columns_of(path)

    def read(self, path: Path) -> Imported:
        found = Imported()
        longest: dict[str, tuple[float, int]] = {}
        for line, row in read_rows(path, _REQUIRED, found):
            duration = positive(row["duration"])
            if duration is None:
                reason = f"{row['duration']!r} is not a positive number"
                found.skip(path, reason, line, "duration")
                continue
            try:
                run = _run(row, duration, line)
            except SettingError as error:
                found.skip(path, str(error), line)
                continue
            if run.trial not in longest:
                longest[run.trial] = duration, len(found.runs)
                found.runs.append(run)
                continue
            # each flush of a tracker adds a row that starts from the beginning
            reason = "one of several rows of a run; only the longest is read"
            found.skip(path, reason, line, "run_id")
            before, index = longest[run.trial]
            if duration > before:
                found.runs[index] = run
                longest[run.trial] = duration, index
        return found


def _run(row: dict[str, str], duration: float, line: int) -> Run:
    gpus = int(number(row.get("gpu_count")) or 0)
    workload = row.get("project_name") or "codecarbon"
    quantities = {
        "elapsed_s": measured(duration, "CodeCarbon duration"),
        "gpu_energy_j": _energy(row, "gpu_energy"),
        "cpu_energy_j": _energy(
            row, "cpu_energy", "CodeCarbon, RAPL or a constant share of the TDP"
        ),
        "dram_energy_j": _energy(row, "ram_energy", "CodeCarbon's model of W per GB"),
    }
    machine = Machine(
        device_type="cuda" if gpus else "cpu",
        device_name=row.get("gpu_model", ""),
        cpu_name=row.get("cpu_model", ""),
    )
    return Run(
        setting=setting_from({"workload": workload, "devices_per_node": max(gpus, 1)}),
        trial=row.get("run_id") or f"codecarbon-{line}",
        source="codecarbon",
        quantities=quantities,
        started=row.get("timestamp", ""),
        warnings=(_SCOPE,),
        machine=machine,
    )


def _energy(row: dict[str, str], column: str, model: str = "") -> Reading:
    """Return an energy: estimated by ``model``, or measured by NVML without one."""
    value = number(row[column])
    if value is None or value < 0:
        return missing(f"{column} is {row[column]!r}")
    if value == 0:
        return missing(f"CodeCarbon wrote 0 kWh for {column}, which it also writes for no reading")
    joules = value * _J_PER_KWH
    return estimated(joules, model) if model else measured(joules, "NVML through CodeCarbon")
