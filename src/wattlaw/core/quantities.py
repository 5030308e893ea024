"""Every quantity of a run: title, unit, direction, and how it is derived if it is not recorded.

Nothing derived is stored, so a corrected formula corrects all old runs. A new quantity is one entry
of the table at the end of this file. A workload declares the metrics of its evaluation itself:
METRICS in its file.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from msgspec import structs

from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.plugins import WORKLOADS, declared
from wattlaw.core.reading import Reading, Status, missing
from wattlaw.core.run import NOT_RECORDED, Run
from wattlaw.core.units import convert, parse_value, show

TIME = "time_per_sample_s"
DEVICE_TIME = "device_time_per_sample_s"
ENERGY = "energy_per_sample_j"
GPU_ENERGY = "gpu_energy_per_sample_j"
"""The quantities by which settings are compared."""

LESS, MORE = -1, 1
"""Directions: whether a smaller or a larger value is better."""

VALID = "valid_"
"""Prefix of the metrics that the last evaluation on the validation set found."""

Basis = Literal["sample", "step", "total", ""]
Rule = Callable[[Run], Reading]


class Quantity(NamedTuple):
    """A named quantity.

    title       shown in tables and figures
    unit        SI unit, as in units.py; "" for a pure number
    better      LESS, MORE, or 0 if neither is better
    heading     short title for a column of a table, without the unit; "" derives it from the name
    basis       what it counts: a sample, a step, or a total that grows with the length of the run
    per_sample  of a total: the quantity that counts the same per sample; settings are compared by
                it
    rule        derives the quantity from a run; None if it is only recorded
    """

    title: str
    unit: str
    better: int = 0
    heading: str = ""
    basis: Basis = ""
    per_sample: str = ""
    rule: Rule | None = None


def quantity(name: str) -> Quantity:
    """Return a quantity by its name. Raises UnknownNameError with the nearest names."""
    known = find_quantity(name)
    if known is None:
        raise UnknownNameError("quantity", name, all_quantities())
    return known


def find_quantity(name: str) -> Quantity | None:
    """Return a quantity by its name; None for an unknown one, as of a user's own workload."""
    if name in _TABLE:
        return _TABLE[name]
    return _metrics().get(name) if name.startswith(VALID) else None


@functools.cache
def all_quantities() -> dict[str, Quantity]:
    """Return all quantities by name, the metrics of every installed workload included."""
    return {**_TABLE, **_metrics()}


def derive(run: Run, name: str) -> Reading:
    """Return a quantity of a run, recorded or derived; a missing one says why.

    Raises UnknownNameError if ``name`` is not a quantity.
    """
    if name in run.quantities:
        return run.quantities[name]
    rule = quantity(name).rule
    return rule(run) if rule else NOT_RECORDED


def energy(run: Run) -> tuple[Reading, str]:
    """Return the energy within the widest boundary that was *measured*, and that boundary's name.

    A node contains its other boundaries; GPUs, CPU packages and memory are disjoint. Without a
    meter of the node, the measured ones of those are added. If nothing was measured, the sum of the
    estimates is returned, marked as estimated. If there is neither, the reason is that of the
    boundary of the devices that trained.
    """
    node = run.reading("node_energy_j")
    if node.status == "measured":
        return node, "node"
    parts = {boundary: run.reading(f"{boundary}_energy_j") for boundary in ("gpu", "cpu", "dram")}
    statuses: tuple[Status, ...] = ("measured", "estimated")
    for status in statuses:
        values = {
            b: r.value for b, r in parts.items() if r.status == status and r.value is not None
        }
        if values:
            hows = [parts[boundary].how for boundary in values]
            how = "; ".join(dict.fromkeys(filter(None, hows)))
            return Reading(sum(values.values()), status, how), "+".join(values)
    return missing(_why_no_energy(run, {**parts, "node": node})), ""


def per_sample(run: Run, total: Reading) -> Reading:
    """Return a total of the window divided by its number of samples, with the total's status."""
    samples = run.reading("samples").value
    if total.value is None:
        return total
    if not samples or not math.isfinite(samples):
        return missing("the number of samples was not recorded")
    return Reading(total.value / samples, total.status, total.how)


class Limit(NamedTuple):
    """The largest value of a quantity, or the smallest if more is better, in its unit."""

    quantity: str
    value: float

    def __str__(self) -> str:
        known = quantity(self.quantity)
        sign = "≥" if known.better == MORE else "≤"
        return f"{self.quantity} {sign} {show(self.value, known.unit)}"

    def per_sample(self, samples: float) -> Limit:
        """Return the same limit per sample for a training of ``samples`` samples; per-sample limits
        stay.

        Raises UsageError for a quantity that is neither a total nor per sample.
        """
        known = quantity(self.quantity)
        if known.basis == "sample":
            return self
        if not known.per_sample:
            raise UsageError(
                f"a limit on {self.quantity} cannot be turned into one per sample; "
                f"valid: {', '.join(comparable_quantities())}"
            )
        unit = quantity(known.per_sample).unit
        return Limit(known.per_sample, convert(self.value, known.unit, unit) / samples)


def parse_limit(text: str) -> Limit:
    """Read a limit such as "gpu_energy_j=3 kWh" or "step_time_s=20 ms".

    A value without a unit is in the quantity's own. Raises UnknownNameError for the name, and
    UsageError if the value is not a positive number or its unit is of another dimension.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        raise UsageError(f"{text!r} is not a limit; write NAME=VALUE, such as gpu_energy_j=3 kWh")
    found = parse_value(value, quantity(name).unit, what=name)
    if not (math.isfinite(found) and found > 0):
        raise UsageError(f"the limit on {name} is {value.strip()}; it must be a positive number")
    return Limit(name, found)


def comparable_quantities() -> list[str]:
    """Return the quantities on which a limit can be set: totals, and those per sample."""
    return [name for name, q in _TABLE.items() if q.per_sample or q.basis == "sample"]


@functools.cache
def _metrics() -> dict[str, Quantity]:
    found = {}
    for name, entry in declared(WORKLOADS, "METRICS").items():
        better = MORE if entry["better"] == "more" else LESS
        title = f"{entry['title']} on the validation set"
        heading = f"validation {entry['heading']}" if "heading" in entry else ""
        found[VALID + name] = Quantity(title, entry.get("unit", ""), better, heading)
    return found


def _why_no_energy(run: Run, parts: dict[str, Reading]) -> str:
    first = ("cpu", "gpu") if run.machine.device_type == "cpu" else ("gpu", "cpu")
    for boundary in (*first, "node", "dram"):
        if parts[boundary] != NOT_RECORDED and parts[boundary].how:
            return parts[boundary].how
    return "no meter gave an energy"


def _widest_energy(run: Run) -> Reading:
    """Return the run's energy; its ``how`` begins with the boundary."""
    found, boundary = energy(run)
    return structs.replace(found, how=": ".join(filter(None, (boundary, found.how))))


def _time_per_sample(run: Run) -> Reading:
    rate = run.reading("samples_per_s")
    if not rate.value:
        return missing(rate.how or "no rate was recorded")
    if not math.isfinite(rate.value):
        return missing("the recorded rate is not finite")
    fastest, slowest = _inverse(rate.high), _inverse(rate.low)
    return Reading(1 / rate.value, rate.status, rate.how, fastest, slowest, rate.n)


def _inverse(value: float | None) -> float | None:
    return 1 / value if value and math.isfinite(value) else None


def _scaled(reading: Reading, factor: float) -> Reading:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    ends = times(reading.low), times(reading.high)
    return Reading(times(reading.value), reading.status, reading.how, *ends, reading.n)


def _device_time_per_sample(run: Run) -> Reading:
    return _scaled(_time_per_sample(run), run.setting.devices)


def _device_hours(run: Run) -> Reading:
    return _scaled(run.reading("elapsed_s"), run.setting.devices / 3600)


def _energy_per_sample(run: Run) -> Reading:
    return per_sample(run, _widest_energy(run))


def _energy_delay(run: Run) -> Reading:
    joules, seconds = _energy_per_sample(run), _time_per_sample(run)
    if joules.value is None:
        return joules
    if seconds.value is None:
        return seconds
    return Reading(joules.value * seconds.value, joules.status, joules.how)


def _per_sample_of(total: str) -> Rule:
    return lambda run: per_sample(run, run.reading(total))


def _total(title: str, unit: str, per_sample: str = "", rule: Rule | None = None) -> Quantity:
    return Quantity(title, unit, LESS, basis="total", per_sample=per_sample, rule=rule)


def _by_sample(title: str, unit: str, rule: Rule, heading: str = "") -> Quantity:
    return Quantity(title, unit, LESS, heading, basis="sample", rule=rule)


def _not_derived_here(why: str) -> Rule:
    return lambda run: missing(why)


_NEEDS_PRICES = "a cost needs prices; give them to `wattlaw advise` or `wattlaw predict`"
_NEEDS_COUNTS = "not derived here; `wattlaw accelerators measured DIR` computes it"

_TABLE: dict[str, Quantity] = {
    # time and rate, over the steps after warm-up
    "step_time_s": Quantity("time per step", "s", LESS, "step", basis="step"),
    "samples_per_s": Quantity("samples per second", "1/s", MORE, "samples/s"),
    "elapsed_s": _total("time of the measured window", "s", TIME),
    "trial_s": Quantity("time of the whole trial, start-up included", "s", LESS),
    "setup_s": Quantity("time before the first step", "s", LESS),
    "warmup_s": Quantity("time of the warm-up steps", "s", LESS),
    "steps": Quantity("steps measured", ""),
    "samples": Quantity("samples of all ranks in the window", ""),
    "global_batch": Quantity("samples of all ranks in a step", ""),
    # phases of a step, median over steps
    "data_s": Quantity("waiting for data", "s", LESS),
    "forward_s": Quantity("forward", "s", LESS),
    "backward_s": Quantity("backward", "s", LESS),
    "communication_s": Quantity("exposed communication", "s", LESS),
    "optimiser_s": Quantity("optimiser", "s", LESS),
    "rest_s": Quantity("step outside of its phases", "s", LESS),
    # energy within one boundary each
    "gpu_energy_j": _total("energy of the GPUs", "J", GPU_ENERGY),
    "cpu_energy_j": _total("energy of the CPU packages", "J", "cpu_energy_per_sample_j"),
    "dram_energy_j": _total("energy of the memory", "J"),
    "node_energy_j": _total("energy of the nodes", "J", "node_energy_per_sample_j"),
    # power and utilisation of the devices
    "gpu_mean_power_w": Quantity("mean power of all GPUs", "W", LESS),
    "gpu_max_power_w": Quantity("highest power of all GPUs", "W", LESS),
    "cpu_mean_power_w": Quantity("mean power of the CPU packages", "W", LESS),
    "gpu_utilisation": Quantity("GPU utilisation", ""),
    "cpu_utilisation": Quantity("CPU utilisation", ""),
    "cpu_time_s": Quantity("CPU time of the job's processes", "s", LESS),
    "memory_peak_bytes": Quantity("peak memory of the job's processes", "B", LESS),
    "gpu_memory_peak_bytes": Quantity("peak GPU memory", "B", LESS),
    "gpu_temperature_c": Quantity("highest GPU temperature", "°C"),
    "sm_clock_mhz": Quantity("mean SM clock", "MHz"),
    "memory_clock_mhz": Quantity("mean memory clock", "MHz"),
    # bytes moved by the devices
    "pcie_received_bytes": Quantity("bytes that the GPUs received over PCIe", "B"),
    "pcie_sent_bytes": Quantity("bytes that the GPUs sent over PCIe", "B"),
    "nvlink_received_bytes": Quantity("bytes that the GPUs received over NVLink", "B"),
    "nvlink_sent_bytes": Quantity("bytes that the GPUs sent over NVLink", "B"),
    # learning; metrics of an evaluation follow from the workloads
    "loss_first": Quantity("loss of the first step", "", LESS),
    "loss_last": Quantity("loss of the last steps", "", LESS),
    # pauses between steps, in no step's time
    "evaluation_s": Quantity("time of the evaluations", "s", LESS),
    "checkpoint_s": Quantity("time of writing checkpoints", "s", LESS),
    "saving_s": Quantity("time of saving the model", "s", LESS),
    # from the first step until the target was met
    "target_time_s": Quantity("training time to the target", "s", LESS, "time to target"),
    "target_steps": _total("steps to the target", ""),
    "target_samples": _total("samples to the target", ""),
    "target_gpu_energy_j": _total("energy of the GPUs to the target", "J"),
    "target_cpu_energy_j": _total("energy of the CPU packages to the target", "J"),
    "target_dram_energy_j": _total("energy of the memory to the target", "J"),
    "target_node_energy_j": _total("energy of the nodes to the target", "J"),
    # all steps of all attempts of a trial that was resumed
    "all_attempts_time_s": _total("training time of all attempts", "s"),
    "all_attempts_steps": Quantity("steps of all attempts", ""),
    "all_attempts_samples": Quantity("samples of all attempts", ""),
    "all_attempts_gpu_energy_j": _total("energy of the GPUs in all attempts", "J"),
    "all_attempts_cpu_energy_j": _total("energy of the CPU packages in all attempts", "J"),
    "all_attempts_dram_energy_j": _total("energy of the memory in all attempts", "J"),
    "all_attempts_node_energy_j": _total("energy of the nodes in all attempts", "J"),
    # derived
    "energy_j": _total("energy within the widest measured boundary", "J", ENERGY, _widest_energy),
    "device_hours": _total("device-hours of the window", "h", DEVICE_TIME, _device_hours),
    TIME: _by_sample("time per sample", "s", _time_per_sample),
    DEVICE_TIME: _by_sample("device-seconds per sample", "s", _device_time_per_sample),
    ENERGY: _by_sample(
        "energy per sample, widest measured boundary", "J", _energy_per_sample, "energy/sample"
    ),
    GPU_ENERGY: _by_sample("GPU energy per sample", "J", _per_sample_of("gpu_energy_j")),
    "cpu_energy_per_sample_j": _by_sample(
        "CPU energy per sample", "J", _per_sample_of("cpu_energy_j")
    ),
    "node_energy_per_sample_j": _by_sample(
        "node energy per sample", "J", _per_sample_of("node_energy_j")
    ),
    "cost_per_sample": _by_sample("cost per sample", "", _not_derived_here(_NEEDS_PRICES)),
    "energy_delay_product_js": Quantity(
        "energy × time per sample", "J·s", LESS, rule=_energy_delay
    ),
    "achieved_flop_per_s": Quantity(
        # needs the counts of the workload, which are on a higher floor
        "achieved floating-point rate of each device",
        "1/s",
        MORE,
        rule=_not_derived_here(_NEEDS_COUNTS),
    ),
}
