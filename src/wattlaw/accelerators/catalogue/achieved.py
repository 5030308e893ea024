"""Compares what devices achieve with their datasheets: runs joined with the catalogue.

    achieved operations/s = counted operations per sample * samples/s
    share of peak         = achieved / (peak at the run's precision * devices)

If a precision, a device or a count is unknown, the share is missing, with the reason. Nothing
is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from wattlaw.accelerators.catalogue.mlperf_results import (
    BENCHMARK_FLOP,
    MlperfResult,
    mlperf_results,
)
from wattlaw.accelerators.catalogue.peaks import identity, peak_op_per_s, sixteen_bit
from wattlaw.core.factors import stated_value as recorded_factor
from wattlaw.core.quantities import derive, energy, per_sample
from wattlaw.core.reading import Reading, estimated, missing
from wattlaw.core.run import Run
from wattlaw.workloads import counts as workload_counts


class AchievedShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one run, or one row of the MLPerf table, achieved of its devices' peak.

    All rates are per device.

    share_of_peak     achieved over peak, in [0, 1]
    flop_per_joule    counted operations per sample over the measured energy per sample; ``how``
                      names the boundary: the GPUs if they were metered, otherwise the widest that
                      was
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


def achieved(run: Run, own: Path | None = None, precision: str = "") -> AchievedShare:
    """Return what a run achieved of its devices' peak.

    ``precision`` is used if the run records none.
    """
    setting, device = run.setting, run.machine.device_name
    known_precision = recorded_precision(run) or precision
    rate = _scaled(run.reading("samples_per_s"), 1 / setting.devices)
    flop = flop_per_sample(run)
    work = _product(rate, flop)
    if not device:
        peak = missing("the run does not name its device")
    elif not known_precision:
        peak = missing("the run does not record its precision")
    else:
        peak = peak_op_per_s(device, known_precision, own)
    return AchievedShare(
        name=run.trial,
        source=run.source,
        workload=setting.workload,
        device=device or "unknown",
        accelerator=identity(device, own) or "unknown",
        precision=known_precision or "unknown",
        devices=setting.devices,
        samples_per_s=rate,
        achieved_flop_per_s=work,
        peak_op_per_s=peak,
        share_of_peak=_ratio(work, peak),
        power_w=_scaled(run.reading("gpu_mean_power_w"), 1 / setting.devices),
        flop_per_joule=_flop_per_joule(run, flop),
    )


def achieved_all(
    runs: Iterable[Run], own: Path | None = None, precision: str = ""
) -> list[AchievedShare]:
    """Return what every completed run achieved of its devices' peak."""
    return [achieved(r, own, precision) for r in runs if r.state == "done"]


def recorded_precision(run: Run) -> str:
    """Return the precision that a run records; "" if it records none.

    The setting of an imported run, or of a user's own code, has a default precision, which is no
    record. For such runs only the label that the importer or the user set counts.
    """
    if run.source == "wattlaw":
        return recorded_factor(run, "precision") or ""
    return run.labels.get("precision", "")


def flop_per_sample(run: Run) -> Reading:
    """Return the counted floating-point operations per sample of a run's workload."""
    setting = run.setting
    if run.source.startswith("mlperf") and setting.workload in BENCHMARK_FLOP:
        return _benchmark_flop(setting.workload)
    counts = workload_counts.preset_counts(setting.workload, setting.preset)
    if counts is None:
        return missing(
            f"the operations of {setting.workload} ({setting.preset}) have not been counted"
        )
    defaults = workload_counts.workload_entries()[setting.workload].options
    for name, value in setting.options.items():
        if name in defaults and value != defaults[name]:
            return missing(f"counted with the default {name}, the run has {value!r}")
    return Reading(
        float(counts.flop_per_sample),
        "estimated",
        "operations counted, not those that the device issued",
    )


def mlperf_achieved() -> list[AchievedShare]:
    """Return the MLPerf table against 16-bit peaks, because MLPerf's logs name no precision."""
    return [_achieved_in_mlperf(r) for r in mlperf_results()]


def _achieved_in_mlperf(result: MlperfResult) -> AchievedShare:
    how = f"MLPerf {result.round}"
    rate = Reading(result.samples_per_s, "measured", how, result.low, result.high, result.runs)
    work = _product(rate, _benchmark_flop(result.benchmark))
    entry = sixteen_bit(result.accelerator)
    if entry and entry.peak_op_per_s:
        peak = estimated(entry.peak_op_per_s, f"datasheet peak, {entry.precision}")
    else:
        peak = missing(f"{result.accelerator} has no known dense 16-bit peak")
    no_power = missing("the MLPerf table has no power of single devices")
    return AchievedShare(
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
        power_w=no_power,
        flop_per_joule=no_power,
    )


def _benchmark_flop(benchmark: str) -> Reading:
    how = "counted"
    if benchmark != "resnet":
        how = "counted within 2 % at a mean of 256 tokens per sequence"
    text = f"operations of MLPerf {benchmark}, {how}"
    return Reading(BENCHMARK_FLOP[benchmark], "estimated", text)


def _flop_per_joule(run: Run, flop: Reading) -> Reading:
    """Return the counted operations per joule, of the GPUs or of the widest measured boundary."""
    energy_j, boundary = derive(run, "gpu_energy_per_sample_j"), "gpu"
    if energy_j.status != "measured":
        total, boundary = energy(run)
        energy_j = per_sample(run, total)
    if energy_j.value is not None and energy_j.status != "measured":
        return missing("no energy was measured")
    how = f"{boundary} energy" if energy_j.value else energy_j.how
    return _ratio(flop, Reading(energy_j.value, energy_j.status, how))


def _product(rate: Reading, per_sample: Reading) -> Reading:
    if rate.value is None:
        return rate
    if per_sample.value is None:
        return per_sample
    low, high = _ends_times(rate, per_sample.value)
    value = rate.value * per_sample.value
    return Reading(value, "estimated", per_sample.how, low, high, rate.n)


def _ratio(above: Reading, below: Reading) -> Reading:
    if above.value is None:
        return missing(above.how)
    if not below.value:
        return missing(below.how or "unknown")
    low, high = _ends_times(above, 1 / below.value)
    how = f"{above.how}; {below.how}".strip("; ")
    return Reading(above.value / below.value, "estimated", how, low, high, above.n)


def _scaled(reading: Reading, factor: float) -> Reading:
    if reading.value is None:
        return reading
    low, high = _ends_times(reading, factor)
    return Reading(reading.value * factor, reading.status, reading.how, low, high, reading.n)


def _ends_times(reading: Reading, factor: float) -> tuple[float | None, float | None]:
    """Return the ends of a reading's interval times a factor."""
    if reading.low is None or reading.high is None:
        return None, None
    return reading.low * factor, reading.high * factor
