"""Energy of replayed devices against their known truth, by counter and by sampling at 10 Hz.

The loads are square waves, ramps and random bursts between 60 W and 400 W, each slow (a change every 6 s or
so) and fast (every second or so: a reading every 0.1 s cannot know when in between power jumped). The device
renews its counter and its power reading every 20 ms or 100 ms; power is the sensor's newest value, or its mean
over 1 s as recent GPUs give it to plain calls. Windows of 0.5 s to 100 s begin at random moments. Prints the
median, 95th percentile and largest relative error for windows of at least 10 s, and by load and window length.
"""

from __future__ import annotations

import bisect
import csv
import math
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wattlaw.devices.meter import Scope
from wattlaw.devices.meters.replay import Replay
from wattlaw.measuring.series import counter_total, trapezoid
from wattlaw.measuring.telemetry import Column

HZ = 10.0
LENGTHS_S = (0.5, 1, 2, 5, 10, 20, 50, 100)
WINDOWS = 60
TRACE_S = 130.0
IDLE_W, FULL_W = 60.0, 400.0

Load = Callable[[float], float]


def main() -> dict[str, Any]:
    chance = random.Random(7)
    errors: dict[str, dict[float, list[float]]] = {
        how: {n: [] for n in LENGTHS_S} for how in ("counter", "sampled", "sampled_mean_1s")
    }
    by_load: dict[str, list[float]] = {}
    for name, knots in loads(chance).items():
        for update_s in (0.02, 0.1):
            for averaged_s, how in ((0.0, "sampled"), (1.0, "sampled_mean_1s")):
                columns = play(knots, update_s, averaged_s, chance)
                for length in LENGTHS_S:
                    for _ in range(WINDOWS):
                        start = chance.uniform(5, TRACE_S - length - 5)
                        truth = energy(knots, start + length) - energy(knots, start)
                        found = trapezoid(columns["power_w"], start, start + length).value
                        errors[how][length].append(off(found, truth))
                        if length >= 10:
                            by_load.setdefault(f"{name} {how}", []).append(errors[how][length][-1])
                        if how == "sampled":
                            counted = counter_total(columns["energy_j"], start, start + length).value
                            errors["counter"][length].append(off(counted, truth))
                            if length >= 10:
                                by_load.setdefault(f"{name} counter", []).append(errors["counter"][length][-1])
    return {
        "what": "relative error of energy on replayed devices, windows of at least 10 s",
        **{how: spread([e for n, es in by.items() if n >= 10 for e in es]) for how, by in errors.items()},
        "by_load": {name: spread(es) for name, es in by_load.items()},
        "by_length_s": {how: {str(n): spread(es) for n, es in by.items()} for how, by in errors.items()},
    }


def spread(errors: list[float]) -> dict[str, float]:
    ordered = sorted(errors)
    return {
        "median": round(statistics.median(ordered), 6),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 6),
        "largest": round(ordered[-1], 6),
        "n": len(ordered),
    }


def off(found: float | None, truth: float) -> float:
    return math.inf if found is None else abs(found / truth - 1)


def loads(chance: random.Random) -> dict[str, list[tuple[float, float, float]]]:
    """Return loads as knots (s, W just after, J so far); power runs straight between knots."""
    found = {}
    for pace, every in (("slow", 6.15), ("fast", 1.37)):
        on_off = [(t, FULL_W if i % 2 else IDLE_W) for i, t in enumerate(spaced(every))]
        bursts, t = [], 0.0
        while t < TRACE_S:
            bursts.append((t, FULL_W if len(bursts) % 2 else IDLE_W))
            t += chance.expovariate(1 / every) + 0.05
        found[f"square {pace}"] = [(t, w, w) for t, w in on_off]
        found[f"bursts {pace}"] = [(t, w, w) for t, w in bursts]
        found[f"ramp {pace}"] = [(t, IDLE_W if i % 2 else FULL_W, FULL_W if i % 2 else IDLE_W)
                                 for i, t in enumerate(spaced(every))]  # fmt: skip
    return {name: with_energy(points) for name, points in found.items()}


def spaced(step: float) -> list[float]:
    return [i * step for i in range(int(TRACE_S / step) + 1)]


def with_energy(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Turn (s, W at its start, W at its end) of each stretch into knots."""
    knots, joules = [], 0.0
    for (t, first, last), after in zip(points, [*points[1:], (TRACE_S + 10, 0.0, 0.0)], strict=True):
        knots.append((t, first, joules))
        knots.append((after[0], last, joules + (first + last) / 2 * (after[0] - t)))
        joules = knots[-1][2]
    return knots


def energy(knots: list[tuple[float, float, float]], at: float) -> float:
    i = min(bisect.bisect_right(knots, (at, math.inf, math.inf)), len(knots) - 1)
    (t0, w0, j0), (t1, w1, _) = knots[i - 1], knots[i]
    w = w0 + (w1 - w0) * (at - t0) / (t1 - t0) if t1 > t0 else w0
    return j0 + (w0 + w) / 2 * (at - t0)


def power(knots: list[tuple[float, float, float]], at: float) -> float:
    return (energy(knots, at) - energy(knots, at - 1e-4)) / 1e-4


def play(
    knots: list[tuple[float, float, float]], update_s: float, averaged_s: float, chance: random.Random
) -> dict[str, Column]:
    """Write the device as a trace, have the meter "replay" play it, and read it at 10 Hz with some jitter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time_s", "device", "power_w", "energy_j"])
            for i in range(int(TRACE_S / update_s)):
                at = i * update_s
                span = min(averaged_s, at)
                watts = (energy(knots, at) - energy(knots, at - span)) / span if span else power(knots, max(at, 1e-3))
                writer.writerow([at, "gpu:0", watts, energy(knots, at)])
        now = [0.0]
        meter = Replay(Scope(root_pid=1, replay=str(path)), clock=lambda: now[0])
        meter.probe()
        columns = {"power_w": Column(), "energy_j": Column()}
        for turn in range(int(TRACE_S * HZ) - 2):
            now[0] = turn / HZ + chance.uniform(0, 0.003)
            for sample in meter.read():
                for name, column in columns.items():
                    column.times.append(sample.time_s)
                    column.values.append(getattr(sample, name))
    return columns


if __name__ == "__main__":
    import json

    print(json.dumps(main(), indent=1))
