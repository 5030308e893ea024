"""Advice on numbers of devices from simulated runs: do limits hold with the stated probability?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wattlaw.advice.device_count_candidates import device_candidates
from wattlaw.advice.device_counts import choose, evaluate
from wattlaw.analysis.prices import NO_PRICES
from wattlaw.core.quantities import DEVICE_TIME, TIME
from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting

SIZES = ((1, 2, 4), (1, 2, 4, 8), (1, 4, 16), (2, 4, 8, 16))


def law(rng: np.random.Generator, kind: int) -> Callable[[float], float]:
    """Return a power law, Amdahl's law or the universal scaling law with random parameters."""
    beta, sigma, kappa = rng.uniform(0.5, 1), 10 ** rng.uniform(-3, -0.8), 10 ** rng.uniform(-5, -2)
    if kind == 0:
        return lambda n: float(n**-beta)
    return lambda n: float((1 + sigma * (n - 1) + (kind - 1) * kappa * n * (n - 1)) / n)


def run(time: float, devices: int) -> Run:
    """Return a run on one node that takes ``time`` s per sample."""
    setting = Setting("made", devices_per_node=devices, batch_per_device=32)
    return Run(setting=setting, trial="", quantities={"samples_per_s": measured(1 / time)})


def simulated(count: int = 200, seed: int = 1) -> dict[str, Any]:
    """Judge the advice on the least time within a limit on device time.

    The runs have 0.5 to 4 % noise and one to three repeats.
    """
    rng = np.random.default_rng(seed)
    predicted: list[tuple[float, bool]] = []
    followed: dict[float, list[bool]] = {0.5: [], 0.9: []}
    for index in range(count):
        time, noise = law(rng, index % 3), rng.choice([0.005, 0.02, 0.04])
        sizes = SIZES[rng.integers(len(SIZES))]

        def once(n: int, time: Callable[[float], float] = time, noise: float = noise) -> float:
            return time(n) * float(np.exp(rng.normal(0, noise)))

        options = device_candidates(
            [run(once(n), n) for n in sizes for _ in range(rng.integers(1, 4))]
        )
        most = min(time(n) * n for n in sizes) * rng.choice([1.1, 1.3, 1.6, 2.0])
        evaluated = evaluate(options, TIME, None, {DEVICE_TIME: most}, NO_PRICES)
        for option, chance in zip(options, evaluated.probabilities, strict=True):
            if not option.is_measured and option.is_advisable:
                keeps_limit = once(option.devices) * option.devices <= most
                predicted.append((float(chance), keeps_limit))
        for confidence, outcomes in followed.items():
            chosen = choose(evaluated, confidence)
            if chosen is not None:
                devices = options[chosen].devices
                outcomes.append(once(devices) * devices <= most)
    shares = {str(c): round(float(np.mean(kept)), 2) for c, kept in followed.items()}
    return {"calibration": calibration(predicted), "held_at_confidence": shares}


def calibration(predicted: list[tuple[float, bool]]) -> dict[str, Any]:
    """Return the mean predicted probability and the share of limits kept, in five bins.

    ``predicted`` holds pairs of the predicted probability and whether the limit was kept.
    """
    found = {}
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        high = low + 0.2
        in_bin = [pair for pair in predicted if low <= pair[0] < high or pair[0] == high == 1.0]
        if in_bin:
            probability, kept = np.mean(in_bin, axis=0)
            found[f"{low:.1f}-{high:.1f}"] = {
                "n": len(in_bin),
                "said": round(probability, 2),
                "held": round(kept, 2),
            }
    return found
