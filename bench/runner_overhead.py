"""Step time of the runner's loop with all meters at 10 Hz over that of a bare PyTorch loop.

Both loops train the same model with the same optimiser and batches in one process. They take turns
in blocks of 100 steps, in random order. ``ratio`` is the median over 25 pairs of blocks of the time
of the runner's block over that of the bare one. Run with `make bench NAME=runner_overhead`.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

BLOCK = 100
PAUSE_S = 0.3
"""Pause before each block, s. The start of the sampler is not part of a step."""

PAIRS = 25


def main(pairs: int = PAIRS, block: int = BLOCK) -> dict[str, Any]:
    """Return the median and the quartiles of the ratio, and the step times, s."""
    import torch

    from wattlaw.core.plugins import WORKLOADS, load
    from wattlaw.core.setting import setting_from
    from wattlaw.measuring.files.rank_files import StepLog
    from wattlaw.measuring.sampling.sampler_process import start_sampler
    from wattlaw.runner.worker.device_timer import HostClock
    from wattlaw.runner.worker.loop import Loop

    torch.set_num_threads(1)
    workload = load(WORKLOADS, "schnet")("tiny", {})
    setting = setting_from({"workload": "schnet", "preset": "tiny", "batch_per_device": 32})
    ratios, bare_s, runner_s = [], [], []
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, StepLog(Path(folder), 0) as log:
        loop = Loop(setting, workload, torch.device("cpu"), HostClock(), log)
        bare_block(loop, block)
        for step in range(block):
            loop.step(step, False)
        for _ in range(pairs):
            kinds = ["bare", "runner"]
            draw.shuffle(kinds)
            took = {}
            for kind in kinds:
                if kind == "bare":
                    time.sleep(PAUSE_S)
                    took[kind] = bare_block(loop, block)
                    continue
                with start_sampler(Path(folder), hz=10):
                    time.sleep(PAUSE_S)
                    start = time.perf_counter()
                    for step in range(block):
                        loop.step(step, False)
                    took[kind] = time.perf_counter() - start
            bare_s.append(took["bare"] / block)
            runner_s.append(took["runner"] / block)
            ratios.append(took["runner"] / took["bare"])
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "ratio": round(statistics.median(ratios), 4),
        "quartiles": [round(quarters[0], 4), round(quarters[2], 4)],
        "pairs": pairs,
        "steps_per_block": block,
        "bare_step_s": round(statistics.median(bare_s), 5),
        "runner_step_s": round(statistics.median(runner_s), 5),
    }


def bare_block(loop: Any, steps: int) -> float:
    """Run a plain PyTorch loop on the runner's model, optimiser and batches; return its time, s.

    It shares the model because two copies in one process differ by several percent, depending on
    their addresses in memory.
    """
    start = time.perf_counter()
    for _ in range(steps):
        loss = loop.trainer.workload.loss(loop.trainer.bare, next(loop.trainer.batches))
        loss.backward()
        loop.trainer.optimiser.step()
        loop.trainer.optimiser.zero_grad(set_to_none=True)
        float(loss.detach())
    return time.perf_counter() - start
