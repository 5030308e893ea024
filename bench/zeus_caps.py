"""Zeus's 113 measured cap curves: hidden caps predicted from three probes, and advice judged by its regret.

The figures to reach: time 1.8 %, energy 2.3 % mean absolute error; regret at 5 % slowdown 1 point, the bound
missed by more than 1.5 points in 5 % of curves; at 10 and 20 % 0.7 point and 2 %.
"""

from __future__ import annotations

import csv
import os
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from wattlaw.analysis.cap_curves import choose_cap, evaluate_caps
from wattlaw.laws.caps import PRIOR, fit_caps

DATA = Path(os.environ.get("WATTLAW_DATA", Path(__file__).parents[2] / "shared" / "data"))

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def curves(device: str) -> dict[str, Curve]:
    """Caps in W, seconds an epoch and mean W of each job of one device, by ascending cap."""
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with open(DATA / "zeus" / f"summary_power_{device}.csv", newline="") as file:
        for row in csv.DictReader(file):
            key = "/".join(row[n] for n in ("dataset", "network", "batch_size", "optimizer"))
            rows[key].append(
                tuple(float(row[n]) for n in ("power_limit", "time_per_epoch", "average_power"))
            )
    return {key: tuple(np.array(sorted(points)).T) for key, points in rows.items()}


def plain(caps: np.ndarray, values: np.ndarray) -> Any:
    """t = a + b·P^(−c) through three points, the simple rival; c = 1 by least squares where there is none."""

    def off(c: float) -> float:
        x = caps**-c
        return (values[0] - values[1]) / (values[1] - values[2]) - (x[0] - x[1]) / (x[1] - x[2])

    if values[0] > values[1] > values[2] and off(-20) * off(40) < 0:
        c = brentq(off, -20, 40)
        slope = (values[0] - values[1]) / (caps[0] ** -c - caps[1] ** -c)
        return lambda cap: values[2] + slope * (cap**-c - caps[2] ** -c)
    slope, level = np.polyfit(1 / caps, values, 1)
    return lambda cap: level + slope / cap


def judge(
    curve: Curve,
    middle: int,
    bounds: tuple[float, ...] = (0.05, 0.1, 0.2),
    prior: np.ndarray = PRIOR,
) -> dict[str, list[float]]:
    """Errors, coverage, regret and misses of one curve with probes at its ends and at index ``middle``."""
    caps, times, powers = curve
    energies = times * powers
    probes = [0, middle, len(caps) - 1]
    hidden = [i for i in range(len(caps)) if i not in probes]
    law = fit_caps(caps[probes], times[probes], powers[probes], prior)
    found: dict[str, list[float]] = defaultdict(list)
    for name, values, predict in (("time", times, law.time), ("energy", energies, law.energy)):
        rival = plain(caps[probes], values[probes])
        if (
            name == "energy"
        ):  # power lies close to a line in ln cap; the energy itself has a minimum
            watts = np.interp(np.log(caps), np.log(caps[probes]), powers[probes])
            rival_time = plain(caps[probes], times[probes])
            rival = lambda cap, w=watts, f=rival_time: f(cap) * w[list(caps).index(cap)]  # noqa: E731
        for i in hidden:
            guess = predict(float(caps[i]))
            found[f"{name}_error"].append(abs(guess.value / values[i] - 1))
            found[f"{name}_covered"].append(float(guess.low <= values[i] <= guess.high))
            found[f"{name}_rival"].append(abs(float(rival(caps[i])) / values[i] - 1))
    measured = {float(caps[i]): (float(times[i]), float(energies[i])) for i in probes}
    for bound in bounds:
        chosen = choose_cap(evaluate_caps(law, caps.tolist(), bound, measured)).cap_w
        i = int(np.flatnonzero(caps == chosen)[0])
        slower = times / times[-1] - 1
        best = energies[slower <= bound].min()
        found[f"regret_{bound:g}"].append(max(0.0, (energies[i] - best) / energies[-1]))
        found[f"missed_{bound:g}"].append(float(slower[i] > bound + 0.015))
    return found


def main() -> dict[str, Any]:
    """Pool both devices; "lower" and "upper" are the two middles of P100's six caps."""
    result: dict[str, Any] = {"bench": "zeus_caps"}
    for which in ("lower", "upper"):
        pooled: dict[str, list[float]] = defaultdict(list)
        for device in ("v100", "p100"):
            for curve in curves(device).values():
                n = len(curve[0])
                for name, values in judge(
                    curve, (n - 1) // 2 if which == "lower" else n // 2
                ).items():
                    pooled[name] += values
        result[which] = {
            name: round(100 * statistics.fmean(values), 2) for name, values in pooled.items()
        }
        result[which]["curves"] = len(pooled["regret_0.05"])
    return result


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
