"""Share of a `base` step spent waiting for data, without a loader process and with one.

Workloads whose step takes at most MAX_FLOP run STEPS steps in blocks that alternate between the
two. The others take too long on a CPU. For those, the time to load one batch is divided by the time
of a step at CPU_FLOP_PER_S. Few processors of two cores reach that rate; on slower ones the true
share is smaller. ``ratio`` is the largest measured share without a loader process.
Run with `make bench NAME=data_phase`.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

MAX_FLOP = 5e10
STEPS = 5
BLOCKS = 3
CPU_FLOP_PER_S = 1e11


class StepAndDataTimes(list[tuple[float, float]]):
    """A step log that keeps the time and the data phase of each step, s."""

    def append(
        self,
        step: int,
        warmup: bool,
        start_s: float,
        end_s: float,
        samples: Any,
        loss: Any,
        *phases: Any,
    ) -> None:  # type: ignore[override]
        super().append((end_s - start_s, phases[0]))

    def flush(self) -> None:
        return


def main() -> dict[str, Any]:
    """Return the share of the data phase by workload: [without a loader process, with one]."""
    import torch

    from wattlaw.workloads.counts import workload_entries

    torch.set_num_threads(1)
    run, loaded = {}, {}
    for name, entry in sorted(workload_entries().items()):
        base = next(c for c in entry.presets if c.preset == "base")
        if base.flop_per_step <= MAX_FLOP:
            result: Any = shares(name)
            run[name] = result
        else:
            result = round(load_s(name) / (base.flop_per_step / CPU_FLOP_PER_S), 5)
            loaded[name] = result
        print(name, result, file=sys.stderr, flush=True)
    without, with_worker = zip(*run.values(), strict=True)
    return {
        "ratio": max(without),
        "largest_with_one_worker": max(with_worker),
        "share_by_workload": run,
        "largest_estimated": max(loaded.values()),
        "estimated_by_workload": loaded,
    }


def shares(name: str) -> tuple[float, float]:
    """Return the median share of the data phase without a loader process and with one."""
    loops = [loop_of(name, workers) for workers in (0, 1)]
    for _ in range(BLOCKS):
        for loop, _ in loops:
            for step in range(STEPS):
                loop.step(step, False)
    without, with_worker = (median_share(rows) for _, rows in loops)
    return round(without, 5), round(with_worker, 5)


def median_share(rows: StepAndDataTimes) -> float:
    """Return the median share of the data phase, without the three warm-up steps."""
    return statistics.median(data / whole for whole, data in rows[3:])


def loop_of(name: str, workers: int) -> tuple[Any, StepAndDataTimes]:
    """Return a training loop of a workload's `base` preset on the CPU, and its step log."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, load
    from wattlaw.core.setting import setting_from
    from wattlaw.runner.worker.device_timer import HostClock
    from wattlaw.runner.worker.loop import Loop

    rows = StepAndDataTimes()
    setting = setting_from({"workload": name, "loader_workers": workers})
    workload = load(WORKLOADS, name)("base", {})
    return Loop(setting, workload, torch.device("cpu"), HostClock(), rows), rows


def load_s(name: str) -> float:
    """Return the median time to load one batch of `base` in this process, s."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, load
    from wattlaw.core.setting import setting_from
    from wattlaw.runner.worker.rank_batches import Batches

    workload = load(WORKLOADS, name)("base", {})
    batches = Batches(setting_from({"workload": name}), workload, torch.device("cpu"), 1, 0)
    times = []
    for _ in range(STEPS * BLOCKS):
        start = time.perf_counter()
        next(batches)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
