"""Learns the prior of the cap law from one device's curves and judges it on the other's: no device informs itself.

Empirical Bayes: fit every curve with the prior, take the mean and variance of the parameters found (with the
variance left in each) as the next prior, and repeat.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

import numpy as np

from wattlaw.laws.caps import fit_caps
from zeus_caps import Curve, curves, judge

START = np.array(
    [
        (-1.0, 2.0),
        (-0.5, 0.6),
        (-1.5, 0.6),
        (0.0, 1.0),
        (-1.9, 0.25),
        (0.98, 0.03),
        (-1.5, 1.0),
        (1.03, 0.2),
    ]
)
"""A wide first guess from physics: an idle power of 15 %, a cube law, a third of the clock at least voltage."""


def learn(data: list[Curve], rounds: int = 4) -> np.ndarray:
    """Return the prior (8, 2) that these curves teach."""
    prior = START.copy()
    for _ in range(rounds):
        centres, spreads = [], []
        for caps, times, powers in data:
            found = fit_caps(caps, times, powers, prior).posterior
            centres.append(found.best[:-1])
            spreads.append(found.weights @ (found.draws[:, :-1] - found.best[:-1]) ** 2)
        z = np.array(centres)
        wide = np.sqrt(z.var(axis=0) + np.mean(spreads, axis=0))
        prior = np.column_stack([prior[:, 0] + prior[:, 1] * z.mean(axis=0), prior[:, 1] * wide])
    return prior


def main() -> dict[str, Any]:
    """Judge each device under the other's prior, and print what was learnt."""
    data = {device: list(curves(device).values()) for device in ("v100", "p100")}
    priors = {device: learn(found) for device, found in data.items()}
    result: dict[str, Any] = {"bench": "caps_prior"}
    for device, teacher in (("v100", "p100"), ("p100", "v100")):
        pooled: dict[str, list[float]] = defaultdict(list)
        for curve in data[device]:
            for name, values in judge(
                curve, (len(curve[0]) - 1) // 2, prior=priors[teacher]
            ).items():
                pooled[name] += values
        result[f"{device} under {teacher}'s prior"] = {
            n: round(100 * statistics.fmean(v), 2) for n, v in pooled.items()
        }
    result["pooled prior"] = np.round(learn(data["v100"] + data["p100"]), 3).tolist()
    return result


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
