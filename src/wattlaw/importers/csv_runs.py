"""Any CSV table, one run for each row, by a map from wattlaw's names to the table's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.quantities import all_quantities, quantity
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import FIELDS, setting_from
from wattlaw.importers.importer import Imported, Importer, number, read_rows

NAMES = {"csv": "CsvRuns"}

_SETTING = {*FIELDS, "devices"} - {"options", "stop", "command", "step_pattern"}
_COUNTS = {"nodes", "devices", "devices_per_node", "batch_per_device", "seed", "warmup_steps"}
_NUMBERS = {"power_cap_w", "sm_clock_mhz", "memory_clock_mhz"}
_NEVER_0 = {"samples_per_s", "elapsed_s", "step_time_s"}


class _BadCell(Exception):
    """A cell that no run could have; its row is skipped."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


@dataclass(frozen=True)
class CsvRuns(Importer):
    """Reads the rows of a table as runs.

    ``columns`` maps names to columns: fields of a setting ("devices", "batch_per_device", …),
    quantities with their SI unit in the name ("elapsed_s", "gpu_energy_j", …), "device_name", and
    "label.<name>" or "option.<name>" for anything else. Without it, columns that already have
    such names are read.
    """

    summary: ClassVar[str] = "any other table; --column says which column is what"

    columns: Mapping[str, str] | None = None
    workload: str = "imported"

    def __post_init__(self) -> None:
        """Raise UnknownNameError if ``columns`` has a name that wattlaw does not know."""
        known = _SETTING | set(all_quantities()) | {"device_name"}
        for name in self.columns or ():
            if name not in known and not name.startswith(("label.", "option.")):
                raise UnknownNameError("name", name, known)

    def recognises(self, path: Path) -> bool:
        return False  # any table could be one, so the user must ask for it by name

    def read(self, path: Path) -> Imported:
        """Read one table. Raises UsageError if no column is mapped to a quantity."""
        found = Imported()
        columns = dict(self.columns or {})
        for line, row in read_rows(path, tuple(columns.values()), found):
            columns = columns or _known_columns(row)
            if columns.keys().isdisjoint(all_quantities()):
                raise UsageError(
                    f"{path}: no column is mapped to a quantity; add --column elapsed_s=COLUMN "
                    f"or the like; columns: {', '.join(row)}"
                )
            try:
                found.runs.append(_run(row, columns, self.workload, f"csv-{path.stem}-{line}"))
            except _BadCell as error:
                found.skip(path, str(error), line, error.column)
            except UsageError as error:
                found.skip(path, str(error), line)
        return found


def _known_columns(row: Mapping[str, str]) -> dict[str, str]:
    known = _SETTING | set(all_quantities()) | {"device_name"}
    return {name: name for name in row if name in known}


def _run(row: dict[str, str], columns: Mapping[str, str], workload: str, trial: str) -> Run:
    setting: dict[str, Any] = {"workload": workload}
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    quantities: dict[str, Reading] = {}
    for name, column in columns.items():
        cell = row[column]
        if name in all_quantities():
            quantities[name] = _reading(name, column, cell)
        elif name.startswith("label."):
            labels[name.removeprefix("label.")] = cell
        elif name.startswith("option."):
            options[name.removeprefix("option.")] = cell
        elif name != "device_name" and cell:
            setting[name] = _setting_value(name, column, cell)
    if options:
        setting["options"] = options
    device = row.get(columns.get("device_name", ""), "")
    return Run(
        setting=setting_from(setting),
        trial=trial,
        source="csv",
        quantities=quantities,
        labels=labels,
        machine=Machine(device_name=device),
    )


def _reading(name: str, column: str, cell: str) -> Reading:
    if not cell:
        return missing("empty cell")
    value, unit = number(cell), quantity(name).unit
    if value is None:
        raise _BadCell(column, f"{cell!r} is not a number")
    suffix = cell.partition(" ")[2].strip()
    if cell.endswith("%"):
        suffix = "%"
    if suffix and suffix != unit:
        expected = f"in {unit}" if unit else "without a unit"
        raise _BadCell(column, f"{cell!r} has another unit; {name} is {expected}")
    if value < 0 and unit not in ("", "°C"):
        raise _BadCell(column, f"{cell!r} is negative")
    if value == 0 and name in _NEVER_0:
        raise _BadCell(column, f"{cell!r}: a time or a rate of a run is never 0")
    return measured(value, f"column {column}")


def _setting_value(name: str, column: str, cell: str) -> str | int | float:
    if name not in _COUNTS and name not in _NUMBERS:
        return cell
    value = number(cell)
    if value is None:
        raise _BadCell(column, f"{cell!r} is not a number")
    if name in _NUMBERS:
        return value
    if value != int(value):
        raise _BadCell(column, f"{cell!r} is not a whole number")
    return int(value)
