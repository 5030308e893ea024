"""One of several ranks: prints, for each workload and way, how far its gradients and loss lie from one device's.

`python ranks.py RANK RANKS FILE WAYS NAME ...`; the ranks meet in FILE. WAYS is a list such as ddp,fsdp+parts:
a strategy, with +parts where each rank takes its share of the batch in two parts that are added up.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wattlaw.core.plugins import load
from wattlaw.runner.options import TRAINING
from wattlaw.runner.worker_clock import HostClock
from wattlaw.runner.worker_strategy import Strategy, strategy_for

SHARE = 4


def new_model(workload: Any) -> nn.Module:
    torch.manual_seed(0)
    model = workload.model()
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        # statistics of the batch differ between one device and several
        model.eval()
    return model


def one_device(workload: Any, samples: list[Any]) -> tuple[float, dict[str, Tensor]]:
    model = new_model(workload)
    loss = workload.loss(model, workload.collate(samples))
    loss.backward()
    return float(loss.detach()), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def shared(workload: Any, way: str, samples: list[Any]) -> tuple[float, dict[str, Tensor]]:
    """Return the ranks' mean loss and the whole gradients, as the runner's loop would make them."""
    kind, _, parts = way.partition("+")
    options = {**TRAINING, "strategy": kind}
    model = new_model(workload)
    strategy: Strategy = strategy_for(workload, model, "fp32", options, torch.device("cpu"), HostClock())
    halves = [samples[: SHARE // 2], samples[SHARE // 2 :]] if parts else [samples]
    total = torch.zeros(())
    for half in halves:
        with strategy.quiet(half is not halves[-1]):
            loss = workload.loss(strategy.model, workload.collate(half)) / len(halves)
            loss.backward()
        total += loss.detach()
    dist.all_reduce(total)
    gradients = {n: whole(p.grad) for n, p in model.named_parameters() if p.requires_grad}
    return float(total) / dist.get_world_size(), gradients


def whole(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    scale = max(float(g.abs().max()) for g in theirs.values())
    return max(float((g - theirs[n]).abs().max()) for n, g in ours.items()) / scale


def main(rank: int, ranks: int, meeting: str, ways: list[str], names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    for name in names:
        workload = load("wattlaw.workloads", "workload", name)("tiny")
        data = workload.data("train")
        samples = [data[k] for k in range(ranks * SHARE)]
        loss, gradients = one_device(workload, samples)
        for way in ways:
            mean, found = shared(workload, way, samples[rank * SHARE : (rank + 1) * SHARE])
            far = max(furthest(found, gradients), abs(mean - loss) / abs(loss))
            print(f"{name} {way} {far:.3e}", flush=True)
    dist.barrier()
    dist.destroy_process_group()
    # back-end threads sometimes abort an ordinary end of Python, when all is done
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].split(","), sys.argv[5:])
