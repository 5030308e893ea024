"""Test error of a workload after training for some seconds on one CPU thread.

The learning rate follows half a cosine from its start value to 0.
Run with `python bench/accuracy.py WORKLOAD SECONDS [OPTION=VALUE ...]`.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.workloads.base import Workload


def main(
    name: str = "painn-forces", seconds: float = 60.0, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the metrics on the test split, and the steps, samples and CPU time of training."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    workload: Workload = load(WORKLOADS, name)("base", options)
    model = workload.model()
    batches, samples = endless(workload), 0
    optimiser = workload.optimiser(model.parameters())
    rates = [group["lr"] for group in optimiser.param_groups]
    start, cpu, steps, losses = time.monotonic(), time.process_time(), 0, 0.0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done))
        optimiser.zero_grad()
        loss = workload.loss(model, next(batches))
        loss.backward()
        optimiser.step()
        steps += 1
        samples += workload.batch["base"]
        losses += float(loss.detach())
        if steps % 500 == 0:
            text = f"{name}: {done:.0%}, {steps} steps, loss {losses / 500:.3g}"
            print(text, file=sys.stderr, flush=True)
            losses = 0.0
    took = time.process_time() - cpu
    test = DataLoader(workload.data("test"), 64, collate_fn=workload.collate)
    return {
        **workload.evaluate(model.eval(), test),
        "steps": steps,
        "samples": samples,
        "cpu_s": round(took),
    }


def endless(workload: Workload) -> Iterator[Any]:
    """Yield batches of the training split without end, shuffled again for each epoch."""
    data = workload.data("train")
    draw = torch.Generator().manual_seed(0)
    loader = DataLoader(
        data,
        workload.batch["base"],
        True,
        collate_fn=workload.collate,
        drop_last=True,
        generator=draw,
    )
    for _ in itertools.count():
        yield from loader


if __name__ == "__main__":
    arguments = sys.argv[1:]
    options = dict(word.split("=", 1) for word in arguments[2:])
    print(main(*arguments[:1], *map(float, arguments[1:2]), options))
