"""Zeus: summaries of time and power by cap, and windows of its power-limit profiling.

summary_power_*.csv   dataset, network, batch_size, optimizer, power_limit, time_per_epoch, average_power
profile windows       start_time, window_name, elapsed_time, gpu0_energy[, gpu1_energy, …]
"""

from __future__ import annotations

import re
from pathlib import Path

from wattlaw.core.errors import DataError, SettingError
from wattlaw.core.reading import Reading, measured
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.imported import Imported, files_in, number, text_of
from wattlaw.importers.tables import Row, cells, read_table

NAMES = {"zeus": "read"}

_SUMMARY = (
    "dataset",
    "network",
    "batch_size",
    "optimizer",
    "power_limit",
    "time_per_epoch",
    "average_power",
)
_WINDOW = ("start_time", "window_name", "elapsed_time")
_EPOCH_SAMPLES = {"cifar100": 50_000, "imagenet": 1_281_167}
"""Training samples of the data sets whose size is beyond doubt; of others the rate is missing."""


def read(path: Path) -> Imported:
    """Read one file, or every CSV of a folder; a file that is neither kind is reported."""
    found = Imported()
    for file in files_in(path, "*.csv", found):
        try:
            header = [c.strip() for c in cells(next(iter(text_of(file).splitlines()), ""))]
            if "power_limit" in header:
                _summary(file, found)
            elif "window_name" in header:
                _windows(file, header, found)
            else:
                found.skip(str(file), "neither a power summary nor profiling windows of Zeus", 1)
        except DataError as error:
            found.skip(str(file), str(error))
    return found


def _summary(path: Path, found: Imported) -> None:
    device = next(
        (d for d in ("v100", "p100", "a40", "a100", "h100", "rtx6000") if d in path.stem.lower()),
        path.stem,
    )
    for line, row in read_table(path, _SUMMARY, found):
        values = {column: number(row[column]) or 0.0 for column in _SUMMARY[2:3] + _SUMMARY[4:]}
        bad = next((column for column, value in values.items() if value <= 0), None)
        if bad:
            found.skip(str(path), f"{row[bad]!r} is no positive number", line, bad)
            continue
        try:
            found.runs.append(_epoch(row, values, device, line, path))
        except SettingError as error:
            found.skip(str(path), str(error), line)


def _epoch(row: Row, values: dict[str, float], device: str, line: int, path: Path) -> Run:
    seconds, watts = values["time_per_epoch"], values["average_power"]
    readings = {
        "elapsed_s": measured(seconds, "time per epoch"),
        "gpu_mean_power_w": measured(watts, "NVML"),
        "gpu_energy_j": measured(seconds * watts, "mean power × time of an epoch"),
    }
    samples = _EPOCH_SAMPLES.get(row["dataset"])
    if samples:
        readings["samples"] = Reading(float(samples), "measured", "samples of an epoch")
        readings["samples_per_s"] = Reading(
            samples / seconds, "measured", "samples ÷ time of an epoch"
        )
    setting = setting_from(
        {"workload": row["network"], "batch_per_device": int(values["batch_size"]),
         "power_cap_w": values["power_limit"], "options": {"optimizer": row["optimizer"]}}
    )  # fmt: skip
    return Run(
        setting=setting, trial=f"zeus-{path.stem}-{line}", sweep=path.stem, source="zeus", quantities=readings,
        machine=Machine(device_type="cuda", device_name=device.upper()), labels={"dataset": row["dataset"]},
    )  # fmt: skip


def _windows(path: Path, header: list[str], found: Imported) -> None:
    meters = [c for c in header if re.fullmatch(r"gpu\d+_energy", c)]
    if not meters:
        found.skip(str(path), "there is no column gpu0_energy", 1)
        return
    device, _, rest = path.stem.partition("+")
    workload = rest.split("+")[0] or "window"
    for line, row in read_table(path, (*_WINDOW, *meters), found):
        measures = {column: number(row[column]) or 0.0 for column in ("elapsed_time", *meters)}
        bad = next((column for column, value in measures.items() if value <= 0), None)
        if bad:
            found.skip(str(path), f"{row[bad]!r} is no positive number", line, bad)
            continue
        cap = re.search(r"_(\d+)$", row["window_name"])
        values = {"workload": workload, "devices_per_node": len(meters)}
        try:
            setting = setting_from({**values, "power_cap_w": float(cap[1])} if cap else values)
        except SettingError as error:
            found.skip(str(path), str(error), line, "window_name")
            continue
        seconds, joules = measures["elapsed_time"], sum(measures[m] for m in meters)
        readings = {
            "elapsed_s": measured(seconds, "Zeus window"),
            "gpu_energy_j": measured(joules, f"Zeus, {len(meters)} GPUs"),
            "gpu_mean_power_w": measured(joules / seconds, "energy ÷ time"),
        }
        window = row["window_name"].removesuffix(cap[0] if cap else "")
        found.runs.append(
            Run(setting=setting, trial=f"zeus-{path.stem}-{line}", sweep=path.stem, source="zeus", quantities=readings,
                machine=Machine(device_type="cuda", device_name=device), labels={"window": window})
        )  # fmt: skip
