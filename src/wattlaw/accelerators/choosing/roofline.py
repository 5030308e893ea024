"""The time that a device needs per sample, predicted from its datasheet and fitted to measured
devices.

    t = a / peak + b / bandwidth + e / power + (d / bandwidth + x * 2 (n - 1) / n / (link / 2)) /
    batch

``a`` are operations, ``b`` bytes and ``e`` joules per sample as real software spends them. ``d``
are bytes per step: weights and the optimiser's state pass through memory once per step, whatever
the batch size. ``x`` are the bytes that the n devices of a node exchange per step: a ring sends 2
(n - 1) / n of them in each direction, and a link's bandwidth counts both directions. ``a`` is never
less than the counted operations, because no device exceeds its peak.

All five are fitted for each MLPerf benchmark so that the mean over devices of |predicted / measured
- 1| is least (a linear program); a term that the measurements do not need becomes 0. The roofline
model is that of Williams, Waterman, Patterson (2009), with the power term of Choi, Bedard, Fowler,
Vuduc (2013). Their ceilings are summed here instead of taking the highest, because different layers
of a network are bound by different ceilings.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

from wattlaw.accelerators.catalogue.entry import CatalogueEntry
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
"""Bandwidth of PCIe 4.0 x16, bytes/s in both directions: the slowest link of the measured devices.
"""

MIN_DEVICES = 3
"""Devices that a fit needs at least."""


class DeviceLimits(NamedTuple):
    """The datasheet limits of one device: dense op/s at 16 bits, memory and link bytes/s, W."""

    peak_op_per_s: float
    bandwidth_bytes_per_s: float
    power_w: float
    link_bytes_per_s: float


class MeasuredDevice(NamedTuple):
    """The seconds per sample of one of ``devices`` of a node, at ``batch`` samples per step."""

    accelerator: str
    time_s: float
    limits: DeviceLimits
    batch: float = math.inf
    devices: int = 1


class NetworkCosts(NamedTuple):
    """The costs of a network: operations, bytes, joules per sample; bytes per step."""

    op: float
    bytes: float
    joules: float = 0.0
    step_bytes: float = 0.0
    exchanged_bytes: float = 0.0


class Roofline(NamedTuple):
    """A fitted roofline. ``ratios`` are measured over predicted times of devices that were left out
    of the fit.
    """

    costs: NetworkCosts
    ratios: tuple[float, ...] = ()

    def time_s(self, limits: DeviceLimits, batch: float = math.inf, devices: int = 1) -> float:
        """Return the predicted seconds per sample of one of ``devices`` of a node, each at
        ``batch`` per step.
        """
        unit_times = _unit_times(limits, batch, devices)
        total = 0.0
        for cost, unit_time in zip(self.costs, unit_times, strict=True):
            total += cost * unit_time
        return total

    def scaled(self, factor: float) -> Roofline:
        """Return the roofline with all costs times ``factor``, and its errors centred on 1."""
        centre = median(self.ratios) if self.ratios else 1.0
        costs = NetworkCosts(*(c * factor for c in self.costs))
        return Roofline(costs, tuple(r / centre for r in self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        """The factors that turn a prediction into the ends of its 90 % predictive interval.

        This is Student's predictive interval for one more device, of the logarithm of measured over
        predicted. The 5th and 95th percentile of so few errors would be too narrow: they cover 77 %
        of left-out devices.
        """
        ratios = need("wattlaw.laws.statistics.ratios", "a predictive interval")
        logs = [math.log(r) for r in self.ratios]
        n = len(logs)
        reach = ratios.t_quantile(n - 1) * stdev(logs) * math.sqrt(1 + 1 / n)
        return math.exp(fmean(logs) - reach), math.exp(fmean(logs) + reach)

    @property
    def median_error(self) -> float:
        """Median over left-out devices of |predicted / measured - 1|."""
        return median(abs(1 / r - 1) for r in self.ratios)


class LeftOutDevice(NamedTuple):
    """A device predicted from the others: the median of measured over predicted time."""

    accelerator: str
    ratio: float
    results: int

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return 1 / self.ratio - 1


@functools.cache
def calibrated(benchmark: str) -> Roofline:
    """Return the roofline of an MLPerf benchmark with the errors of leaving each device out."""
    points = measured_devices(benchmark)
    left_out = leave_one_out(points, BENCHMARK_FLOP[benchmark])
    ratios = tuple(device.ratio for device in left_out)
    return fit_roofline(points, BENCHMARK_FLOP[benchmark])._replace(ratios=ratios)


def measured_devices(benchmark: str) -> list[MeasuredDevice]:
    """Return the single-node results of a benchmark on devices with all four limits known."""
    found = []
    for result in mlperf_results():
        if result.benchmark != benchmark:
            continue
        entry = sixteen_bit(result.accelerator)
        limits = limits_of(entry) if entry and entry.link_bandwidth_bytes_per_s else None
        if limits:
            time_s = 1 / result.samples_per_s
            found.append(
                MeasuredDevice(
                    result.accelerator,
                    time_s,
                    limits,
                    result.batch_per_device,
                    result.accelerators,
                )
            )
    return found


def measured_times(benchmark: str) -> dict[str, Interval]:
    """Return each device's seconds per sample in its newest round: median, fastest, slowest."""
    newest: dict[str, list[MlperfResult]] = {}
    for result in sorted(mlperf_results(), key=lambda r: r.round):
        if result.benchmark != benchmark:
            continue
        before = newest.get(result.accelerator, [])
        same_round = [b for b in before if b.round == result.round]
        newest[result.accelerator] = [*same_round, result]
    return {name: _time_interval(results) for name, results in newest.items()}


def limits_of(entry: CatalogueEntry) -> DeviceLimits | None:
    """Return the datasheet limits of an entry; None if its peak, bandwidth or power is unknown.

    An unknown link is taken as PCIe 4.0 x16.
    """
    if not (entry.peak_op_per_s and entry.memory_bandwidth_bytes_per_s and entry.power_w):
        return None
    link = entry.link_bandwidth_bytes_per_s or PCIE_4
    return DeviceLimits(
        entry.peak_op_per_s, entry.memory_bandwidth_bytes_per_s, entry.power_w, link
    )


def fit_roofline(points: Sequence[MeasuredDevice], min_op: float) -> Roofline:
    """Return the roofline with the least mean relative error; each device has the same weight.

    ``min_op`` are the counted operations per sample. Raises FitError with fewer than three devices.
    """
    results_per_device = Counter(p.accelerator for p in points)
    if len(results_per_device) < MIN_DEVICES:
        raise FitError(
            f"a roofline needs measurements of at least three known devices; "
            f"there are {len(results_per_device)}"
        )
    np = need("numpy", "the roofline")
    optimize = need("scipy.optimize", "the roofline")
    units = np.array([_unit_times(p.limits, p.batch, p.devices) for p in points])
    weights = np.array([1 / results_per_device[p.accelerator] for p in points])
    shares = units / np.array([p.time_s for p in points])[:, None]
    # every column is scaled to a mean of 1, so that the solver sees numbers of one size
    scale = shares.mean(axis=0)
    scale[scale == 0] = 1.0
    n, terms = shares.shape
    # variables: the costs, and one error per point with error >= +-(predicted / measured - 1)
    errors = np.eye(n)
    found = optimize.linprog(
        np.concatenate([np.zeros(terms), weights]),
        A_ub=np.block([[shares / scale, -errors], [-shares / scale, -errors]]),
        b_ub=np.concatenate([np.ones(n), -np.ones(n)]),
        bounds=[(min_op * scale[0], None), *[(0, None)] * (terms - 1 + n)],
    )
    if not found.success:
        raise FitError(f"the roofline could not be fitted: {found.message}")
    return Roofline(NetworkCosts(*(found.x[:terms] / scale).tolist()))


def leave_one_out(points: Sequence[MeasuredDevice], min_op: float) -> list[LeftOutDevice]:
    """Predict each device from a roofline fitted to all others."""
    found = []
    for name in sorted({p.accelerator for p in points}):
        line = fit_roofline([p for p in points if p.accelerator != name], min_op)
        ratios = []
        for point in points:
            if point.accelerator == name:
                predicted_s = line.time_s(point.limits, point.batch, point.devices)
                ratios.append(point.time_s / predicted_s)
        found.append(LeftOutDevice(name, median(ratios), len(ratios)))
    return found


def coverage(points: Sequence[MeasuredDevice], min_op: float) -> float:
    """Return the share of devices in the 90 % interval that the others alone give them."""
    left_out = leave_one_out(points, min_op)
    covered = 0
    for device in left_out:
        others = [p for p in points if p.accelerator != device.accelerator]
        ratios = tuple(o.ratio for o in leave_one_out(others, min_op))
        low, high = Roofline(NetworkCosts(0, 0), ratios).interval
        covered += low <= device.ratio <= high
    return covered / len(left_out)


def _time_interval(results: list[MlperfResult]) -> Interval:
    middle = median(1 / r.samples_per_s for r in results)
    fastest = min(1 / r.high for r in results)
    return Interval(middle, fastest, max(1 / r.low for r in results))


def _unit_times(limits: DeviceLimits, batch: float, devices: int) -> tuple[float, ...]:
    """Return the seconds per sample that one unit of each field of ``NetworkCosts`` takes."""
    peak, bandwidth, power, link = limits
    ring = 2 * (devices - 1) / devices
    return 1 / peak, 1 / bandwidth, 1 / power, 1 / bandwidth / batch, ring / (link / 2) / batch
