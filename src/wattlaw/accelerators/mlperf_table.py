"""Makes mlperf.csv: what devices achieved in single-node MLPerf Training results, one row a device, round and batch.

``python -m wattlaw.accelerators.mlperf_table RUNS.csv`` reads a table of runs, one row a run, as read from the
logs of the rounds v1.0, v3.0 and v4.1, through the importer ``mlperf``.
Results by MLCommons and the submitters, Apache-2.0; mlcommons.org/benchmarks/training.
"""

from __future__ import annotations

import csv
import functools
import io
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from wattlaw.accelerators.peaks import identity
from wattlaw.core.files import write_whole
from wattlaw.core.reading import quantile
from wattlaw.core.run import Run
from wattlaw.importers.mlperf_table import read_runs

PATH = Path(__file__).with_name("mlperf.csv")
PREFACE = """# wattlaw mlperf 1
# Median rates per device of successful single-node MLPerf Training runs (MLCommons and the submitters, Apache-2.0).
"""


class Result(msgspec.Struct, frozen=True):
    """What one kind of device achieved: samples/s per device, the median of ``runs`` with the 5th and 95th percentile.

    ``accelerators`` worked together in one node, each on ``batch_per_device`` samples a step.
    """

    benchmark: str
    accelerator: str
    round: str
    accelerators: int
    batch_per_device: float
    samples_per_s: float
    low: float
    high: float
    runs: int


@functools.cache
def results() -> tuple[Result, ...]:
    """Return the table that comes with wattlaw."""
    with open(PATH, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(msgspec.convert(row, Result, strict=False) for row in rows)


def summarise(
    runs: Iterable[Run], benchmarks: tuple[str, ...] = ("resnet", "bert")
) -> list[Result]:
    """Return the results of imported runs. Failed ones, and those on devices of unknown name, are left out."""
    groups: dict[tuple[str, str, str, int, float], list[float]] = {}
    for run in runs:
        accelerator, rate = identity(run.machine.device_name), run.reading("samples_per_s").value
        batch, devices = run.reading("global_batch").value, run.setting.devices
        single = (
            run.setting.nodes == 1 and run.state == "done" and run.setting.workload in benchmarks
        )
        if single and accelerator and rate and batch:
            key = (
                run.setting.workload,
                accelerator,
                run.labels.get("round", ""),
                devices,
                batch / devices,
            )
            groups.setdefault(key, []).append(rate / devices)
    found = []
    for key, rates in sorted(groups.items()):
        ordered = sorted(rates)
        low, middle, high = (quantile(ordered, q) for q in (0.05, 0.5, 0.95))
        found.append(Result(*key, middle, low, high, len(rates)))
    return found


def table_text(path: Path) -> str:
    """Return the text of mlperf.csv, made from a table of runs as ``wattlaw import mlperf`` reads it."""
    found = summarise(read_runs(path).runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Result.__struct_fields__)
    for result in found:
        values = msgspec.structs.astuple(result)
        writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in values)
    return PREFACE + text.getvalue()


def main() -> None:
    """Write mlperf.csv beside this file."""
    write_whole(PATH, table_text(Path(sys.argv[1])).encode())


if __name__ == "__main__":
    main()
