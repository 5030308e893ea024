"""Error of energy from simulated devices of known energy, by device, load and window length.

Loads switch between 60 W and 400 W as a square wave, as a ramp or at random moments, about every
6 s or every 1.4 s, with random phases and periods that fit no sampling rate. Devices report energy
as GPUs do: a counter or a power reading, updated every 20 ms or 100 ms. A power reading is the mean
of the last 10, 25 or 100 ms, or of 1 s as for plain calls on recent GPUs (update periods and means
by model: arXiv 2312.02741). Each window has its own load, device and sampler at 10 Hz, in simulated
time. The sampler knows the edges of the window or not, as for the steps of a trial.
Sampling and reduction are wattlaw's own code.

``bound`` is the error of an observer that gets every power reading. If a reading is the mean over
less than the update period, the time of a change in the rest of the period is unknown.

Run with `make bench NAME=replay_accuracy`; `python bench/replay_accuracy.py FILE.svg` also plots.
"""

from __future__ import annotations

import itertools
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
    "counter, 20 ms, edges unknown": (Device(0.02, 0.01, True), False),
    "counter, 100 ms, edges unknown": (Device(0.1, 0.1, True), False),
    "power, 20 ms, mean of 10 ms": (Device(0.02, 0.01), True),
    "power, 100 ms, mean of 100 ms": (Device(0.1, 0.1), True),
    "power, 100 ms, mean of 25 ms": (Device(0.1, 0.025), True),
    "power, 100 ms, mean of 1 s": (Device(0.1, 1.0), True),
}

SEED_NAMES = {
    "counter, 20 ms, edges unknown": "counter, 20 ms, edges not told",
    "counter, 100 ms, edges unknown": "counter, 100 ms, edges not told",
}
"""Names in random seeds that differ from those shown, so that published results stay the same."""


def main(figures: Sequence[str] = ()) -> dict[str, Any]:
    """Return the errors of windows of at least 10 s by device and load, and all by length."""
    found = errors()
    lengths = by_length(found)
    if figures:
        draw(lengths, figures)
    by_device, by_load = {}, {}
    for name in DEVICES:
        by_device[name] = at_least(found, 10.0, name)
        for kind in LOADS:
            by_load[f"{name}, {kind}"] = at_least(found, 10.0, name, kind)
    return {
        "what": "relative error of energy on replayed devices, windows of at least 10 s",
        **by_device,
        "by_load": by_load,
        "by_length_s": [row for row in lengths if row["load"] == "all"],
    }


def errors() -> list[dict[str, Any]]:
    """Return one row for each window: device, load, pace, length, relative error and bound.

    The error is None if the energy is missing.
    """
    found = []
    for name, kind, pace, length in itertools.product(DEVICES, LOADS, PACES_S, LENGTHS_S):
        found += [window(name, kind, pace, length, n) for n in range(windows_of(length))]
    return found


def windows_of(length_s: float) -> int:
    """Return the number of windows of one length."""
    if length_s < 10:
        return 24
    if length_s < 60:
        return 16
    return 10 if length_s < 100 else 6


def window(name: str, kind: str, pace_s: float, length_s: float, number: int) -> dict[str, Any]:
    """Return the result of one window."""
    device, knows_edges = DEVICES[name]
    seed_name = SEED_NAMES.get(name, name)
    chance = random.Random(f"{seed_name} {kind} {pace_s} {length_s} {number}")
    until = BEFORE_S + length_s + AFTER_S
    knots = load(kind, pace_s, until, chance)
    start = chance.uniform(BEFORE_S - 1, BEFORE_S)
    end = start + length_s
    truth = energy(knots, end) - energy(knots, start)
    shown = rows(knots, device, until, chance)
    recorded = measured(shown, device, start, end, chance, knows_edges=knows_edges)
    (found,) = device_energies(recorded)
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
    """Return a random error that no reader of power can avoid, J; 0 for a counter."""
    gap = 0.0 if device.has_counter else max(0.0, device.update_s - device.mean_s)
    error = 0.0
    for (_, before_w, _), (t, after_w, _) in zip(knots[1::2], knots[2::2], strict=False):
        if start < t < end:
            error += (after_w - before_w) * gap * chance.uniform(-0.5, 0.5)
    return error


def at_least(
    found: list[dict[str, Any]], length_s: float, name: str, kind: str = "all"
) -> dict[str, Any]:
    """Return the spread of the errors of windows of at least some length, and those over target."""
    these = [row for row in of_load(found, name, kind) if row["length_s"] >= length_s]
    target = TARGETS[name.split(",")[0]] / 100
    over_target = sum(row["error"] is None or row["error"] > target for row in these)
    return {**spread(these), "over_target": over_target}


def of_load(found: list[dict[str, Any]], name: str, kind: str) -> list[dict[str, Any]]:
    """Return the rows of one device and one load, or all loads for "all"."""
    return [row for row in found if row["device"] == name and kind in ("all", row["load"])]


def by_length(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the spread of errors by device, load (also "all") and window length."""
    rows = []
    for name, kind in itertools.product(DEVICES, ("all", *LOADS)):
        of_kind = of_load(found, name, kind)
        for length in LENGTHS_S:
            these = [row for row in of_kind if row["length_s"] == length]
            rows.append({"device": name, "load": kind, "length_s": length, **spread(these)})
    return rows


def spread(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return median, 95th percentile and maximum of the errors, and the number missing."""
    known = sorted(row["error"] for row in found if row["error"] is not None)
    bounds = sorted(row["bound"] for row in found)
    median = p95 = largest = None
    if known:
        median = round(statistics.median(known), 6)
        p95 = round(known[int(0.95 * (len(known) - 1))], 6)
        largest = round(known[-1], 6)
    return {
        "median": median,
        "p95": p95,
        "largest": largest,
        "bound_p95": round(bounds[int(0.95 * (len(bounds) - 1))], 6),
        "missing": len(found) - len(known),
        "n": len(found),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
