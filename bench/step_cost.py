"""CPU time that the runner's loop adds to a step, on a model of one linear layer.

Blocks of 100 steps alternate between a bare PyTorch loop and the runner's loop, 40 blocks each.
``ratio`` is the median CPU time of a step in the runner's loop over that in the bare loop.
Run with `make bench NAME=step_cost`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from runner_overhead import bare_block

BLOCKS, STEPS = 40, 100


def main() -> dict[str, Any]:
    """Return the median CPU times of a step, and the quartiles of the difference, µs."""
    import torch

    from wattlaw.core.setting import setting_from
    from wattlaw.measuring.files.rank_files import StepLog
    from wattlaw.runner.worker.device_timer import HostClock
    from wattlaw.runner.worker.loop import Loop

    torch.set_num_threads(1)
    bare, runner = [], []
    with tempfile.TemporaryDirectory() as folder, StepLog(Path(folder), 0) as log:
        setting = setting_from({"workload": "line"})
        loop = Loop(setting, line(), torch.device("cpu"), HostClock(), log)
        for _ in range(BLOCKS):
            start = time.thread_time()
            bare_block(loop, STEPS)
            middle = time.thread_time()
            for step in range(STEPS):
                loop.step(step, False)
            bare.append((middle - start) / STEPS * 1e6)
            runner.append((time.thread_time() - middle) / STEPS * 1e6)
    more = [b - a for a, b in zip(bare, runner, strict=True)]
    return {
        "ratio": round(statistics.median(runner) / statistics.median(bare), 3),
        "bare_us": round(statistics.median(bare), 1),
        "runner_us": round(statistics.median(runner), 1),
        "difference_us": [round(q, 1) for q in statistics.quantiles(more, n=4)],
    }


def line() -> Any:
    """Return a workload of one linear layer."""
    import torch

    from wattlaw.workloads.base import Workload

    class Line(Workload):
        batch = {"base": 8}  # noqa: RUF012

        def model(self):  # type: ignore[no-untyped-def]
            return torch.nn.Linear(4, 1)

        def data(self, split):  # type: ignore[no-untyped-def]
            return torch.utils.data.TensorDataset(torch.randn(80_000, 4), torch.randn(80_000, 1))

        def loss(self, model, batch):  # type: ignore[no-untyped-def]
            x, y = batch
            return (model(x) - y).square().mean()

    return Line()
