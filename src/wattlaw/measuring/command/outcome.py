"""What a measured command cost, as rows for JSON and CSV and as lines for a person."""

from __future__ import annotations

import csv
import io
import signal
from typing import Any

from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Reading
from wattlaw.core.run import Run
from wattlaw.core.units import show, show_time
from wattlaw.measuring.command.measure_command import Outcome
from wattlaw.measuring.reduce.device_use import MOVED
from wattlaw.measuring.reduce.summary import Summary

_BOUNDARIES = ("gpu", "cpu", "dram", "node")

_FIELDS = (
    "mean_power_w", "max_power_w", "utilisation", "memory_peak_bytes", "temperature_c", "sm_clock_mhz",
    "memory_clock_mhz", "throttled_share", *MOVED,
)  # fmt: skip

_OVERALL = (
    "cpu_time_s", "cpu_utilisation", "memory_peak_bytes", "gpu_utilisation", "gpu_memory_peak_bytes",
    "gpu_energy_j", "cpu_energy_j", "dram_energy_j", "node_energy_j", "gpu_mean_power_w", "gpu_max_power_w",
    "gpu_temperature_c", "sm_clock_mhz", "memory_clock_mhz", *MOVED, "steps", "samples", "samples_per_s", "step_time_s",
)  # fmt: skip

_OF_THE_JOB = {"cpu_time_s": "CPU time", "memory_peak_bytes": "peak memory"}


def items(outcome: Outcome) -> list[dict[str, Any]]:
    """Return a row a device; a boundary that no device measures has one row that says why, or its estimate."""
    rows = []
    for use in _summary(outcome).devices:
        row = {
            "device": use.device,
            "boundary": use.boundary,
            "name": use.name,
            "uuid": use.uuid,
            "host": use.host,
        }
        rows.append({**row, **_energy(use.energy), **{n: getattr(use, n) for n in _FIELDS}})
    for boundary in _BOUNDARIES:
        if any(r["boundary"] == boundary for r in rows):
            continue
        energy = _run(outcome).reading(f"{boundary}_energy_j")
        power = (
            energy.value / outcome.elapsed_s
            if energy.value is not None and outcome.elapsed_s > 0
            else None
        )
        device = "job" if energy.status == "estimated" else ""
        row = {"device": device, "boundary": boundary, "name": "", "uuid": "", "host": ""}
        rows.append({**row, **_energy(energy), **dict.fromkeys(_FIELDS), "mean_power_w": power})
    return rows


def overall(outcome: Outcome) -> dict[str, Any]:
    """Return the totals: elapsed time, exit code, and each quantity with its status."""
    known = {n: _run(outcome).quantities[n] for n in _OVERALL if n in _run(outcome).quantities}
    return {"elapsed_s": outcome.elapsed_s, "exit_code": outcome.exit_code, "quantities": known}


def to_csv(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as CSV; an empty cell was not read."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def lines(outcome: Outcome) -> list[str]:
    """Return what a person wants to read, one line each."""
    found = [f"elapsed      {show_time(outcome.elapsed_s)}"]
    if outcome.exit_code:
        found[0] += f"   ({_ending(outcome.exit_code)})"
    for row in items(outcome):
        found.append(_device_line(row))
    job = [f"{title} {_show(n, _run(outcome).reading(n))}" for n, title in _OF_THE_JOB.items()]
    found.append("job          " + ", ".join(job))
    busy = _run(outcome).reading("cpu_utilisation")
    if busy.value is not None:
        found.append(f"machine      cores busy {busy.value:.0%}, by all that ran on it")
    if _run(outcome).reading("steps").value:
        found.append(
            f"steps        {_show('steps', _run(outcome).reading('steps'))}, "
            f"{_show('step_time_s', _run(outcome).reading('step_time_s'))} a step"
        )
    return found


def _device_line(row: dict[str, Any]) -> str:
    label = row["device"] if row["device"] not in ("", "job") else row["boundary"]
    words = _use_words(row)
    if row["energy_j"] is None:
        known = f", {', '.join(words)}   [{row['reason']}]" if words else f": {row['reason']}"
        return f"{label:<12} energy missing{known}"
    energy = show(row["energy_j"], "J") + ("" if row["status"] == "measured" else " (estimated)")
    why = f"   [{row['reason']}]" if row["status"] == "estimated" else ""
    return f"{label:<12} " + ", ".join([energy, *words]) + why


def _use_words(row: dict[str, Any]) -> list[str]:
    words = []
    for name, unit, prefix in (
        ("mean_power_w", "W", "mean "),
        ("max_power_w", "W", "max "),
        ("memory_peak_bytes", "B", "memory "),
        ("temperature_c", "°C", ""),
        ("sm_clock_mhz", "MHz", "SM "),
    ):
        if row[name] is not None:
            words.append(prefix + show(row[name], unit))
    if row["utilisation"] is not None:
        words.append(f"busy {row['utilisation']:.0%}")
    if row["throttled_share"]:
        words.append(f"throttled {row['throttled_share']:.0%}")
    return words + [
        _way(row, way) for way in ("PCIe", "NVLink") if row[f"{way.lower()}_sent_bytes"] is not None
    ]


def _way(row: dict[str, Any], way: str) -> str:
    sent, received = (row[f"{way.lower()}_{direction}_bytes"] for direction in ("sent", "received"))
    return f"{way} {show(sent, 'B')} out, {show(received, 'B')} in"


def _energy(reading: Reading) -> dict[str, Any]:
    return {"energy_j": reading.value, "status": reading.status, "reason": reading.how}


def _show(name: str, reading: Reading) -> str:
    return (
        f"missing: {reading.how}"
        if reading.value is None
        else show(reading.value, quantity(name).unit)
    )


def _run(outcome: Outcome) -> Run:
    assert outcome.run is not None, "another node of the step makes the record"
    return outcome.run


def _summary(outcome: Outcome) -> Summary:
    assert outcome.summary is not None, "another node of the step makes the record"
    return outcome.summary


def _ending(code: int) -> str:
    """Return how a command ended: its exit code, or the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
