"""One of several ranks: print how far gradients and loss differ from those of one device.

`python ranks.py RANK RANKS FILE WAYS WORKLOAD ...`; the ranks meet in FILE. WAYS is a list of
strategies such as ddp,fsdp+parts; with +parts each rank accumulates its batch in two parts. A
WORKLOAD may have options: NAME={"option":"value"}. The computation is in double precision, so that
rounding hides no error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wattlaw.core.options import TRAINING
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.strategy import Strategy, strategy_for
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.graphs.slots import map_tensors

SHARE = 4


def new_model(workload: Any, samples: list[Any]) -> nn.Module:
    torch.manual_seed(0)
    model = workload.model().double()
    for parameter in model.parameters():
        # parameters that start at 0 may keep the gradients of others at 0, so all would be equal
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        # batch statistics differ between one and several devices, so they are frozen
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            workload.loss(model, joined(workload, samples))
        model.eval()
    return model


def joined(workload: Any, samples: list[Any]) -> Any:
    return doubled(workload.collate(samples))


def doubled(batch: Any) -> Any:
    if isinstance(batch, Tensor):
        return batch.double() if batch.is_floating_point() else batch
    if isinstance(batch, Graph):
        return map_tensors(batch, doubled)
    if isinstance(batch, dict):
        return {name: doubled(value) for name, value in batch.items()}
    return type(batch)(doubled(value) for value in batch)


def one_device(workload: Any, samples: list[Any]) -> tuple[float, dict[str, Tensor]]:
    model = new_model(workload, samples)
    loss = workload.loss(model, joined(workload, samples))
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    idle = [n for n, g in gradients.items() if not g.any()]
    assert not idle, f"no gradient to compare: {idle}"
    return float(loss.detach()), gradients


def shared(
    workload: Any, way: str, samples: list[Any], rank: int
) -> tuple[float, dict[str, Tensor]]:
    """Return the mean loss and the full gradients of all ranks, as in the runner's loop."""
    kind, _, parts = way.partition("+")
    options = {**TRAINING, "strategy": kind}
    model = new_model(workload, samples)
    strategy: Strategy = strategy_for(
        workload, model, "fp32", options, torch.device("cpu"), HostClock()
    )
    mine = samples[rank * SHARE : (rank + 1) * SHARE]
    halves = [mine[: SHARE // 2], mine[SHARE // 2 :]] if parts else [mine]
    total = torch.zeros(())
    for half in halves:
        with strategy.no_sync(half is not halves[-1]):
            loss = strategy.calculate(workload.loss, joined(workload, half)) / len(halves)
            loss.backward()
        total += loss.detach()
    dist.all_reduce(total)
    gradients = {n: whole(p.grad) for n, p in model.named_parameters() if p.requires_grad}
    return float(total) / dist.get_world_size(), gradients


def whole(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Return the largest difference of a gradient, relative to the largest entry of the gradient."""
    assert ours.keys() == theirs.keys()
    largest = {n: float(g.abs().max()) for n, g in theirs.items()}
    # what a softmax cancels is rounding alone, and has no size of its own
    least = 1e-6 * max(largest.values())
    return max(float((g - theirs[n]).abs().max()) / max(largest[n], least) for n, g in ours.items())


def main(rank: int, ranks: int, meeting: str, ways: list[str], names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    for word in names:
        name, _, options = word.partition("=")
        workload = load(WORKLOADS, name)("tiny", json.loads(options or "{}"))
        data = workload.data("train")
        samples = [data[k] for k in range(ranks * SHARE)]
        loss, gradients = one_device(workload, samples)
        for way in ways:
            mean, found = shared(workload, way, samples, rank)
            far = max(furthest(found, gradients), abs(mean - loss) / abs(loss))
            print(f"{word} {way} {far:.3e}", flush=True)
    dist.barrier()
    dist.destroy_process_group()
    # back-end threads sometimes abort an ordinary end of Python, when all is done
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].split(","), sys.argv[5:])
