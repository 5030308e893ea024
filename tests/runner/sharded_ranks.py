"""One of two ranks that train sharded GPT-2, save a checkpoint half-way and resume from it.

`python sharded_ranks.py RANK FILE PRECISION`; prints lines of a name and a number.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import torch.distributed as dist

from wattlaw.core.options import TRAINING
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.full_state import (
    full_optimiser_state,
    full_state,
    load_full_optimiser_state,
    load_full_state,
)
from wattlaw.runner.worker.strategy import strategy_for


class Trained:
    def __init__(self, kind: str, precision: str, seed: int = 0) -> None:
        self.workload: Any = load(WORKLOADS, "gpt2")("tiny")
        torch.manual_seed(seed)
        self.bare = self.workload.model()
        options = {**TRAINING, "strategy": kind, "activation_checkpointing": kind == "fsdp"}
        cpu = torch.device("cpu")
        self.strategy = strategy_for(self.workload, self.bare, precision, options, cpu, HostClock())
        self.optimiser = self.workload.optimiser(self.bare.parameters())
        self.samples = self.workload.data("train")

    def steps(self, first: int, count: int) -> list[float]:
        losses = []
        for step in range(first, first + count):
            begin = 8 * step + 4 * dist.get_rank()
            batch = self.workload.collate([self.samples[k] for k in range(begin, begin + 4)])
            with self.strategy.cast():
                loss = self.strategy.calculate(self.workload.loss, batch)
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
            losses.append(float(loss.detach()))
        return losses


def main(rank: int, meeting: str, precision: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    sharded, whole = Trained("fsdp", precision), Trained("ddp", precision)
    report("first losses", sharded.steps(0, 3), whole.steps(0, 3))
    saved, optimiser = full_state(sharded.bare), full_optimiser_state(sharded.optimiser)
    print("names", int(saved.keys() != whole.bare.state_dict().keys()))
    print(
        "held",
        sum(p.to_local().numel() for p in sharded.bare.parameters())
        / sum(p.numel() for p in saved.values()),
    )
    went_on = sharded.steps(3, 2)
    again, alone = Trained("fsdp", precision, seed=1), Trained("ddp", precision, seed=1)
    for trained in (again, alone):
        load_full_state(trained.bare, saved)
        load_full_optimiser_state(trained.optimiser, optimiser)
    print("resumed", max(abs(a - b) for a, b in zip(again.steps(3, 2), went_on, strict=True)))
    report("resumed whole", alone.steps(3, 2), went_on)
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)


def report(name: str, ours: list[float], theirs: list[float]) -> None:
    print(name, max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
