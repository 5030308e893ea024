"""Predict hidden caps of Zeus's 113 measured cap curves from three caps, and judge the advice.

The three measured caps of a curve are its lowest, a middle one and its highest. P100 curves have
six caps; "lower" and "upper" are the results for their two middle ones. Errors are mean absolute
relative errors of time and energy at the other caps; "rival" is a curve through the three points.
Regret is the energy of the recommended cap above that of the best cap within the bound on the
slowdown, as a share of the energy at the highest cap. A bound is missed when the slowdown exceeds
it by more than 1.5 points. All results are in percent.

The targets are errors of 1.8 % (time) and 2.3 % (energy); at 5 % slowdown a regret of 1 point and
5 % of bounds missed; at 10 and 20 % slowdown 0.7 point and 2 %.
Run with `make bench NAME=zeus_caps`.
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

from wattlaw.advice.power_caps import choose_clear_cap
from wattlaw.analysis.cap_curves import CONFIDENCE, evaluate_caps
from wattlaw.laws.caps import PRIOR, fit_caps

DATA = Path(os.environ.get("WATTLAW_DATA", Path(__file__).parents[2] / "shared" / "data"))

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def curves(device: str) -> dict[str, Curve]:
    """Return the curve of each job on one device: cap, W, time per epoch, s, and mean power, W.

    Caps are in ascending order.
    """
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with open(DATA / "zeus" / f"summary_power_{device}.csv", newline="") as file:
        for row in csv.DictReader(file):
            key = "/".join(row[n] for n in ("dataset", "network", "batch_size", "optimizer"))
            columns = ("power_limit", "time_per_epoch", "average_power")
            rows[key].append(tuple(float(row[name]) for name in columns))
    return {key: tuple(np.array(sorted(points)).T) for key, points in rows.items()}


def plain(caps: np.ndarray, values: np.ndarray) -> Any:
    """Return the rival law t = a + b·P^(−c) through three points.

    Where no such curve exists, c = 1 and the fit is by least squares.
    """

    def off(c: float) -> float:
        x = caps**-c
        return (values[0] - values[1]) / (values[1] - values[2]) - (x[0] - x[1]) / (x[1] - x[2])

    if values[0] > values[1] > values[2] and off(-20) * off(40) < 0:
        c = brentq(off, -20, 40)
        slope = (values[0] - values[1]) / (caps[0] ** -c - caps[1] ** -c)
        return lambda cap: values[2] + slope * (cap**-c - caps[2] ** -c)
    slope, level = np.polyfit(1 / caps, values, 1)
    return lambda cap: level + slope / cap


def plain_energy(caps: np.ndarray, times: np.ndarray, powers: np.ndarray, probes: list[int]) -> Any:
    """Return the rival for energy: the rival time by a mean power linear in ln of the cap.

    Power is nearly linear in ln of the cap, but energy has a minimum.
    """
    time = plain(caps[probes], times[probes])

    def energy(cap: float) -> float:
        power = np.interp(np.log(cap), np.log(caps[probes]), powers[probes])
        return float(time(cap) * power)

    return energy


def judge(
    curve: Curve,
    middle: int,
    bounds: tuple[float, ...] = (0.05, 0.1, 0.2),
    prior: np.ndarray = PRIOR,
) -> dict[str, list[float]]:
    """Return errors, coverage, regret and missed bounds of one curve.

    The law is fitted to the lowest cap, the highest, and the one at index ``middle``.
    """
    caps, times, powers = curve
    energies = times * powers
    probes = [0, middle, len(caps) - 1]
    hidden = [i for i in range(len(caps)) if i not in probes]
    law = fit_caps(caps[probes], times[probes], powers[probes], prior)
    found: dict[str, list[float]] = defaultdict(list)
    for name, values, predict in (("time", times, law.time), ("energy", energies, law.energy)):
        rival = plain(caps[probes], values[probes])
        if name == "energy":
            rival = plain_energy(caps, times, powers, probes)
        for i in hidden:
            guess = predict(float(caps[i]))
            found[f"{name}_error"].append(abs(guess.value / values[i] - 1))
            found[f"{name}_covered"].append(float(guess.low <= values[i] <= guess.high))
            found[f"{name}_rival"].append(abs(float(rival(caps[i])) / values[i] - 1))
    measured = {float(caps[i]): (float(times[i]), float(energies[i])) for i in probes}
    for bound in bounds:
        options = evaluate_caps(law, caps.tolist(), bound, measured)
        chosen = choose_clear_cap(options, CONFIDENCE).cap_w
        i = int(np.flatnonzero(caps == chosen)[0])
        slower = times / times[-1] - 1
        best = energies[slower <= bound].min()
        found[f"regret_{bound:g}"].append(max(0.0, (energies[i] - best) / energies[-1]))
        found[f"missed_{bound:g}"].append(float(slower[i] > bound + 0.015))
    return found


def main() -> dict[str, Any]:
    """Return the mean results of the curves of both devices, for each middle cap, %."""
    result: dict[str, Any] = {"bench": "zeus_caps"}
    for which in ("lower", "upper"):
        pooled: dict[str, list[float]] = defaultdict(list)
        for device in ("v100", "p100"):
            for curve in curves(device).values():
                n = len(curve[0])
                middle = (n - 1) // 2 if which == "lower" else n // 2
                for name, values in judge(curve, middle).items():
                    pooled[name] += values
        result[which] = {
            name: round(100 * statistics.fmean(values), 2) for name, values in pooled.items()
        }
        result[which]["curves"] = len(pooled["regret_0.05"])
    return result


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
