"""A workload: a line through noisy points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from wattlaw.workloads.base import Split, Workload

VERSION = 1
DOMAIN = "examples"
METRICS = {
    "slope_error": {"title": "error of the slope", "better": "less", "heading": "slope error"},
}

SLOPE = 3.0


class Line(Workload):
    """Fits y = 3 x + 1 with one weight and one bias."""

    presets: ClassVar[Sequence[str]] = ("tiny", "base")
    batch: ClassVar[Mapping[str, int]] = {"tiny": 8, "base": 256}

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def data(self, split: Split) -> TensorDataset:
        seeds = {"train": 0, "valid": 1, "test": 2}
        noise = torch.Generator().manual_seed(seeds[split])
        x = torch.randn(1024, 1, generator=noise)
        y = SLOPE * x + 1 + 0.1 * torch.randn(1024, 1, generator=noise)
        return TensorDataset(x, y)

    def loss(self, model: nn.Module, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return (model(x) - y).square().mean()

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1)

    def evaluate(self, model: nn.Module, batches: Iterable[list[Tensor]]) -> dict[str, float]:
        """Return the error of the slope; it is the same for every batch."""
        ends = model(torch.tensor([[0.0], [1.0]])).detach()
        return {"slope_error": abs(float(ends[1] - ends[0]) - SLOPE)}
