"""Fit the prior of the cap law to the curves of one device and judge it on the other device.

The method is empirical Bayes. Each round fits every curve with the current prior. The next prior
has the mean of the fitted parameters, and their variance plus the mean posterior variance.
Run with `make bench NAME=caps_prior`; the data are those of zeus_caps.py.
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
"""A wide prior from physics, the start of the iteration: mean and standard deviation, (8, 2).

The means are an idle power of 15 %, a cubic power law, and a third of the clock at least voltage.
"""


def learn(data: list[Curve], rounds: int = 4) -> np.ndarray:
    """Return the prior fitted to some curves, (8, 2)."""
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
    """Return the errors of each device under the other's prior, and the prior of both, %."""
    data = {device: list(curves(device).values()) for device in ("v100", "p100")}
    priors = {device: learn(found) for device, found in data.items()}
    result: dict[str, Any] = {"bench": "caps_prior"}
    for device, teacher in (("v100", "p100"), ("p100", "v100")):
        pooled: dict[str, list[float]] = defaultdict(list)
        for curve in data[device]:
            middle = (len(curve[0]) - 1) // 2
            for name, values in judge(curve, middle, prior=priors[teacher]).items():
                pooled[name] += values
        result[f"{device} under {teacher}'s prior"] = {
            n: round(100 * statistics.fmean(v), 2) for n, v in pooled.items()
        }
    result["pooled prior"] = np.round(learn(data["v100"] + data["p100"]), 3).tolist()
    return result


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
