"""Step time of the `tiny` preset of every workload on two threads, in the runner's loop.

``ratio`` is the largest median over the target of 0.1 s. Run with `make bench NAME=tiny_steps`.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

STEPS, FIRST = 25, 5
"""Number of steps of each workload, and how many of them are warm-up."""


class StepTimes(list[float]):
    """A step log that keeps the time of each step, s."""

    def append(  # type: ignore[override]
        self, step: int, warmup: bool, start_s: float, end_s: float, *more: Any
    ) -> None:
        super().append(end_s - start_s)

    def flush(self) -> None:
        return


def main() -> dict[str, Any]:
    """Return the median and the quartiles of the step time of each workload, ms."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, plugins

    torch.set_num_threads(2)
    found = {name: step_ms(name) for name in sorted(plugins(WORKLOADS))}
    return {"ratio": round(max(median for median, *_ in found.values()) / 100, 3), "step_ms": found}


def step_ms(name: str) -> tuple[float, float, float]:
    """Return the median and the quartiles of the step time of a workload, ms."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, load
    from wattlaw.core.setting import setting_from
    from wattlaw.runner.worker.device_timer import HostClock
    from wattlaw.runner.worker.loop import Loop

    rows = StepTimes()
    workload = load(WORKLOADS, name)("tiny", {})
    setting = setting_from({"workload": name, "preset": "tiny"})
    loop = Loop(setting, workload, torch.device("cpu"), HostClock(), rows)
    for step in range(STEPS):
        loop.step(step, False)
    low, _, high = statistics.quantiles(rows[FIRST:], n=4)
    found = tuple(round(1e3 * t, 1) for t in (statistics.median(rows[FIRST:]), low, high))
    print(name, *found, file=sys.stderr, flush=True)
    return found[0], found[1], found[2]
