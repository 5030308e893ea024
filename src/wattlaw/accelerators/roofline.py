"""The time that a device needs for a sample, from its promised peak and bandwidth, corrected by what devices achieve.

    t = a / peak + b / bandwidth

``a`` are operations and ``b`` bytes a sample as real software spends them; a is never less than the operations
counted, for no device exceeds its peak. Both are fitted for each MLPerf benchmark so that the mean over devices of
|predicted / measured - 1| is least (a linear program). The roofline model is that of Williams, Waterman, Patterson
(2009), summed instead of the greater of both taken: the layers of a network are bound now by one, now by the other.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from wattlaw.accelerators.catalogue import built_in
from wattlaw.accelerators.mlperf_table import Result, results
from wattlaw.accelerators.words import Entry
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.plugins import need
from wattlaw.core.reading import quantile

BENCHMARKS = {"resnet": 2.43e10, "bert": 5.0e11}
"""Operations of forward and backward a sample, 2 a multiply-add, by MLPerf benchmark.

resnet  ResNet-50 v1.5 at 224 x 224, as ``wattlaw.workloads`` counts it
bert    BERT-large at 256 tokens a sequence of at most 512: an estimate; half of the tokens of its data set are
        padding, which submissions leave out (Krell et al., arXiv 2107.02027)
"""


class Point(NamedTuple):
    """What one device achieved: seconds per sample, measured, and what it promises (op/s, bytes/s)."""

    accelerator: str
    time_s: float
    peak_op_per_s: float
    bandwidth_bytes_per_s: float


class Roofline(NamedTuple):
    """A fitted roofline. ``ratios`` are measured over predicted times of devices that were left out of the fit."""

    op_per_sample: float
    bytes_per_sample: float
    ratios: tuple[float, ...] = ()

    def time_s(self, peak_op_per_s: float, bandwidth_bytes_per_s: float) -> float:
        """Return the predicted seconds per sample of one device."""
        return self.op_per_sample / peak_op_per_s + self.bytes_per_sample / bandwidth_bytes_per_s

    @property
    def interval(self) -> tuple[float, float]:
        """The 5th and 95th percentile of measured over predicted among left-out devices."""
        ordered = sorted(self.ratios)
        return quantile(ordered, 0.05), quantile(ordered, 0.95)

    @property
    def median_error(self) -> float:
        """Median over left-out devices of |predicted / measured - 1|."""
        return median(abs(1 / r - 1) for r in self.ratios)


class Held(NamedTuple):
    """A device predicted from the others: seconds per sample, medians over its results."""

    accelerator: str
    predicted_s: float
    measured_s: float
    results: int

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted_s / self.measured_s - 1


@functools.cache
def calibrated(benchmark: str) -> Roofline:
    """Return the roofline of an MLPerf benchmark, fitted to all devices, with the errors of leaving each out."""
    points = measured_points(benchmark)
    held = leave_one_out(points, BENCHMARKS[benchmark])
    whole = fit(points, BENCHMARKS[benchmark])
    return whole._replace(ratios=tuple(h.measured_s / h.predicted_s for h in held))


def measured_points(benchmark: str) -> list[Point]:
    """Return the single-node results of a benchmark on devices whose 16-bit peak and bandwidth are known."""
    found = []
    for result in results():
        entry = sixteen_bit(result.accelerator)
        if result.benchmark == benchmark and entry and entry.peak_op_per_s and entry.memory_bandwidth_bytes_per_s:
            found.append(Point(
                result.accelerator, 1 / result.samples_per_s, entry.peak_op_per_s, entry.memory_bandwidth_bytes_per_s
            ))  # fmt: skip
    return found


def measured_times(benchmark: str) -> dict[str, Interval]:
    """Return each device's own seconds per sample in its newest round: median result, fastest, slowest."""
    newest: dict[str, list[Result]] = {}
    for result in sorted((r for r in results() if r.benchmark == benchmark), key=lambda r: r.round):
        before = newest.get(result.accelerator, [])
        newest[result.accelerator] = [*(b for b in before if b.round == result.round), result]
    return {name: _spread(own) for name, own in newest.items()}


def _spread(own: list[Result]) -> Interval:
    times = [1 / r.samples_per_s for r in own]
    return Interval(median(times), min(1 / r.high for r in own), max(1 / r.low for r in own))


def sixteen_bit(accelerator: str) -> Entry | None:
    """Return the entry of a device at bf16 or fp16, whichever has the greater peak without sparsity."""
    return best_sixteen_bit([e for e in built_in().entries if e.accelerator == accelerator])


def best_sixteen_bit(entries: Sequence[Entry]) -> Entry | None:
    """Return that of one device's entries which has the greatest 16-bit peak without sparsity."""
    known = [e for e in entries if e.precision in ("bf16", "fp16") and e.counting != "sparse" and e.peak_op_per_s]
    return max(known, key=lambda e: e.peak_op_per_s or 0, default=None)


def fit(points: Sequence[Point], least_op: float) -> Roofline:
    """Return the roofline with the least mean relative error, each device counting once.

    ``least_op`` are the operations of a sample as counted. Raises FitError with fewer than three devices.
    """
    devices = Counter(p.accelerator for p in points)
    if len(devices) < 3:
        raise FitError(f"a roofline needs measurements of at least three known devices; there are {len(devices)}")
    optimize: Any = need("scipy.optimize", "the roofline")
    a = [1 / p.peak_op_per_s / p.time_s for p in points]
    b = [1 / p.bandwidth_bytes_per_s / p.time_s for p in points]
    scale_a, scale_b, n = sum(a) / len(a), sum(b) / len(b), len(points)
    # variables: a, b and one error a point; error >= +-(predicted / measured - 1)
    rows, bounds = [], []
    for i in range(n):
        error = [0.0] * n
        error[i] = -1.0
        rows += [[a[i] / scale_a, b[i] / scale_b, *error], [-a[i] / scale_a, -b[i] / scale_b, *error]]
        bounds += [1.0, -1.0]
    cost = [0.0, 0.0, *(1 / devices[p.accelerator] for p in points)]
    limits = [(least_op * scale_a, None), (0, None), *((0, None) for _ in range(n))]
    found = optimize.linprog(cost, A_ub=rows, b_ub=bounds, bounds=limits)
    if not found.success:
        raise FitError(f"the roofline could not be fitted: {found.message}")
    return Roofline(float(found.x[0] / scale_a), float(found.x[1] / scale_b))


def leave_one_out(points: Sequence[Point], least_op: float) -> list[Held]:
    """Predict each device from a roofline fitted to all others."""
    found = []
    for name in sorted({p.accelerator for p in points}):
        line = fit([p for p in points if p.accelerator != name], least_op)
        own = [p for p in points if p.accelerator == name]
        predicted = line.time_s(own[0].peak_op_per_s, own[0].bandwidth_bytes_per_s)
        found.append(Held(name, predicted, median(p.time_s for p in own), len(own)))
    return found
