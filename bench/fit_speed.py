"""1,000 groups of 20 runs fitted with intervals; to reach: 10 s on two cores."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from wattlaw.analysis.fit import fit
from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import setting_from


def made(groups: int = 1000) -> list[Run]:
    """Groups of five sizes with four repeats each."""
    rng = np.random.default_rng(0)
    found = []
    for group in range(groups):
        sigma = float(rng.uniform(0, 0.05))
        for devices in (1, 2, 4, 8, 16):
            for repeat in range(4):
                t = (
                    0.01
                    * (1 + sigma * (devices - 1))
                    / devices
                    * float(np.exp(rng.normal(0, 0.02)))
                )
                setting = setting_from(
                    {"workload": f"w{group}", "devices": devices, "batch_per_device": 32}
                )
                quantities = {"samples_per_s": measured(1 / t)}
                found.append(
                    Run(
                        setting=setting,
                        trial=f"{group}-{devices}-{repeat}",
                        repeat=repeat,
                        quantities=quantities,
                    )
                )
    return found


def main() -> dict[str, Any]:
    """Seconds of three rounds, and their ratio to the ten allowed."""
    runs, seconds = made(), []
    for _ in range(3):
        start = time.perf_counter()
        fits = fit(runs)
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    return {
        "groups": len(fits), "seconds": round(middle, 2), "lowest": round(min(seconds), 2),
        "highest": round(max(seconds), 2), "ratio": round(middle / 10, 3),
    }  # fmt: skip


if __name__ == "__main__":
    print(main())
