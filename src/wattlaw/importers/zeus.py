"""Zeus: summaries of time and power by cap, and windows of its power-limit profiling.

summary_power_*.csv   dataset, network, batch_size, optimizer, power_limit, time_per_epoch,
                      average_power
profiling windows     start_time, window_name, elapsed_time, gpu0_energy[, gpu1_energy, …]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from wattlaw.core.errors import DataError, SettingError
from wattlaw.core.reading import measured
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.importer import (
    Imported,
    Importer,
    columns_of,
    files_in,
    positive,
    read_rows,
)

NAMES = {"zeus": "Zeus"}

_SUMMARY_NUMBERS = ("batch_size", "power_limit", "time_per_epoch", "average_power")
_SUMMARY = ("dataset", "network", "optimizer", *_SUMMARY_NUMBERS)
_WINDOW = ("start_time", "window_name", "elapsed_time")
_DEVICES = ("v100", "p100", "a40", "a100", "h100", "rtx6000")
_EPOCH_SAMPLES = {"cifar100": 50_000, "imagenet": 1_281_167}
"""Training samples of the data sets whose size is certain; for others the rate is missing."""


@dataclass(frozen=True)
class Zeus(Importer):
    """Reads one file, or every CSV file of a folder."""

    summary: ClassVar[str] = "power summaries and profiling windows"

    def recognises(self, path: Path) -> bool:
        columns = columns_of(path)
        return set(_SUMMARY) <= columns or set(_WINDOW) <= columns

    def read(self, path: Path) -> Imported:
        found = Imported()
        for file in files_in(path, "*.csv", found):
            columns = columns_of(file)
            try:
                if "power_limit" in columns:
                    _read_summary(file, found)
                elif "window_name" in columns:
                    _read_windows(file, columns, found)
                else:
                    reason = "neither a power summary nor profiling windows of Zeus"
                    found.skip(file, reason, 1)
            except DataError as error:
                found.skip(file, str(error))
        return found


def _read_summary(path: Path, found: Imported) -> None:
    stem = path.stem.lower()
    device = next((name for name in _DEVICES if name in stem), path.stem)
    for line, row in read_rows(path, _SUMMARY, found):
        values = _positive_numbers(row, _SUMMARY_NUMBERS, path, line, found)
        if values is None:
            continue
        try:
            found.runs.append(_epoch(row, values, device, line, path))
        except SettingError as error:
            found.skip(path, str(error), line)


def _positive_numbers(
    row: dict[str, str], columns: tuple[str, ...], path: Path, line: int, found: Imported
) -> dict[str, float] | None:
    values = {}
    for column in columns:
        value = positive(row[column])
        if value is None:
            found.skip(path, f"{row[column]!r} is not a positive number", line, column)
            return None
        values[column] = value
    return values


def _epoch(
    row: dict[str, str], values: dict[str, float], device: str, line: int, path: Path
) -> Run:
    seconds, watts = values["time_per_epoch"], values["average_power"]
    quantities = {
        "elapsed_s": measured(seconds, "time per epoch"),
        "gpu_mean_power_w": measured(watts, "NVML"),
        "gpu_energy_j": measured(seconds * watts, "mean power × time of an epoch"),
    }
    samples = _EPOCH_SAMPLES.get(row["dataset"])
    if samples:
        quantities["samples"] = measured(float(samples), "samples of an epoch")
        quantities["samples_per_s"] = measured(samples / seconds, "samples ÷ time of an epoch")
    setting = setting_from(
        {
            "workload": row["network"],
            "batch_per_device": int(values["batch_size"]),
            "power_cap_w": values["power_limit"],
            "options": {"optimizer": row["optimizer"]},
        }
    )
    return Run(
        setting=setting,
        trial=f"zeus-{path.stem}-{line}",
        sweep=path.stem,
        source="zeus",
        quantities=quantities,
        machine=Machine(device_type="cuda", device_name=device.upper()),
        labels={"dataset": row["dataset"]},
    )


def _read_windows(path: Path, columns: set[str], found: Imported) -> None:
    meters = tuple(sorted(c for c in columns if re.fullmatch(r"gpu\d+_energy", c)))
    if not meters:
        found.skip(path, "there is no column gpu0_energy", 1)
        return
    for line, row in read_rows(path, (*_WINDOW, *meters), found):
        values = _positive_numbers(row, ("elapsed_time", *meters), path, line, found)
        if values is None:
            continue
        try:
            found.runs.append(_window(row["window_name"], values, line, path))
        except SettingError as error:
            found.skip(path, str(error), line, "window_name")


def _window(name: str, values: dict[str, float], line: int, path: Path) -> Run:
    """Return the run of a window, whose name ends with its power cap: "__Optimizer_250"."""
    device, _, rest = path.stem.partition("+")
    gpus = len(values) - 1
    setting: dict[str, str | int | float] = {
        "workload": rest.split("+")[0] or "window",
        "devices_per_node": gpus,
    }
    window, underscore, cap = name.rpartition("_")
    if underscore and cap.isdecimal():
        setting["power_cap_w"] = float(cap)
    else:
        window = name
    seconds = values["elapsed_time"]
    joules = sum(value for name, value in values.items() if name != "elapsed_time")
    return Run(
        setting=setting_from(setting),
        trial=f"zeus-{path.stem}-{line}",
        sweep=path.stem,
        source="zeus",
        quantities={
            "elapsed_s": measured(seconds, "Zeus window"),
            "gpu_energy_j": measured(joules, f"Zeus, {gpus} GPUs"),
            "gpu_mean_power_w": measured(joules / seconds, "energy ÷ time"),
        },
        machine=Machine(device_type="cuda", device_name=device),
        labels={"window": window},
    )
