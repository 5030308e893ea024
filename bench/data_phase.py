"""How much of a step `base` waits for its data: the share of the `data` phase, without and with one loading process.

Every workload whose step is at most MAX_FLOP runs STEPS steps in blocks that alternate between the two. The others
take too long on a CPU: their batch is loaded alone and set against what their step must take at CPU_FLOP_PER_S, which
few processors of two cores reach; for slower ones the true share is smaller.
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


class Rows(list[tuple[float, float]]):
    """The time and the data phase of each step, s."""

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
    """Return the share of the data phase by workload: [without workers, with one]; ``ratio`` is the largest without."""
    import torch

    from wattlaw.workloads.counts import workload_entries

    torch.set_num_threads(1)
    run, loaded = {}, {}
    for name, entry in sorted(workload_entries().items()):
        base = next(c for c in entry.presets if c.preset == "base")
        if base.flop_per_step <= MAX_FLOP:
            run[name] = shares(name)
        else:
            loaded[name] = round(load_s(name) / (base.flop_per_step / CPU_FLOP_PER_S), 5)
        print(name, run.get(name) or loaded[name], file=sys.stderr, flush=True)
    return {
        "ratio": max(without for without, _ in run.values()),
        "largest_with_one_worker": max(with_worker for _, with_worker in run.values()),
        "share_by_workload": run,
        "largest_estimated": max(loaded.values()),
        "estimated_by_workload": loaded,
    }


def shares(name: str) -> tuple[float, float]:
    """Return the median share of the data phase in a step of `base`, without a loading process and with one."""
    loops = [loop_of(name, workers) for workers in (0, 1)]
    for _ in range(BLOCKS):
        for loop, _ in loops:
            for step in range(STEPS):
                loop.step(step, False)
    # the first steps start the loading process and warm the allocator up
    found = [statistics.median(data / whole for whole, data in rows[3:]) for _, rows in loops]
    return round(found[0], 5), round(found[1], 5)


def loop_of(name: str, workers: int) -> tuple[Any, Rows]:
    """Return a loop of a workload's `base` preset on the CPU, and the rows it writes."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, load
    from wattlaw.core.setting import setting_from
    from wattlaw.runner.worker.device_timer import HostClock
    from wattlaw.runner.worker.loop import Loop

    rows = Rows()
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
