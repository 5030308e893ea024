"""Quantities computed from a run's record whenever they are asked for.

Because nothing derived is stored, a corrected figure corrects all old runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import structs

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
    nothing was measured the estimate is returned, and called one; where there is none, the reason is that of the
    boundary of the devices that trained.
    """
    node = run.reading("node_energy_j")
    if node.status == "measured":
        return node, "node"
    parts = {b: run.reading(f"{b}_energy_j") for b in ("gpu", "cpu", "dram")}
    for status in ("measured", "estimated"):
        known = {b: r for b, r in parts.items() if r.status == status and r.value is not None}
        if known:
            total = sum(r.value for r in known.values() if r.value is not None)
            how = "; ".join(dict.fromkeys(r.how for r in known.values() if r.how))
            return Reading(total, _as_status(status), how), "+".join(known)
    return missing(_why_no_energy(run, {**parts, "node": node})), ""


def per_sample(run: Run, total: Reading) -> Reading:
    """Return a total of the window divided by its samples, with the total's status."""
    samples = run.reading("samples").value
    if total.value is None:
        return total
    if not samples or not math.isfinite(samples):
        return missing("the number of samples was not recorded")
    return Reading(total.value / samples, total.status, total.how)


def _why_no_energy(run: Run, parts: dict[str, Reading]) -> str:
    first = ("cpu", "gpu") if run.machine.device_type == "cpu" else ("gpu", "cpu")
    told = [parts[b] for b in (*first, "node", "dram") if parts[b] != NOT_RECORDED and parts[b].how]
    return told[0].how if told else "no meter gave an energy"


def _within(run: Run) -> Reading:
    """Return the run's energy, whose ``how`` begins with its boundary."""
    found, boundary = energy(run)
    return structs.replace(found, how=": ".join(filter(None, (boundary, found.how))))


def _as_status(status: str) -> Status:
    return "measured" if status == "measured" else "estimated"


def _inverse_rate(run: Run) -> Reading:
    rate = run.reading("samples_per_s")
    if not rate.value:
        return missing(rate.how or "no rate was recorded")
    if not math.isfinite(rate.value):
        return missing("the recorded rate is not finite")
    slowest, fastest = (
        1 / end if end and math.isfinite(end) else None for end in (rate.low, rate.high)
    )
    return Reading(1 / rate.value, rate.status, rate.how, fastest, slowest, rate.n)


def _scaled(reading: Reading, factor: float) -> Reading:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Reading(
        times(reading.value),
        reading.status,
        reading.how,
        times(reading.low),
        times(reading.high),
        reading.n,
    )


def _energy_delay(run: Run) -> Reading:
    joules, seconds = per_sample(run, _within(run)), _inverse_rate(run)
    if joules.value is None or seconds.value is None:
        return joules if joules.value is None else seconds
    return Reading(joules.value * seconds.value, joules.status, joules.how)


_RULES: dict[str, Callable[[Run], Reading]] = {
    "time_per_sample_s": _inverse_rate,
    "device_time_per_sample_s": lambda run: _scaled(_inverse_rate(run), run.setting.devices),
    "device_hours": lambda run: _scaled(run.reading("elapsed_s"), run.setting.devices / 3600),
    "energy_j": _within,
    "energy_per_sample_j": lambda run: per_sample(run, _within(run)),
    "gpu_energy_per_sample_j": lambda run: per_sample(run, run.reading("gpu_energy_j")),
    "cpu_energy_per_sample_j": lambda run: per_sample(run, run.reading("cpu_energy_j")),
    "node_energy_per_sample_j": lambda run: per_sample(run, run.reading("node_energy_j")),
    "energy_delay_product_js": _energy_delay,
    "cost_per_sample": lambda run: missing(
        "a cost needs prices; `wattlaw advise` and `predict` take them"
    ),
    # needs the counts of the workload, which lie on a higher floor: wattlaw.accelerators.catalogue.achieved
    "achieved_flop_per_s": lambda run: missing(
        "not derived here; `wattlaw accelerators measured DIR` computes it"
    ),
}
