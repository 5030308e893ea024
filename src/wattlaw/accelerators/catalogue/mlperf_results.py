"""What devices achieved in single-node MLPerf Training: the table that comes with wattlaw.

Results by MLCommons and the submitters, Apache-2.0; mlcommons.org/benchmarks/training.
``tools/accelerators/mlperf_rates.py`` makes the table from the runs of the rounds v1.0, v3.0 and
v4.1.
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import msgspec

MLPERF_TABLE = Path(__file__).with_name("mlperf.csv")

BENCHMARK_FLOP = {"resnet": 2.43e10, "bert": 5.0e11}
"""Operations of forward and backward pass per sample, by MLPerf benchmark; a multiply-add is two.

resnet  ResNet-50 v1.5 at 224 x 224, as ``wattlaw.workloads`` counts it
bert    BERT-large with 15 % of the tokens masked, counted by the workload's own model: 4.90e11 if
        every sequence had 256 tokens, 5.10e11 if half had 512 and the others were empty. MLPerf's
        sequences have at most 512 tokens and about 256 on average; the rest is padding, which
        submissions leave out (Krell et al., arXiv 2107.02027)
"""


class MlperfResult(msgspec.Struct, frozen=True):
    """The rate of one kind of device in one round: median, 5th and 95th percentile of ``runs``.

    samples_per_s, low, high   samples/s per device
    accelerators               devices in the node, each with ``batch_per_device`` samples per step
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
def mlperf_results() -> tuple[MlperfResult, ...]:
    """Return the table of single-node MLPerf Training results."""
    with open(MLPERF_TABLE, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(msgspec.convert(row, MlperfResult, strict=False) for row in rows)
