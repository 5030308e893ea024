"""Quantities computed from a run's record whenever they are asked for.

Because nothing derived is stored, a corrected figure corrects all old runs.
"""

from __future__ import annotations

from collections.abc import Callable

from wattlaw.core.reading import Reading, Status, missing
from wattlaw.core.run import NOT_RECORDED, Run
from wattlaw.core.units import quantity

BOUNDARIES = ("node", "gpu", "cpu", "dram")
"""Boundaries of an energy, widest first. A node holds the others; GPU, CPU packages and memory are disjoint."""


def derive(run: Run, name: str) -> Reading:
    """Return a quantity of a run, recorded or derived; missing says why.

    Raises UnknownNameError where ``name`` is no quantity.
    """
    if name in run.quantities:
        return run.quantities[name]
    quantity(name)
    rule = _RULES.get(name)
    return rule(run) if rule else NOT_RECORDED


def energy(run: Run) -> tuple[Reading, str]:
    """Return the energy within the widest boundary that was *measured*, and that boundary's name.

    Without a node meter, GPUs, CPU packages and memory are added as far as they were measured. Where
    nothing was measured the estimate is returned, and called one.
    """
    node = run.reading("node_energy_j")
    if node.status == "measured":
        return node, "node"
    parts = {b: run.reading(f"{b}_energy_j") for b in ("gpu", "cpu", "dram")}
    for status in ("measured", "estimated"):
        known = {b: r for b, r in parts.items() if r.status == status and r.value is not None}
        if known:
            total = sum(r.value for r in known.values() if r.value is not None)
            how = "; ".join(dict.fromkeys(r.how for r in known.values()))
            return Reading(total, _as_status(status), how), "+".join(known)
    return missing(next((r.how for r in parts.values() if r.how), "no meter gave an energy")), ""


def per_sample(run: Run, total: Reading) -> Reading:
    """Return a total of the window divided by its samples, with the total's status."""
    samples = run.reading("samples").value
    if total.value is None:
        return total
    if not samples:
        return missing("the number of samples was not recorded")
    return Reading(total.value / samples, total.status, total.how)


def _as_status(status: str) -> Status:
    return "measured" if status == "measured" else "estimated"


def _inverse_rate(run: Run) -> Reading:
    rate = run.reading("samples_per_s")
    if not rate.value:
        return missing(rate.how or "no rate was recorded")
    return Reading(
        1 / rate.value,
        rate.status,
        rate.how,
        1 / rate.high if rate.high else None,
        1 / rate.low if rate.low else None,
        rate.n,
    )


def _scaled(reading: Reading, factor: float) -> Reading:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Reading(
        times(reading.value), reading.status, reading.how, times(reading.low), times(reading.high), reading.n
    )


def _energy_delay(run: Run) -> Reading:
    joules, seconds = per_sample(run, energy(run)[0]), _inverse_rate(run)
    if joules.value is None or seconds.value is None:
        return joules if joules.value is None else seconds
    return Reading(joules.value * seconds.value, joules.status, joules.how)


_RULES: dict[str, Callable[[Run], Reading]] = {
    "time_per_sample_s": _inverse_rate,
    "device_time_per_sample_s": lambda run: _scaled(_inverse_rate(run), run.setting.devices),
    "device_hours": lambda run: _scaled(run.reading("elapsed_s"), run.setting.devices / 3600),
    "energy_j": lambda run: energy(run)[0],
    "energy_per_sample_j": lambda run: per_sample(run, energy(run)[0]),
    "gpu_energy_per_sample_j": lambda run: per_sample(run, run.reading("gpu_energy_j")),
    "cpu_energy_per_sample_j": lambda run: per_sample(run, run.reading("cpu_energy_j")),
    "node_energy_per_sample_j": lambda run: per_sample(run, run.reading("node_energy_j")),
    "energy_delay_product_js": _energy_delay,
    # needs the counts of the workload, which lie on a higher floor: wattlaw.accelerators.measured
    "achieved_flop_per_s": lambda run: missing("not derived here; `wattlaw accelerators measured DIR` computes it"),
}
