"""Any CSV, one run a row, by a map from wattlaw's names to the file's columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.reading import measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import FIELDS, setting_from
from wattlaw.core.units import QUANTITIES
from wattlaw.importers.imported import Imported, number
from wattlaw.importers.tables import Row, read_table

NAMES = {"csv": "read"}

_SETTING = {*FIELDS, "devices"} - {"options", "stop", "command", "step_pattern"}
_COUNTS = {"nodes", "devices", "devices_per_node", "batch_per_device", "seed", "warmup_steps"}
_NEVER_0 = {"samples_per_s", "elapsed_s", "step_time_s"}
_NUMBERS = {"power_cap_w", "sm_clock_mhz", "memory_clock_mhz"}


def read(
    path: Path, columns: Mapping[str, str] | None = None, workload: str = "imported"
) -> Imported:
    """Read the rows as runs.

    ``columns`` maps names to columns: fields of a setting ("devices", "batch_per_device", …), quantities with
    their SI unit in the name ("elapsed_s", "gpu_energy_j", …), "device_name", and "label.<name>" or
    "option.<name>" for anything else. Without it, columns that already bear such names are taken.
    Raises UnknownNameError for a name that wattlaw does not know, UsageError where no quantity is mapped.
    """
    found = Imported()
    plan: dict[str, str] = dict(columns or {})
    for name in plan:
        _check(name)
    for line, row in read_table(path, tuple(plan.values()), found):
        if not plan:
            plan = {c: c for c in row if c in _SETTING or c in QUANTITIES or c == "device_name"}
        if not set(plan) & set(QUANTITIES):
            known = ", ".join(row)
            raise UsageError(
                f"{path}: no column is mapped to a quantity, such as elapsed_s=COLUMN; columns: {known}"
            )
        _add(found, path, line, row, plan, workload)
    return found


def _add(
    found: Imported, path: Path, line: int, row: Row, plan: dict[str, str], workload: str
) -> None:
    values: dict[str, Any] = {"workload": workload}
    readings, labels = {}, {}
    for name, column in plan.items():
        text = row[column]
        if name in QUANTITIES:
            value = _value(name, text)
            if isinstance(value, str):
                found.skip(str(path), value, line, column)
                return
            readings[name] = (
                measured(value, f"column {column}") if value is not None else missing("empty cell")
            )
        elif name.startswith("label."):
            labels[name[6:]] = text
        elif name.startswith("option."):
            values.setdefault("options", {})[name[7:]] = text
        elif name != "device_name" and text:
            values[name] = _setting_value(name, text)
            if values[name] is None:
                found.skip(
                    str(path),
                    f"{text!r} is no {'count' if name in _COUNTS else 'number'}",
                    line,
                    column,
                )
                return
    try:
        setting = setting_from(values)
    except UsageError as error:
        found.skip(str(path), str(error), line)
        return
    machine = Machine(device_name=row[plan["device_name"]] if "device_name" in plan else "")
    found.runs.append(
        Run(setting=setting, trial=f"csv-{path.stem}-{line}", source="csv", quantities=readings, labels=labels,
            machine=machine)
    )  # fmt: skip


def _value(name: str, text: str) -> float | str | None:
    # the number, None for an empty cell, or what is wrong with it
    if not text:
        return None
    value, unit = number(text), QUANTITIES[name].unit
    if value is None:
        return f"{text!r} is no number"
    behind = text.partition(" ")[2].strip() or text[len(text.rstrip("%")) :]
    if behind and behind != unit:
        return f"{text!r} has a unit of its own; {name} is in {unit or 'no unit'}"
    if value < 0 and unit not in ("", "°C"):
        return f"{text!r} is negative"
    return f"{text!r} is no time or rate of a run" if value == 0 and name in _NEVER_0 else value


def _setting_value(name: str, text: str) -> str | int | float | None:
    if name in _COUNTS or name in _NUMBERS:
        value = number(text)
        if value is None or (name in _COUNTS and value != int(value)):
            return None
        return int(value) if name in _COUNTS else value
    return text


def _check(name: str) -> None:
    known = _SETTING | set(QUANTITIES) | {"device_name"}
    if name not in known and not name.startswith(("label.", "option.")):
        raise UnknownNameError("name", name, known)
