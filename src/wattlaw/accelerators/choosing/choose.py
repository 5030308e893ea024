"""Which accelerator for a workload: candidates ranked by predicted time and energy within a power budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal

import msgspec

from wattlaw.accelerators.catalogue.achieved import achieved
from wattlaw.accelerators.catalogue.entry import Entry
from wattlaw.accelerators.catalogue.mlperf_results import BENCHMARK_FLOP, mlperf_results
from wattlaw.accelerators.catalogue.peaks import best_sixteen_bit
from wattlaw.accelerators.catalogue.peaks import entry as entry_of
from wattlaw.accelerators.choosing.roofline import (
    GRADIENT_BYTES,
    Costs,
    Promise,
    Roofline,
    calibrated,
    measured_times,
    promise_of,
)
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.findings import Interval
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.units import show
from wattlaw.workloads import table as workloads

By = Literal["time", "energy"]

MLPERF = {
    "mlperf-resnet": "resnet", "mlperf-bert": "bert", "resnet50": "resnet", "resnet50-v1.5": "resnet",
    "bert-large": "bert", "bert-large-uncased": "bert",
}  # fmt: skip
"""Workloads that an MLPerf benchmark measures itself."""


FAMILIES = ("language", "vision")
"""Domains whose workloads are built like BERT (transformers) or ResNet-50 (convolutions), whose errors are known."""

NODE = 8
"""Devices of a node, which exchange gradients over its links."""

STEP_FLOOR_S = 7.87e-4
"""No step is predicted to be shorter: the shortest of a single node in MLPerf Training v1.0, v3.0 and v4.1, evaluation
included (DLRM on eight A100, 55,296 samples a step, v1.0)."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator for a workload. Intervals are 90 % prediction intervals from the errors found on devices left out
    of the fit; a workload outside of ``FAMILIES`` and a step held at the floor have none, for nobody knows how far such
    a prediction errs.

    devices        how many the budget feeds at their promised peak power
    time_s         to train on ``samples`` with all of them in whole steps, as if they scaled as within one node
    held_at_floor  whether a step would be shorter than ``STEP_FLOOR_S``, which is then taken
    energy_j       of the devices alone, at their promised peak power: at most this
    measured       whether the time is this very device's own MLPerf result, and not the roofline's
    link_taken     whether the link of its node is not known and PCIe 4.0 x16 was taken
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


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates, best first, with what they were predicted from and how far that errs on devices left out.

    ``median_error`` is None where the workload is unlike those on which errors were found.
    """

    workload: str
    candidates: tuple[Candidate, ...]
    basis: str
    median_error: float | None
    devices_held_out: int
    warnings: tuple[Note, ...] = ()


def choose(
    workload: str,
    entries: Iterable[Entry],
    *,
    budget_kw: float = 100.0,
    samples: float = 1e6,
    preset: str = "base",
    by: By = "time",
    runs: Sequence[Run] = (),
) -> Choice:
    """Rank accelerators for a workload within a power budget, kW, by the time or energy of ``samples`` samples.

    ``entries`` are the candidates, at any precision: each counts once, at its better 16-bit format. ``runs`` of
    this workload on known devices correct the prediction. Raises UnknownNameError for a workload whose operations
    nobody counted, UsageError where the budget feeds no candidate.
    """
    if not budget_kw > 0 or not samples > 0:
        raise UsageError("the budget and the samples must be above 0")
    line, basis = roofline_of(workload, preset)
    line, corrected = _corrected(line, workload, preset, runs)
    known = measured_times(MLPERF[workload]) if workload in MLPERF and not corrected else {}
    least = least_memory_bytes(workload, preset)
    roomy = [e for e in _devices(entries) if e.memory_bytes and e.memory_bytes >= least]
    batch = _batch_per_device(workload, preset)
    found = [
        c
        for e in roomy
        if (c := _candidate(e, line, budget_kw, samples, batch, known.get(e.accelerator)))
    ]
    if not found:
        raise UsageError(
            "no candidate has a dense 16-bit peak (not below its fp32), bandwidth, power and "
            f"{show(least, 'B')} of memory, and fits into {budget_kw:g} kW; loosen the filters or raise the budget"
        )
    found.sort(key=lambda c: (c.time_s if by == "time" else c.energy_j).value)
    return Choice(
        workload=workload,
        candidates=tuple(found),
        basis=basis + corrected,
        median_error=line.median_error if line.ratios else None,
        devices_held_out=len(line.ratios),
        warnings=_warnings(workload, bool(corrected), found),
    )


def roofline_of(workload: str, preset: str = "base") -> tuple[Roofline, str]:
    """Return a workload's roofline and from what it was made.

    A workload that MLPerf measures has its own. For another, the share of peak and what a step costs per byte of
    gradients come from BERT (bound by arithmetic), the bytes and joules per byte of activations from ResNet-50
    (bound by bandwidth), and the intervals from the errors of both; outside of ``FAMILIES`` there are none.
    """
    if workload in MLPERF:
        return calibrated(MLPERF[workload]), f"single-node MLPerf results of {MLPERF[workload]}"
    counts = workloads.counts(workload, preset)
    reference = workloads.counts("resnet50-v1.5", "base")
    if counts is None or reference is None:
        raise UnknownNameError("workload", workload, {*MLPERF, *workloads.table()})
    bert, resnet = calibrated("bert"), calibrated("resnet")
    moved = counts.activation_bytes / counts.batch / (reference.activation_bytes / reference.batch)
    stepped = counts.gradient_bytes / GRADIENT_BYTES["bert"]
    costs = Costs(
        op=counts.flop_per_sample * bert.costs.op / BENCHMARK_FLOP["bert"],
        bytes=resnet.costs.bytes * moved,
        joules=resnet.costs.joules * moved,
        step_bytes=bert.costs.step_bytes * stepped,
        exchanged_bytes=bert.costs.exchanged_bytes * stepped,
    )
    like = workloads.table()[workload].domain in FAMILIES
    line = Roofline(costs, (*bert.ratios, *resnet.ratios) if like else ())
    return line, f"counts of {workload} ({preset}); efficiency of MLPerf bert and resnet"


def least_memory_bytes(workload: str, preset: str = "base") -> float:
    """Return the memory that training needs at least: weights, gradients and Adam's two moments in fp32, and a sample.

    A gigabyte is taken for a sample of an MLPerf benchmark.
    """
    if workload in MLPERF:
        return 4 * GRADIENT_BYTES[MLPERF[workload]] + 1e9
    counts = workloads.counts(workload, preset)
    return 4 * counts.gradient_bytes + counts.activation_bytes / counts.batch if counts else 0.0


def _batch_per_device(workload: str, preset: str) -> float:
    """Return the samples that a device takes a step: the preset's, or what submitters to MLPerf chose (median)."""
    if workload in MLPERF:
        return median(
            r.batch_per_device for r in mlperf_results() if r.benchmark == MLPERF[workload]
        )
    counts = workloads.counts(workload, preset)
    return counts.batch if counts else 1.0


def _devices(entries: Iterable[Entry]) -> list[Entry]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.accelerator, []).append(entry)
    return [e for same in groups.values() if (e := best_sixteen_bit(same)) is not None]


def _candidate(
    entry: Entry,
    line: Roofline,
    budget_kw: float,
    samples: float,
    batch: float,
    measured: Interval | None,
) -> Candidate | None:
    promise = promise_of(entry)
    devices = int(budget_kw * 1000 / promise.power_w) if promise else 0
    if promise is None or devices < 1:
        return None
    each = measured or _interval(line.time_s(promise, batch, min(devices, NODE)), line)
    steps = math.ceil(samples / (devices * batch))
    step = _times(each, batch)
    whole = _times(_at_least(step, STEP_FLOOR_S), steps)
    return Candidate(
        accelerator=entry.accelerator,
        label=entry.label,
        year=entry.year,
        devices=devices,
        power_w=promise.power_w,
        time_s=whole,
        energy_j=_times(whole, devices * promise.power_w),
        price_usd=entry.price_usd,
        measured=measured is not None,
        held_at_floor=step.value < STEP_FLOOR_S,
        link_taken=not (measured or entry.link_bandwidth_bytes_per_s),
    )


def _corrected(
    line: Roofline, workload: str, preset: str, runs: Sequence[Run]
) -> tuple[Roofline, str]:
    """Scale a roofline by what own runs of the workload achieved over what it predicts for their devices."""
    ratios = []
    for run in runs:
        if run.state != "done" or (run.setting.workload, run.setting.preset) != (workload, preset):
            continue
        row = achieved(run)
        promise = _promise(row.accelerator, row.precision)
        if promise and row.samples_per_s.value:
            batch = run.setting.batch_per_device or _batch_per_device(workload, preset)
            ratios.append(
                1 / row.samples_per_s.value / line.time_s(promise, batch, run.setting.devices)
            )
    if not ratios:
        return line, ""
    factor = median(ratios)
    return line.scaled(factor), f"; corrected by {len(ratios)} own runs (x {factor:.3g} in time)"


def _promise(accelerator: str, precision: str) -> Promise | None:
    entry = entry_of(accelerator, precision)
    return promise_of(entry) if isinstance(entry, Entry) else None


def _interval(value: float, line: Roofline) -> Interval:
    if not line.ratios:
        return Interval(value)
    low, high = line.interval
    return Interval(value, value * low, value * high)


def _at_least(interval: Interval, least: float) -> Interval:
    if interval.value < least:
        # errors found on longer steps say nothing of one held here
        return Interval(least)
    low, high = (None if end is None else max(end, least) for end in (interval.low, interval.high))
    return Interval(interval.value, low, high)


def _times(interval: Interval, factor: float) -> Interval:
    low, high = (None if end is None else end * factor for end in (interval.low, interval.high))
    return Interval(interval.value * factor, low, high)


def _warnings(workload: str, corrected: bool, found: Sequence[Candidate]) -> tuple[Note, ...]:
    notes = [
        Note(
            "device_power_only",
            "budget and energy are the devices' at promised peak power; hosts and cooling add to it",
        ),
        Note(
            "one_node_scaling",
            "devices are taken to scale as within one node; a network slows many small ones down",
        ),
    ]
    if workload not in MLPERF and not corrected:
        text = (
            f"no run of {workload} stands behind this: its efficiency is BERT's and ResNet-50's, and how well that "
            "carries over is not known; correct it with --runs"
        )
        notes.append(Note("not_measured", text))
    taken = sum(c.link_taken for c in found)
    if taken:
        text = f"for {taken} of {len(found)} candidates the link within a node is not known; PCIe 4.0 x16 was taken"
        notes.append(Note("link_taken", text))
    held = sum(c.held_at_floor for c in found)
    if held:
        text = (
            f"{held} of {len(found)} candidates are held at {show(STEP_FLOOR_S, 's')} a step, the shortest of a single "
            "node in MLPerf Training; launching a step's work, not the device, would be what takes the time"
        )
        notes.append(Note("step_floor", text))
    return tuple(notes)
