"""Evaluation on the validation set, shared among the ranks, with the workload's own metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from wattlaw.core.errors import TrialError
from wattlaw.runner.worker.rank_batches import to_device
from wattlaw.runner.worker.strategy import Replicated, Strategy
from wattlaw.runner.worker.user_class import checked_metrics, data_of, length_of
from wattlaw.workloads.base import Workload

GEOMETRIC = "perplexity"
"""Other metrics are means over samples; this one is the exponential of a mean."""


class Evaluation:
    """Evaluates a model as its rank trains it; ``samples`` of the validation set, over all ranks.

    Every rank has the same number of batches, as sharded models need, and each sample counts once.
    """

    def __init__(
        self,
        workload: Workload,
        strategy: Strategy,
        batch_size: int,
        *,
        most_samples: int,
        loader_workers: int,
        ranks: int,
        rank: int,
    ) -> None:
        self.workload, self.strategy, self.ranks = workload, strategy, ranks
        data = data_of(workload, "valid")
        size = length_of(data)
        self.samples = min(size, most_samples or size)
        if self.samples == 0:
            raise TrialError("the validation set is empty, so nothing can be evaluated")
        own = shares(self.samples, batch_size, ranks)[rank::ranks]
        self._weight = sum(map(len, own))
        # a rank without samples takes part with the first sample, which then has no weight
        indices = [list(batch) or [0] for batch in own]
        self._loader: DataLoader[object] = DataLoader(
            data,
            batch_sampler=indices,
            collate_fn=workload.collate,
            num_workers=loader_workers,
            pin_memory=strategy.device.type == "cuda",
            generator=torch.Generator(),
        )

    def metrics(self) -> dict[str, float]:
        """Return the workload's metrics, the same on every rank; the training is not affected."""
        _synchronise_buffers(self.strategy)
        own = self._evaluate(to_device(batch, self.strategy.device) for batch in self._loader)
        if self.ranks == 1:
            return own
        return self._mean_over_ranks(own)

    def check(self, metric: str, whose: str) -> None:
        """Raise TrialError if the workload has no such metric, judging by one batch."""
        first = to_device(next(iter(self._loader)), self.strategy.device)
        names = self._evaluate([first])
        if metric not in names:
            known = ", ".join(names)
            raise TrialError(f"{whose} metric is {metric}; this workload has {known}")

    def _evaluate(self, batches: Iterable[object]) -> dict[str, float]:
        bare, device = self.strategy.bare, self.strategy.device
        modes = [(module, module.training) for module in bare.modules()]
        bare.eval()
        try:
            with (
                torch.random.fork_rng([device] if device.type == "cuda" else []),
                torch.no_grad(),
                self.strategy.cast(),
            ):
                found = self.strategy.run_bare(self.workload.evaluate, batches)
                return checked_metrics(self.workload, found)
        finally:
            for module, mode in modes:
                module.training = mode

    def _mean_over_ranks(self, own: dict[str, float]) -> dict[str, float]:
        names = sorted(own)
        sums = [0.0] * len(names)
        if self._weight:
            sums = [self._weight * _as_mean(name, own[name]) for name in names]
        # a single-precision sum over many samples would lose digits
        kind = torch.float64 if self.strategy.device.type in ("cpu", "cuda") else torch.float32
        total = torch.tensor([float(self._weight), *sums], dtype=kind, device=self.strategy.device)
        dist.all_reduce(total)
        weight, *sums = total.tolist()
        means = {}
        for name, value in zip(names, sums, strict=True):
            mean = value / weight
            means[name] = math.exp(mean) if name == GEOMETRIC else mean
        return {name: means[name] for name in own}


def _as_mean(name: str, value: float) -> float:
    """Return a metric as a mean over samples."""
    return math.log(value) if name == GEOMETRIC else value


def shares(samples: int, batch_size: int, ranks: int) -> list[range]:
    """Return the samples of each batch; batch k belongs to rank k modulo ``ranks``.

    Every rank has the same number of batches, and their sizes differ by at most one. Some are empty
    if there are fewer samples than ranks.
    """
    batches = ranks * math.ceil(samples / (ranks * batch_size))
    return [range(samples * k // batches, samples * (k + 1) // batches) for k in range(batches)]


def _synchronise_buffers(strategy: Strategy) -> None:
    # as DDP does before its next step: running means and other buffers become those of rank 0
    if isinstance(strategy, Replicated) and strategy.replica is not None:
        for buffer in strategy.bare.buffers():
            dist.broadcast(buffer, 0)
