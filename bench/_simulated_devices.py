"""Advice on numbers of devices drawn from simulated runs of known laws: do limits hold as often as is said?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wattlaw.advice.device_count_candidates import device_candidates
from wattlaw.advice.device_counts import choose, weigh
from wattlaw.analysis.prices import NO_PRICES
from wattlaw.core.quantities import DEVICE_TIME, TIME
from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting

SIZES = ((1, 2, 4), (1, 2, 4, 8), (1, 4, 16), (2, 4, 8, 16))


def law(rng: np.random.Generator, kind: int) -> Callable[[float], float]:
    """A power law, Amdahl's or the universal law, its parameters at random."""
    beta, sigma, kappa = rng.uniform(0.5, 1), 10 ** rng.uniform(-3, -0.8), 10 ** rng.uniform(-5, -2)
    if kind == 0:
        return lambda n: float(n**-beta)
    return lambda n: float((1 + sigma * (n - 1) + (kind - 1) * kappa * n * (n - 1)) / n)


def run(time: float, devices: int) -> Run:
    """One run on so many devices of one node, s per sample."""
    setting = Setting("made", devices_per_node=devices, batch_per_device=32)
    return Run(setting=setting, trial="", quantities={"samples_per_s": measured(1 / time)})


def simulated(count: int = 200, seed: int = 1) -> dict[str, Any]:
    """Ask each law for the least time within a limit on device-time; 0.5 to 4 % noise, one to three repeats."""
    rng = np.random.default_rng(seed)
    told: list[tuple[float, bool]] = []
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
        weighed = weigh(options, TIME, None, {DEVICE_TIME: most}, NO_PRICES)
        told += [
            (float(chance), once(o.devices) * o.devices <= most)
            for o, chance in zip(options, weighed.chances, strict=True)
            if not o.is_measured and o.is_advisable
        ]
        for confidence, held in followed.items():
            chosen = choose(weighed, confidence)
            if chosen is not None:
                held.append(once(options[chosen].devices) * options[chosen].devices <= most)
    return {
        "calibration": calibration(told),
        "held_at_confidence": {
            str(c): round(float(np.mean(held)), 2) for c, held in followed.items()
        },
    }


def calibration(told: list[tuple[float, bool]]) -> dict[str, Any]:
    """How often limits held among those said to hold with a probability in each fifth."""
    found = {}
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = [
            pair for pair in told if low <= pair[0] < low + 0.2 or pair[0] == low + 0.2 == 1.0
        ]
        if inside:
            said, held = np.mean(inside, axis=0)
            found[f"{low:.1f}-{low + 0.2:.1f}"] = {
                "n": len(inside),
                "said": round(said, 2),
                "held": round(held, 2),
            }
    return found
