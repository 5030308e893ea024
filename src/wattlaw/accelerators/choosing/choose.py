"""Ranks accelerators for a workload by predicted time or energy within a power budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal

import msgspec

from wattlaw.accelerators.catalogue.achieved import achieved
from wattlaw.accelerators.catalogue.entry import CatalogueEntry
from wattlaw.accelerators.catalogue.mlperf_results import BENCHMARK_FLOP, mlperf_results
from wattlaw.accelerators.catalogue.peaks import best_sixteen_bit, entry_at
from wattlaw.accelerators.choosing.roofline import (
    GRADIENT_BYTES,
    DeviceLimits,
    NetworkCosts,
    Roofline,
    calibrated,
    limits_of,
    measured_times,
)
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.findings import Interval
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.units import show
from wattlaw.workloads import counts as workload_counts

RankBy = Literal["time", "energy"]

MLPERF = {
    "mlperf-resnet": "resnet",
    "mlperf-bert": "bert",
    "resnet50": "resnet",
    "resnet50-v1.5": "resnet",
    "bert-large": "bert",
    "bert-large-uncased": "bert",
}
"""The MLPerf benchmark that measures a workload itself."""

FAMILIES = ("language", "vision")
"""Domains of networks like BERT or ResNet-50, for which the errors are known."""

NODE = 8
"""Devices of a node, which exchange gradients over its links."""

MIN_STEP_S = 7.87e-4
"""No step is predicted to be shorter: the shortest of a single node in MLPerf Training v1.0, v3.0
and v4.1, evaluation included (DLRM on eight A100, 55,296 samples per step, v1.0)."""


class AcceleratorCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator for a workload.

    Intervals are 90 % predictive intervals from the errors on devices that were left out of the
    fit. A workload outside ``FAMILIES`` and a step set to the minimum have none, because the error
    of such a prediction is unknown.

    devices        number that the budget supplies at their peak power
    time_s         time to train on ``samples`` with all of them, in whole steps, as if they scaled
                   as within one node
    held_at_floor  True if a step would be shorter than ``MIN_STEP_S``, which then replaces it
    energy_j       upper bound of the energy of the devices alone: at their peak power
    measured       True if the time is an MLPerf result of this device, not a prediction
    link_taken     True if the link of its node is unknown and PCIe 4.0 x16 was assumed
    """

    accelerator: str
    label: str
    year: int | None
    devices: int
    power_w: float
    time_s: Interval
    energy_j: Interval
    price_usd: float | None
    measured: bool
    held_at_floor: bool = False
    link_taken: bool = False


class AcceleratorChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates, best first, with the basis of their prediction and its error on left-out devices.

    ``median_error`` is None if the workload is unlike those for which errors are known.
    """

    workload: str
    candidates: tuple[AcceleratorCandidate, ...]
    basis: str
    median_error: float | None
    devices_held_out: int
    warnings: tuple[Note, ...] = ()


class _TrainingJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the candidates have to do: train on ``samples`` with ``batch`` per device and step,
    within a budget.
    """

    line: Roofline
    budget_w: float
    samples: float
    batch: float
    results: dict[str, Interval]


def choose(
    workload: str,
    entries: Iterable[CatalogueEntry],
    *,
    budget_kw: float = 100.0,
    samples: float = 1e6,
    preset: str = "base",
    by: RankBy = "time",
    runs: Sequence[Run] = (),
) -> AcceleratorChoice:
    """Rank accelerators for a workload within a power budget, kW, by the time or energy of
    ``samples`` samples.

    ``entries`` are the candidates, at any precision: each accelerator counts once, at its faster
    16-bit format. ``runs`` of this workload on known devices correct the prediction. Raises
    UnknownNameError for a workload whose operations have not been counted, UsageError if the budget
    supplies no candidate.
    """
    if not budget_kw > 0 or not samples > 0:
        raise UsageError("the budget and the samples must be above 0")
    line, basis = roofline_of(workload, preset)
    line, corrected = _corrected(line, workload, preset, runs)
    has_results = workload in MLPERF and not corrected
    job = _TrainingJob(
        line=line,
        budget_w=1000 * budget_kw,
        samples=samples,
        batch=_batch_per_device(workload, preset),
        results=measured_times(MLPERF[workload]) if has_results else {},
    )
    min_memory = min_memory_bytes(workload, preset)
    found = []
    for entry in _sixteen_bit_entries(entries):
        if entry.memory_bytes and entry.memory_bytes >= min_memory:
            candidate = _candidate(entry, job)
            if candidate is not None:
                found.append(candidate)
    if not found:
        raise UsageError(
            "no candidate has a dense 16-bit peak (not below its fp32), bandwidth, power and "
            f"{show(min_memory, 'B')} of memory, and fits into {budget_kw:g} kW; "
            "loosen the filters or raise the budget"
        )
    found.sort(key=lambda c: c.time_s.value if by == "time" else c.energy_j.value)
    return AcceleratorChoice(
        workload=workload,
        candidates=tuple(found),
        basis=basis + corrected,
        median_error=line.median_error if line.ratios else None,
        devices_held_out=len(line.ratios),
        warnings=_warnings(workload, bool(corrected), found),
    )


def roofline_of(workload: str, preset: str = "base") -> tuple[Roofline, str]:
    """Return a workload's roofline and the basis from which it was made.

    A workload that MLPerf measures has its own. For another, the share of peak and the cost of a
    step per byte of gradients come from BERT (bound by arithmetic), the bytes and joules per byte
    of activations from ResNet-50 (bound by bandwidth), and the intervals from the errors of both;
    outside ``FAMILIES`` there are none.
    """
    if workload in MLPERF:
        return calibrated(MLPERF[workload]), f"single-node MLPerf results of {MLPERF[workload]}"
    counts = workload_counts.preset_counts(workload, preset)
    reference = workload_counts.preset_counts("resnet50-v1.5", "base")
    if counts is None or reference is None:
        raise UnknownNameError("workload", workload, {*MLPERF, *workload_counts.workload_entries()})
    bert, resnet = calibrated("bert"), calibrated("resnet")
    moved = counts.activation_bytes / counts.batch / (reference.activation_bytes / reference.batch)
    stepped = counts.gradient_bytes / GRADIENT_BYTES["bert"]
    costs = NetworkCosts(
        op=counts.flop_per_sample * bert.costs.op / BENCHMARK_FLOP["bert"],
        bytes=resnet.costs.bytes * moved,
        joules=resnet.costs.joules * moved,
        step_bytes=bert.costs.step_bytes * stepped,
        exchanged_bytes=bert.costs.exchanged_bytes * stepped,
    )
    has_known_errors = workload_counts.workload_entries()[workload].domain in FAMILIES
    ratios = (*bert.ratios, *resnet.ratios) if has_known_errors else ()
    basis = f"counts of {workload} ({preset}); efficiency of MLPerf bert and resnet"
    return Roofline(costs, ratios), basis


def min_memory_bytes(workload: str, preset: str = "base") -> float:
    """Return the memory that training needs at least, bytes.

    These are the weights, gradients and Adam's two moments in fp32, and one sample. A sample of an
    MLPerf benchmark counts as a gigabyte.
    """
    if workload in MLPERF:
        return 4 * GRADIENT_BYTES[MLPERF[workload]] + 1e9
    counts = workload_counts.preset_counts(workload, preset)
    if counts is None:
        return 0.0
    return 4 * counts.gradient_bytes + counts.activation_bytes / counts.batch


def _batch_per_device(workload: str, preset: str) -> float:
    """Return the samples per device and step: the preset's, or the median of the submissions to
    MLPerf.
    """
    if workload in MLPERF:
        own = [r for r in mlperf_results() if r.benchmark == MLPERF[workload]]
        return median(r.batch_per_device for r in own)
    counts = workload_counts.preset_counts(workload, preset)
    return counts.batch if counts else 1.0


def _sixteen_bit_entries(entries: Iterable[CatalogueEntry]) -> list[CatalogueEntry]:
    """Return each accelerator's entry at its faster 16-bit format."""
    groups: dict[str, list[CatalogueEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.accelerator, []).append(entry)
    best = [best_sixteen_bit(same) for same in groups.values()]
    return [e for e in best if e is not None]


def _candidate(entry: CatalogueEntry, job: _TrainingJob) -> AcceleratorCandidate | None:
    """Return an accelerator as a candidate; None if it has unknown limits or exceeds the budget."""
    limits = limits_of(entry)
    devices = int(job.budget_w / limits.power_w) if limits else 0
    if limits is None or devices < 1:
        return None
    result = job.results.get(entry.accelerator)
    per_sample = result or _predicted_time(job.line, limits, job.batch, min(devices, NODE))
    step = _times(per_sample, job.batch)
    steps = math.ceil(job.samples / (devices * job.batch))
    time_s = _times(_at_least(step, MIN_STEP_S), steps)
    return AcceleratorCandidate(
        accelerator=entry.accelerator,
        label=entry.label,
        year=entry.year,
        devices=devices,
        power_w=limits.power_w,
        time_s=time_s,
        energy_j=_times(time_s, devices * limits.power_w),
        price_usd=entry.price_usd,
        measured=result is not None,
        held_at_floor=step.value < MIN_STEP_S,
        link_taken=not (result or entry.link_bandwidth_bytes_per_s),
    )


def _corrected(
    line: Roofline, workload: str, preset: str, runs: Sequence[Run]
) -> tuple[Roofline, str]:
    """Return a roofline scaled by measured over predicted times of own runs, and this as text."""
    ratios = []
    for run in runs:
        if run.state != "done" or (run.setting.workload, run.setting.preset) != (workload, preset):
            continue
        row = achieved(run)
        entry = entry_at(row.accelerator, row.precision)
        limits = limits_of(entry) if isinstance(entry, CatalogueEntry) else None
        if limits and row.samples_per_s.value:
            batch = run.setting.batch_per_device or _batch_per_device(workload, preset)
            predicted = line.time_s(limits, batch, run.setting.devices)
            ratios.append(1 / row.samples_per_s.value / predicted)
    if not ratios:
        return line, ""
    factor = median(ratios)
    return line.scaled(factor), f"; corrected by {len(ratios)} own runs (x {factor:.3g} in time)"


def _predicted_time(line: Roofline, limits: DeviceLimits, batch: float, devices: int) -> Interval:
    value = line.time_s(limits, batch, devices)
    if not line.ratios:
        return Interval(value)
    low, high = line.interval
    return Interval(value, value * low, value * high)


def _at_least(interval: Interval, least: float) -> Interval:
    if interval.value < least:
        # the known errors are those of longer steps
        return Interval(least)
    if interval.low is None or interval.high is None:
        return interval
    return Interval(interval.value, max(interval.low, least), max(interval.high, least))


def _times(interval: Interval, factor: float) -> Interval:
    if interval.low is None or interval.high is None:
        return Interval(interval.value * factor)
    return Interval(interval.value * factor, interval.low * factor, interval.high * factor)


def _warnings(
    workload: str, corrected: bool, found: Sequence[AcceleratorCandidate]
) -> tuple[Note, ...]:
    notes = [
        Note(
            "device_power_only",
            "budget and energy count devices at their peak power, without hosts and cooling",
        ),
        Note(
            "one_node_scaling",
            "devices are assumed to scale as within one node; a network slows down many small ones",
        ),
    ]
    if workload not in MLPERF and not corrected:
        text = (
            f"no run of {workload} supports this: the efficiency is that of BERT and ResNet-50, "
            "and how well it carries over is unknown; correct it with --runs"
        )
        notes.append(Note("not_measured", text))
    assumed = sum(c.link_taken for c in found)
    if assumed:
        text = (
            f"for {assumed} of {len(found)} candidates the link within a node is unknown; "
            "PCIe 4.0 x16 was assumed"
        )
        notes.append(Note("link_taken", text))
    too_short = sum(c.held_at_floor for c in found)
    if too_short:
        text = (
            f"the steps of {too_short} of {len(found)} candidates are set to "
            f"{show(MIN_STEP_S, 's')}, the shortest of a single node in MLPerf Training: launching "
            "a step would take longer than computing it"
        )
        notes.append(Note("step_floor", text))
    return tuple(notes)
