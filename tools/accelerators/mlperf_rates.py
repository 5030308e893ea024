"""Makes mlperf.csv: the rates of devices in single-node MLPerf Training, a row per device, round
and batch size.

Run from the root of the repository::

    python -m tools.accelerators.mlperf_rates RUNS.csv

RUNS.csv has one row per run, read from the logs of the rounds v1.0, v3.0 and v4.1; the importer
``mlperf`` reads it. Results by MLCommons and the submitters, Apache-2.0;
mlcommons.org/benchmarks/training.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from wattlaw.accelerators.catalogue.mlperf_results import MLPERF_TABLE, MlperfResult
from wattlaw.accelerators.catalogue.peaks import identity
from wattlaw.core.files import write_whole
from wattlaw.core.reading import quantile
from wattlaw.core.run import Run
from wattlaw.importers.importer import import_runs

BENCHMARKS = ("resnet", "bert")
PREFACE = """# wattlaw mlperf 1
# Median rates per device of successful single-node MLPerf Training runs (MLCommons and the submitters, Apache-2.0).
"""

GroupKey = tuple[str, str, str, int, float]
"""Benchmark, accelerator, round, devices of the node, batch per device."""


def summarise(runs: Iterable[Run]) -> list[MlperfResult]:
    """Return the results of imported runs. Failed runs and devices of unknown name are left out."""
    rates_by_group: dict[GroupKey, list[float]] = {}
    for run in runs:
        if run.setting.nodes != 1 or run.state != "done" or run.setting.workload not in BENCHMARKS:
            continue
        accelerator = identity(run.machine.device_name)
        rate, batch = run.reading("samples_per_s").value, run.reading("global_batch").value
        if not (accelerator and rate and batch):
            continue
        devices = run.setting.devices
        round_name = run.labels.get("round", "")
        key = (run.setting.workload, accelerator, round_name, devices, batch / devices)
        rates_by_group.setdefault(key, []).append(rate / devices)
    found = []
    for key, rates in sorted(rates_by_group.items()):
        ordered = sorted(rates)
        middle, low, high = (quantile(ordered, q) for q in (0.5, 0.05, 0.95))
        found.append(MlperfResult(*key, middle, low, high, len(rates)))
    return found


def table_text(path: Path) -> str:
    """Return the text of mlperf.csv, made from a table of runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MlperfResult.__struct_fields__)
    for result in summarise(import_runs("mlperf", path).runs):
        values = msgspec.structs.astuple(result)
        writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in values)
    return PREFACE + text.getvalue()


if __name__ == "__main__":
    write_whole(MLPERF_TABLE, table_text(Path(sys.argv[1])).encode())
