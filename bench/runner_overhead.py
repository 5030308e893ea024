"""What the runner costs: its loop with all meters at 10 Hz against a bare PyTorch loop, block about.

Same model, data, batch and step count in one process; a block is 100 steps; which of the two comes first
alternates. The ratio of a pair is the time of the runner's block over that of the bare one beside it.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

BLOCK = 100
PAIRS = 30


def main(pairs: int = PAIRS, block: int = BLOCK) -> dict[str, Any]:
    """Return median and spread of the ratio of step times, runner over bare loop."""
    import torch

    from wattlaw.core.setting import setting_from
    from wattlaw.measuring.sampler import start_sampler
    from wattlaw.measuring.steps import StepLog
    from wattlaw.runner.worker_clock import HostClock
    from wattlaw.runner.worker_loop import Loop
    from wattlaw.workloads.molecules.schnet import SchNetWorkload

    torch.set_num_threads(1)
    workload = SchNetWorkload("tiny", {})
    setting = setting_from({"workload": "schnet", "preset": "tiny", "batch_per_device": 32})
    ratios, bare_s, runner_s = [], [], []
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, StepLog(Path(folder), 0) as log:
        loop = Loop(setting, workload, torch.device("cpu"), HostClock(), log)
        batches = loop._batches()
        bare = Bare(workload)
        bare.block(block)
        for step in range(block):
            loop._step(step, False, batches)
        for _ in range(pairs):
            kinds = ["bare", "runner"]
            draw.shuffle(kinds)
            took = {}
            for kind in kinds:
                if kind == "bare":
                    took[kind] = bare.block(block)
                    continue
                with start_sampler(Path(folder), hz=10):
                    time.sleep(0.3)  # the sampler's own start is no part of a step
                    start = time.perf_counter()
                    for step in range(block):
                        loop._step(step, False, batches)
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


class Bare:
    """The loop anybody would write: model, loader, loss, backward, step."""

    def __init__(self, workload: Any) -> None:
        import torch
        from torch.utils.data import DataLoader

        torch.manual_seed(0)
        self.workload = workload
        self.model = workload.model()
        self.optimiser = workload.optimiser(self.model.parameters())
        self.loader = DataLoader(workload.data("train"), 32, shuffle=True, drop_last=True, collate_fn=workload.collate)
        self.batches = iter(self.loader)

    def block(self, steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            try:
                batch = next(self.batches)
            except StopIteration:
                self.batches = iter(self.loader)
                batch = next(self.batches)
            loss = self.workload.loss(self.model, batch)
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            float(loss.detach())
        return time.perf_counter() - start
