"""What devices deliver of what they promise: runs joined with the catalogue.

    achieved operations/s = counted operations a sample * samples/s
    share of peak         = achieved / (promised peak at the run's precision * devices)

A precision, a device or a count that is not known makes the share missing, with the reason; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from wattlaw.accelerators.catalogue import peaks
from wattlaw.accelerators.catalogue.mlperf_results import (
    BENCHMARK_FLOP,
    MlperfResult,
    mlperf_results,
)
from wattlaw.accelerators.catalogue.peaks import sixteen_bit
from wattlaw.core.factors import told
from wattlaw.core.quantities import derive, energy, per_sample
from wattlaw.core.reading import Reading, estimated, missing
from wattlaw.core.run import Run
from wattlaw.workloads import table as workloads


class Achieved(msgspec.Struct, frozen=True, kw_only=True):
    """One run, or one row of the MLPerf table, beside what its devices promise; all rates are of one device.

    share_of_peak     achieved over promised, in [0, 1]
    flop_per_joule    counted operations a sample over the energy of a sample that was measured; ``how`` says within
                      which boundary: of the GPUs where they were metered, else the widest one that was
    """

    name: str
    source: str
    workload: str
    device: str
    accelerator: str
    precision: str
    devices: int
    samples_per_s: Reading
    achieved_flop_per_s: Reading
    peak_op_per_s: Reading
    share_of_peak: Reading
    power_w: Reading
    flop_per_joule: Reading


def achieved(run: Run, own: Path | None = None, precision: str = "") -> Achieved:
    """Return a run beside its devices' promise. ``precision`` is taken where the run records none."""
    setting, device = run.setting, run.machine.device_name
    spoken = recorded_precision(run) or precision
    rate = _scaled(run.reading("samples_per_s"), 1 / setting.devices)
    flop = flop_per_sample(run)
    work = _product(rate, flop)
    peak = peaks.peak_op_per_s(device, spoken, own) if device and spoken else missing(
        "the run does not name its device" if not device else "the run does not record its precision"
    )  # fmt: skip
    power = _scaled(run.reading("gpu_mean_power_w"), 1 / setting.devices)
    return Achieved(
        name=run.trial,
        source=run.source,
        workload=setting.workload,
        device=device or "unknown",
        accelerator=peaks.identity(device, own) or "unknown",
        precision=spoken or "unknown",
        devices=setting.devices,
        samples_per_s=rate,
        achieved_flop_per_s=work,
        peak_op_per_s=peak,
        share_of_peak=_ratio(work, peak),
        power_w=power,
        flop_per_joule=_per_joule(run, flop),
    )


def achieved_all(
    runs: Iterable[Run], own: Path | None = None, precision: str = ""
) -> list[Achieved]:
    """Return every run that was done beside its devices' promise."""
    return [achieved(r, own, precision) for r in runs if r.state == "done"]


def recorded_precision(run: Run) -> str:
    """Return the precision a run records; "" for an imported run or a user's own code that does not say it.

    Their setting has a default precision, which is no record: what the importer or the user told counts.
    """
    return (
        told(run, "precision") or "" if run.source == "wattlaw" else run.labels.get("precision", "")
    )


def flop_per_sample(run: Run) -> Reading:
    """Return the floating-point operations a sample of a run's workload, as counted; missing says why."""
    setting = run.setting
    if run.source.startswith("mlperf") and setting.workload in BENCHMARK_FLOP:
        return _benchmark_flop(setting.workload)
    counts = workloads.counts(setting.workload, setting.preset)
    if counts is None:
        return missing(
            f"the operations of {setting.workload} ({setting.preset}) have not been counted"
        )
    defaults = workloads.table()[setting.workload].options
    changed = [n for n, v in setting.options.items() if n in defaults and v != defaults[n]]
    if changed:
        return missing(
            f"counted with the default {changed[0]}, the run has {setting.options[changed[0]]!r}"
        )
    return Reading(
        float(counts.flop_per_sample),
        "estimated",
        "operations counted, not those that the device issued",
    )


def mlperf_achieved() -> list[Achieved]:
    """Return the MLPerf table beside the 16-bit peaks. The logs name no precision: the share is of the 16-bit peak."""
    return [_from_result(r) for r in mlperf_results()]


def _from_result(result: MlperfResult) -> Achieved:
    rate = Reading(
        result.samples_per_s,
        "measured",
        f"MLPerf {result.round}",
        result.low,
        result.high,
        result.runs,
    )
    work = _product(rate, _benchmark_flop(result.benchmark))
    entry = sixteen_bit(result.accelerator)
    peak = estimated(entry.peak_op_per_s, f"promised peak, {entry.precision}") if entry and entry.peak_op_per_s else (
        missing(f"{result.accelerator} has no known dense 16-bit peak")
    )  # fmt: skip
    unknown = missing("the MLPerf table has no power of single devices")
    return Achieved(
        name=f"{result.benchmark} {result.accelerator} {result.round} x{result.accelerators}",
        source=f"mlperf {result.round}",
        workload=result.benchmark,
        device=result.accelerator,
        accelerator=result.accelerator,
        precision="unknown; 16-bit peak",
        devices=result.accelerators,
        samples_per_s=rate,
        achieved_flop_per_s=work,
        peak_op_per_s=peak,
        share_of_peak=_ratio(work, peak),
        power_w=unknown,
        flop_per_joule=unknown,
    )


def _benchmark_flop(benchmark: str) -> Reading:
    how = (
        "counted"
        if benchmark == "resnet"
        else "counted within 2 % at a mean of 256 tokens a sequence"
    )
    return Reading(
        BENCHMARK_FLOP[benchmark], "estimated", f"operations of MLPerf {benchmark}, {how}"
    )


def _per_joule(run: Run, flop: Reading) -> Reading:
    """Return the counted operations a joule, within the GPUs' boundary or the widest that was measured."""
    each, boundary = derive(run, "gpu_energy_per_sample_j"), "gpu"
    if each.status != "measured":
        whole, boundary = energy(run)
        each = per_sample(run, whole)
    if each.value is not None and each.status != "measured":
        return missing("no energy was measured")
    return _ratio(
        flop, Reading(each.value, each.status, f"{boundary} energy" if each.value else each.how)
    )


def _product(rate: Reading, per_sample: Reading) -> Reading:
    if rate.value is None or per_sample.value is None:
        return rate if rate.value is None else per_sample
    times = per_sample.value
    low, high = (None if end is None else end * times for end in (rate.low, rate.high))
    return Reading(rate.value * times, "estimated", per_sample.how, low, high, rate.n)


def _ratio(above: Reading, below: Reading) -> Reading:
    if above.value is None or not below.value:
        return missing(above.how if above.value is None else below.how or "not known")
    low, high = (None if end is None else end / below.value for end in (above.low, above.high))
    return Reading(
        above.value / below.value,
        "estimated",
        f"{above.how}; {below.how}".strip("; "),
        low,
        high,
        above.n,
    )


def _scaled(reading: Reading, factor: float) -> Reading:
    if reading.value is None:
        return reading
    low, high = (None if end is None else end * factor for end in (reading.low, reading.high))
    return Reading(reading.value * factor, reading.status, reading.how, low, high, reading.n)
