"""How long a step of every workload's `tiny` takes on two threads, through the runner's own loop."""

from __future__ import annotations

import statistics
import sys
from typing import Any

STEPS, FIRST = 25, 5
"""Steps of each workload, and how many of them only warm it up."""


class Rows(list[float]):
    """The time of each step, s."""

    def append(self, step: int, warmup: bool, start_s: float, end_s: float, *more: Any) -> None:  # type: ignore[override]
        super().append(end_s - start_s)

    def flush(self) -> None:
        return


def main() -> dict[str, Any]:
    """Return median and quartiles of each workload's step, ms; ``ratio`` is the largest over the promised 0.1 s."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, plugins

    torch.set_num_threads(2)
    found = {name: step_ms(name) for name in sorted(plugins(WORKLOADS))}
    return {"ratio": round(max(median for median, *_ in found.values()) / 100, 3), "step_ms": found}


def step_ms(name: str) -> tuple[float, float, float]:
    """Return the median and the quartiles of a workload's step, ms."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, load
    from wattlaw.core.setting import setting_from
    from wattlaw.runner.worker.device_timer import HostClock
    from wattlaw.runner.worker.loop import Loop

    rows = Rows()
    workload = load(WORKLOADS, name)("tiny", {})
    loop = Loop(
        setting_from({"workload": name, "preset": "tiny"}),
        workload,
        torch.device("cpu"),
        HostClock(),
        rows,
    )
    for step in range(STEPS):
        loop.step(step, False)
    low, _, high = statistics.quantiles(rows[FIRST:], n=4)
    found = tuple(round(1e3 * t, 1) for t in (statistics.median(rows[FIRST:]), low, high))
    print(name, *found, file=sys.stderr, flush=True)
    return found[0], found[1], found[2]
