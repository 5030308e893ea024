"""Evaluation on the valid part, shared over the ranks, with the workload's own metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from wattlaw.core.errors import TrialError
from wattlaw.runner.worker.data import to_device
from wattlaw.runner.worker.strategy import Replicated, Strategy
from wattlaw.runner.worker.user_class import checked_metrics, data_of
from wattlaw.workloads.base import Workload

GEOMETRIC = "perplexity"
"""Metrics are means over samples and are joined as such; this one is e to a mean, and joined as that."""


class Evaluation:
    """Evaluates a model as its rank trains it. ``samples`` of the valid part are evaluated by all ranks together.

    Every rank has equally many batches, as sharded models need, and each sample counts once.
    """

    def __init__(
        self,
        workload: Workload,
        strategy: Strategy,
        batch_size: int,
        most: int,
        workers: int,
        ranks: int,
        rank: int,
    ) -> None:
        self.workload, self.strategy, self.ranks = workload, strategy, ranks
        data: Any = data_of(workload, "valid")
        self.samples = min(len(data), most) if most else len(data)
        if self.samples == 0:
            raise TrialError("the valid part has no sample, so nothing can be evaluated")
        mine = shares(self.samples, batch_size, ranks)[rank::ranks]
        self._weight = sum(map(len, mine))
        # a rank without a sample of its own takes part with the first one, which then counts for nothing
        self._loader = DataLoader(
            data,
            batch_sampler=[list(m) or [0] for m in mine],
            collate_fn=workload.collate,
            num_workers=workers,
            pin_memory=strategy.device.type == "cuda",
            generator=torch.Generator(),
        )

    def metrics(self) -> dict[str, float]:
        """Return the workload's metrics, the same on every rank; training goes on as if nothing had happened."""
        _agree_on_buffers(self.strategy)
        found = self._found(to_device(b, self.strategy.device) for b in self._loader)
        return found if self.ranks == 1 else self._joined(found)

    def check(self, metric: str, whose: str) -> None:
        """Raise TrialError where the workload gives no such metric, by a look at one batch."""
        names = self._found([to_device(next(iter(self._loader)), self.strategy.device)])
        if metric not in names:
            raise TrialError(f"{whose} metric is {metric}; this workload gives {', '.join(names)}")

    def _found(self, batches: Iterator[Any] | list[Any]) -> dict[str, float]:
        bare, device = self.strategy.bare, self.strategy.device
        modes = [(module, module.training) for module in bare.modules()]
        bare.eval()
        try:
            with (
                torch.random.fork_rng([device] if device.type == "cuda" else []),
                torch.no_grad(),
                self.strategy.cast(),
            ):
                return checked_metrics(
                    self.workload, self.strategy.plainly(self.workload.evaluate, batches)
                )
        finally:
            for module, was in modes:
                module.training = was

    def _joined(self, mine: dict[str, float]) -> dict[str, float]:
        names = sorted(mine)
        values = [math.log(mine[n]) if n == GEOMETRIC else mine[n] for n in names]
        sums = [self._weight * v if self._weight else 0.0 for v in values]
        # in single precision a sum over many samples would lose digits
        kind = torch.float64 if self.strategy.device.type in ("cpu", "cuda") else torch.float32
        total = torch.tensor([float(self._weight), *sums], dtype=kind, device=self.strategy.device)
        dist.all_reduce(total)
        weight, *joined = total.tolist()
        means = dict(zip(names, (s / weight for s in joined), strict=True))
        return {n: math.exp(means[n]) if n == GEOMETRIC else means[n] for n in mine}


def shares(samples: int, batch_size: int, ranks: int) -> list[range]:
    """Return the samples of each batch, dealt to the ranks in turn: equally many a rank, sizes within one of another.

    Some are empty where there are fewer samples than ranks.
    """
    batches = ranks * math.ceil(samples / (ranks * batch_size))
    return [range(samples * k // batches, samples * (k + 1) // batches) for k in range(batches)]


def _agree_on_buffers(strategy: Strategy) -> None:
    # what a replica would do at its next step: running means and the like are those of rank 0
    if isinstance(strategy, Replicated) and strategy.replica is not None:
        for buffer in strategy.bare.buffers():
            dist.broadcast(buffer, 0)
