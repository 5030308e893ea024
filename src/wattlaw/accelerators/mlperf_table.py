"""Makes mlperf.csv: what devices achieved in single-node MLPerf Training results, one row a device, round and batch.

``python -m wattlaw.accelerators.mlperf_table RUNS.csv`` reads a table of runs, one row a run, as read from the
logs of the rounds v1.0, v3.0 and v4.1 (columns round, submitter, benchmark, accelerator, nodes,
accelerators_per_node, global_batch_size, run_seconds, status, and the samples or epochs as logged).
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
from wattlaw.core.files import explained, write_whole
from wattlaw.core.reading import quantile

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


def summarise(rows: Iterable[dict[str, str]], benchmarks: tuple[str, ...] = ("resnet", "bert")) -> list[Result]:
    """Return the results of a table of runs. Runs on devices of unknown name or without a sample count are left out."""
    groups: dict[tuple[str, str, str, int, float], list[float]] = {}
    for row in rows:
        accelerator, devices = identity(row["accelerator"]), int(row["accelerators_per_node"] or 0)
        samples = trained_samples(row)
        if row["benchmark"] not in benchmarks or row["nodes"] != "1" or row["status"] != "success":
            continue
        if accelerator and devices and samples and row["global_batch_size"]:
            key = (row["benchmark"], accelerator, row["round"], devices, float(row["global_batch_size"]) / devices)
            groups.setdefault(key, []).append(samples / float(row["run_seconds"]) / devices)
    found = []
    for key, rates in sorted(groups.items()):
        ordered = sorted(rates)
        low, middle, high = (quantile(ordered, q) for q in (0.05, 0.5, 0.95))
        found.append(Result(*key, middle, low, high, len(rates)))
    return found


def trained_samples(row: dict[str, str]) -> float | None:
    """Return the samples that a run trained on until its last evaluation, from whichever of the logged counts it has.

    Some submitters log samples under "epoch": a number above 1000 is one. An epoch has the logged ``train_samples``.
    """
    for column in ("stop_samples_count", "last_eval_samples_count"):
        if row[column]:
            return float(row[column])
    epochs = row["stop_epoch"] or row["last_eval_epoch"]
    if not epochs:
        return None
    if float(epochs) > 1000:
        return float(epochs)
    return float(epochs) * float(row["train_samples"]) if row["train_samples"] else None


def table_text(path: Path) -> str:
    """Return the text of mlperf.csv, made from a table of runs. Raises RecordError where it can't be read."""
    with explained(path), open(path, encoding="utf-8", newline="") as file:
        found = summarise(csv.DictReader(file))
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
