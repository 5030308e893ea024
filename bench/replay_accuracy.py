"""Energy of replayed devices against their known truth, by counter and by sampling at 10 Hz, and against window length.

Loads turn between 60 W and 400 W as a square wave, as a ramp or at random moments, each slowly (every 6 s or so)
and fast (every 1.4 s or so), from any phase on and with periods that fit no sampling rate. Devices show their
energy as GPUs do: a counter or a power reading renewed every 20 ms or 100 ms, a power reading being the mean of
the last 10, 25 or 100 ms, or of 1 s as plain calls give it on recent GPUs (periods and means by model: arXiv
2312.02741). Each window has a load, a device and a sampler of its own, in simulated time; the sampler is told the
window's edges, or learns of them afterwards, as for the steps of a trial. What the sampler reads and what is made
of it is wattlaw's own code.

``bound`` is the error that a reader of every single reading would have: a mean over less than the update period
does not know when in the rest of it power jumped. `python bench/replay_accuracy.py FILE.svg` draws the figure too.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from _accuracy_figure import TARGETS, draw
from _played import Device, Knots, energy, load, measured, rows
from wattlaw.measuring.reduce.device_use import device_energies

LENGTHS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0)
LOADS = ("square", "ramp", "bursts")
PACES_S = (6.15, 1.37)
BEFORE_S, AFTER_S = 17.0, 4.0

DEVICES = {
    "counter, 20 ms": (Device(0.02, 0.01, True), True),
    "counter, 100 ms": (Device(0.1, 0.1, True), True),
    "counter, 20 ms, edges not told": (Device(0.02, 0.01, True), False),
    "counter, 100 ms, edges not told": (Device(0.1, 0.1, True), False),
    "power, 20 ms, mean of 10 ms": (Device(0.02, 0.01), True),
    "power, 100 ms, mean of 100 ms": (Device(0.1, 0.1), True),
    "power, 100 ms, mean of 25 ms": (Device(0.1, 0.025), True),
    "power, 100 ms, mean of 1 s": (Device(0.1, 1.0), True),
}


def main(figures: Sequence[str] = ()) -> dict[str, Any]:
    found = errors()
    if figures:
        draw(by_length(found), figures)
    return {
        "what": "relative error of energy on replayed devices, windows of at least 10 s",
        **{name: at_least(found, 10.0, name) for name in DEVICES},
        "by_load": {
            f"{name}, {kind}": at_least(found, 10.0, name, kind)
            for name in DEVICES
            for kind in LOADS
        },
        "by_length_s": [one for one in by_length(found) if one["load"] == "all"],
    }


def errors() -> list[dict[str, Any]]:
    """Return one row a window: device, load, pace, length, relative error (None where energy is missing), bound."""
    return [
        window(name, kind, pace, length, number)
        for name in DEVICES
        for kind in LOADS
        for pace in PACES_S
        for length in LENGTHS_S
        for number in range(24 if length < 10 else 16 if length < 60 else 10 if length < 100 else 6)
    ]


def window(name: str, kind: str, pace_s: float, length_s: float, number: int) -> dict[str, Any]:
    device, knows_edges = DEVICES[name]
    chance = random.Random(f"{name} {kind} {pace_s} {length_s} {number}")
    until = BEFORE_S + length_s + AFTER_S
    knots = load(kind, pace_s, until, chance)
    start = chance.uniform(BEFORE_S - 1, BEFORE_S)
    end = start + length_s
    truth = energy(knots, end) - energy(knots, start)
    (found,) = device_energies(
        measured(
            rows(knots, device, until, chance), device, start, end, chance, knows_edges=knows_edges
        )
    )
    value = found.reading.value
    return {
        "device": name,
        "load": kind,
        "pace_s": pace_s,
        "length_s": length_s,
        "error": None if value is None else abs(value / truth - 1),
        "bound": abs(unseen(knots, device, start, end, chance)) / truth,
    }


def unseen(knots: Knots, device: Device, start: float, end: float, chance: random.Random) -> float:
    """Return a random error, J, that no reader of the device's power can avoid; 0 for a counter."""
    gap = 0.0 if device.has_counter else max(0.0, device.update_s - device.mean_s)
    jumps = [after[1] - before[1] for before, after in zip(knots[1::2], knots[2::2], strict=False)
             if start < after[0] < end]  # fmt: skip
    return sum(jump * gap * chance.uniform(-0.5, 0.5) for jump in jumps)


def at_least(
    found: list[dict[str, Any]], length_s: float, name: str, kind: str = "all"
) -> dict[str, Any]:
    these = [
        r
        for r in found
        if r["device"] == name and r["length_s"] >= length_s and kind in ("all", r["load"])
    ]
    target = TARGETS[name.split(",")[0]] / 100
    return {
        **spread(these),
        "over_target": sum(r["error"] is None or r["error"] > target for r in these),
    }


def by_length(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the spread of errors by device, load ("all" for all of them) and window length."""
    return [
        {"device": name, "load": kind, "length_s": length,
         **spread([r for r in found if (r["device"], r["length_s"]) == (name, length) and kind in ("all", r["load"])])}
        for name in DEVICES
        for kind in ("all", *LOADS)
        for length in LENGTHS_S
    ]  # fmt: skip


def spread(found: list[dict[str, Any]]) -> dict[str, Any]:
    known = sorted(r["error"] for r in found if r["error"] is not None)
    bounds = sorted(r["bound"] for r in found)
    return {
        "median": round(statistics.median(known), 6) if known else None,
        "p95": round(known[int(0.95 * (len(known) - 1))], 6) if known else None,
        "largest": round(known[-1], 6) if known else None,
        "bound_p95": round(bounds[int(0.95 * (len(bounds) - 1))], 6),
        "missing": len(found) - len(known),
        "n": len(found),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
