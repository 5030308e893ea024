"""An importer of times that were taken by hand: a CSV file with the columns name, devices and seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.importer import Imported, Importer, columns_of, positive, read_rows

COLUMNS = ("name", "devices", "seconds")


@dataclass(frozen=True)
class Stopwatch(Importer):
    """Reads one run from each row."""

    summary: ClassVar[str] = "CSV with name, devices, seconds"

    def recognises(self, path: Path) -> bool:
        return set(COLUMNS) <= columns_of(path)

    def read(self, path: Path) -> Imported:
        found = Imported()
        for line, row in read_rows(path, COLUMNS, found):
            seconds, devices = positive(row["seconds"]), positive(row["devices"])
            if seconds is None or devices is None:
                found.skip(path, "seconds and devices must be positive numbers", line)
                continue
            setting = setting_from({"workload": row["name"], "devices": int(devices)})
            times = {"elapsed_s": measured(seconds, "a stopwatch")}
            trial = f"stopwatch-{path.stem}-{line}"
            found.runs.append(
                Run(setting=setting, trial=trial, source="stopwatch", quantities=times)
            )
        return found
