"""Time to fit 1,000 groups of 20 runs, with intervals.

``ratio`` is the median of three rounds over the target of 10 s on two cores.
Run with `make bench NAME=fit_speed`.
"""

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
    """Return the runs of groups with five sizes and four repeats each."""
    rng = np.random.default_rng(0)
    found = []
    for group in range(groups):
        sigma = float(rng.uniform(0, 0.05))
        for devices in (1, 2, 4, 8, 16):
            for repeat in range(4):
                noise = float(np.exp(rng.normal(0, 0.02)))
                time_s = 0.01 * (1 + sigma * (devices - 1)) / devices * noise
                found.append(run(group, devices, repeat, time_s))
    return found


def run(group: int, devices: int, repeat: int, time_s: float) -> Run:
    """Return a run of a group that takes ``time_s`` per sample."""
    fields = {"workload": f"w{group}", "devices": devices, "batch_per_device": 32}
    return Run(
        setting=setting_from(fields),
        trial=f"{group}-{devices}-{repeat}",
        repeat=repeat,
        quantities={"samples_per_s": measured(1 / time_s)},
    )


def main() -> dict[str, Any]:
    """Return the median, smallest and largest time of three rounds, s, and the ratio."""
    runs, seconds = made(), []
    for _ in range(3):
        start = time.perf_counter()
        fits = fit(runs)
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    return {
        "groups": len(fits),
        "seconds": round(middle, 2),
        "lowest": round(min(seconds), 2),
        "highest": round(max(seconds), 2),
        "ratio": round(middle / 10, 3),
    }


if __name__ == "__main__":
    print(main())
