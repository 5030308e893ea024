"""One of two ranks: prints, for each workload, how far data-parallel gradients lie from one device's.

`python two_ranks.py RANK FILE NAME ...`; the ranks meet in FILE.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from wattlaw.core.plugins import load

HALF = 4


def gradients(workload: Any, model: nn.Module, samples: list[Any]) -> list[torch.Tensor]:
    workload.loss(model, workload.collate(samples)).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def new_model(workload: Any) -> nn.Module:
    torch.manual_seed(0)
    model = workload.model()
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        # statistics of the batch differ between one device and two
        model.eval()
    return model


def main(rank: int, meeting: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for name in names:
        workload = load("wattlaw.workloads", "workload", name)("tiny")
        data = workload.data("train")
        samples = [data[k] for k in range(2 * HALF)]
        whole = gradients(workload, new_model(workload), samples)
        shared = nn.parallel.DistributedDataParallel(new_model(workload))
        half = gradients(workload, shared, samples[rank * HALF : (rank + 1) * HALF])
        scale = max(float(g.abs().max()) for g in whole)
        furthest = max(float((a - b).abs().max()) for a, b in zip(whole, half, strict=True))
        print(f"{name} {furthest / scale:.3e}", flush=True)
    dist.barrier()
    dist.destroy_process_group()
    # back-end threads sometimes abort an ordinary end of Python, when all is done
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
