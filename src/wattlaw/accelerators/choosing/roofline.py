"""The time that a device needs for a sample, from what it promises, corrected by what devices achieve.

    t = a / peak + b / bandwidth + e / power + (d / bandwidth + x * 2 (n - 1) / n / (link / 2)) / batch

``a`` are operations, ``b`` bytes and ``e`` joules a sample as real software spends them; ``d`` are bytes a step
(weights and the optimiser's state pass through memory once a step, whatever its batch) and ``x`` bytes that the n
devices of a node exchange a step (a ring sends 2 (n - 1) / n of them each way; a link's bandwidth counts both ways).
a is never less than the operations counted, for no device exceeds its peak. All five are fitted for each MLPerf
benchmark so that the mean over devices of |predicted / measured - 1| is least (a linear program); one that the
measurements don't ask for becomes 0. The roofline model is that of Williams, Waterman, Patterson (2009), with the
power of Choi, Bedard, Fowler, Vuduc (2013); their ceilings are summed instead of the greatest taken: the layers of a
network are bound now by one, now by another.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from wattlaw.accelerators.catalogue.entry import Entry
from wattlaw.accelerators.catalogue.mlperf_results import (
    BENCHMARK_FLOP,
    MlperfResult,
    mlperf_results,
)
from wattlaw.accelerators.catalogue.peaks import sixteen_bit
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.plugins import need

GRADIENT_BYTES = {"resnet": 4 * 25.6e6, "bert": 4 * 336e6}
"""Bytes of the gradients of a benchmark's network in fp32."""

PCIE_4 = 6.4e10
"""Bytes/s of PCIe 4.0 x16, both directions: the slowest link of the devices measured."""


class Promise(NamedTuple):
    """What one device promises: op/s at 16 bits without sparsity, memory and link bytes/s, W."""

    peak_op_per_s: float
    bandwidth_bytes_per_s: float
    power_w: float
    link_bytes_per_s: float


class Point(NamedTuple):
    """What one device achieved among ``devices`` of a node: seconds per sample at ``batch`` samples a step."""

    accelerator: str
    time_s: float
    promise: Promise
    batch: float = math.inf
    devices: int = 1


class Costs(NamedTuple):
    """What a network spends: operations, bytes and joules a sample; bytes of memory and of links a step."""

    op: float
    bytes: float
    joules: float = 0.0
    step_bytes: float = 0.0
    exchanged_bytes: float = 0.0


class Roofline(NamedTuple):
    """A fitted roofline. ``ratios`` are measured over predicted times of devices that were left out of the fit."""

    costs: Costs
    ratios: tuple[float, ...] = ()

    def time_s(self, promise: Promise, batch: float = math.inf, devices: int = 1) -> float:
        """Return the predicted seconds per sample of one of ``devices`` of a node, each at ``batch`` a step."""
        return sum(
            c * u for c, u in zip(self.costs, _unit_times(promise, batch, devices), strict=True)
        )

    def scaled(self, factor: float) -> Roofline:
        """Return the roofline with all costs times ``factor``, its errors centred on 1."""
        middle = median(self.ratios) if self.ratios else 1.0
        return Roofline(
            Costs(*(c * factor for c in self.costs)), tuple(r / middle for r in self.ratios)
        )

    @property
    def interval(self) -> tuple[float, float]:
        """What a prediction is multiplied with for the ends of its 90 % interval.

        It is Student's prediction interval for one more device, of the logarithm of measured over predicted. The
        5th and 95th percentile of so few errors would hold too little: 77 % of devices left out.
        """
        laws: Any = need("wattlaw.laws.statistics.ratios", "the interval of a prediction")
        logs = [math.log(r) for r in self.ratios]
        n = len(logs)
        reach = laws.t_quantile(n - 1) * stdev(logs) * math.sqrt(1 + 1 / n)
        return math.exp(fmean(logs) - reach), math.exp(fmean(logs) + reach)

    @property
    def median_error(self) -> float:
        """Median over left-out devices of |predicted / measured - 1|."""
        return median(abs(1 / r - 1) for r in self.ratios)


class Held(NamedTuple):
    """A device predicted from the others: measured over predicted time, the median over its results."""

    accelerator: str
    ratio: float
    results: int

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return 1 / self.ratio - 1


@functools.cache
def calibrated(benchmark: str) -> Roofline:
    """Return the roofline of an MLPerf benchmark, fitted to all devices, with the errors of leaving each out."""
    points = measured_points(benchmark)
    held = leave_one_out(points, BENCHMARK_FLOP[benchmark])
    return fit(points, BENCHMARK_FLOP[benchmark])._replace(ratios=tuple(h.ratio for h in held))


def measured_points(benchmark: str) -> list[Point]:
    """Return the single-node results of a benchmark on devices of which all four promises are known."""
    found = []
    for result in mlperf_results():
        entry = sixteen_bit(result.accelerator) if result.benchmark == benchmark else None
        promise = promise_of(entry) if entry and entry.link_bandwidth_bytes_per_s else None
        if promise:
            time_s = 1 / result.samples_per_s
            found.append(
                Point(
                    result.accelerator,
                    time_s,
                    promise,
                    result.batch_per_device,
                    result.accelerators,
                )
            )
    return found


def measured_times(benchmark: str) -> dict[str, Interval]:
    """Return each device's own seconds per sample in its newest round: median result, fastest, slowest."""
    newest: dict[str, list[MlperfResult]] = {}
    for result in sorted(
        (r for r in mlperf_results() if r.benchmark == benchmark), key=lambda r: r.round
    ):
        before = newest.get(result.accelerator, [])
        newest[result.accelerator] = [*(b for b in before if b.round == result.round), result]
    return {name: _spread(own) for name, own in newest.items()}


def _spread(own: list[MlperfResult]) -> Interval:
    times = [1 / r.samples_per_s for r in own]
    return Interval(median(times), min(1 / r.high for r in own), max(1 / r.low for r in own))


def promise_of(entry: Entry) -> Promise | None:
    """Return what an entry promises; None where its peak, bandwidth or power is not known.

    A link that is not known is taken as PCIe 4.0 x16.
    """
    if not (entry.peak_op_per_s and entry.memory_bandwidth_bytes_per_s and entry.power_w):
        return None
    link = entry.link_bandwidth_bytes_per_s or PCIE_4
    return Promise(entry.peak_op_per_s, entry.memory_bandwidth_bytes_per_s, entry.power_w, link)


def fit(points: Sequence[Point], least_op: float) -> Roofline:
    """Return the roofline with the least mean relative error, each device counting once.

    ``least_op`` are the operations of a sample as counted. Raises FitError with fewer than three devices.
    """
    devices = Counter(p.accelerator for p in points)
    if len(devices) < 3:
        raise FitError(
            f"a roofline needs measurements of at least three known devices; there are {len(devices)}"
        )
    optimize: Any = need("scipy.optimize", "the roofline")
    shares = [[u / p.time_s for u in _unit_times(p.promise, p.batch, p.devices)] for p in points]
    scale = [fmean(column) or 1.0 for column in zip(*shares, strict=True)]
    n, terms = len(points), len(scale)
    # variables: the costs and one error a point; error >= +-(predicted / measured - 1)
    rows, bounds = [], []
    for i, share in enumerate(shares):
        error = [-float(i == j) for j in range(n)]
        scaled = [s / whole for s, whole in zip(share, scale, strict=True)]
        rows += [[*scaled, *error], [*(-s for s in scaled), *error]]
        bounds += [1.0, -1.0]
    cost = [0.0] * terms + [1 / devices[p.accelerator] for p in points]
    limits = [(least_op * scale[0], None), *[(0, None)] * (terms - 1 + n)]
    found = optimize.linprog(cost, A_ub=rows, b_ub=bounds, bounds=limits)
    if not found.success:
        raise FitError(f"the roofline could not be fitted: {found.message}")
    return Roofline(Costs(*(float(x / whole) for x, whole in zip(found.x, scale, strict=False))))


def leave_one_out(points: Sequence[Point], least_op: float) -> list[Held]:
    """Predict each device from a roofline fitted to all others."""
    found = []
    for name in sorted({p.accelerator for p in points}):
        line = fit([p for p in points if p.accelerator != name], least_op)
        own = [p for p in points if p.accelerator == name]
        found.append(Held(name, median(p.time_s / line.time_s(*p[2:]) for p in own), len(own)))
    return found


def coverage(points: Sequence[Point], least_op: float) -> float:
    """Return the share of devices whose time lies in the 90 % interval that the others alone would give it."""
    held = leave_one_out(points, least_op)
    inside = 0
    for one in held:
        others = leave_one_out([p for p in points if p.accelerator != one.accelerator], least_op)
        low, high = Roofline(Costs(0, 0), tuple(h.ratio for h in others)).interval
        inside += low <= one.ratio <= high
    return inside / len(held)


def _unit_times(promise: Promise, batch: float, devices: int) -> tuple[float, ...]:
    """Return the seconds per sample that one unit of each of ``Costs`` takes, in its order."""
    peak, bandwidth, power, link = promise
    ring = 2 * (devices - 1) / devices
    return 1 / peak, 1 / bandwidth, 1 / power, 1 / bandwidth / batch, ring / (link / 2) / batch
