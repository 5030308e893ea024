"""Workloads as a user would write them, each in as few lines as the role asks for; some fail on purpose."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch.utils.data import TensorDataset

from wattlaw.workloads.base import Workload


class Line(Workload):
    """A straight line with noise: one linear layer learns it."""

    options = {"noise": 0.1}  # noqa: RUF012

    def model(self):
        return torch.nn.Linear(4, 1)

    def data(self, split):
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(256, 4, generator=draw)
        y = x.sum(1, keepdim=True) + self.chosen["noise"] * torch.randn(256, 1, generator=draw)
        return TensorDataset(x, y)

    def loss(self, model, batch):
        x, y = batch
        return (model(x) - y).square().mean()

    def optimiser(self, parameters):
        return torch.optim.SGD(parameters, lr=0.05)


class Raises(Line):
    """Rank 1 (or the only rank) raises in the middle of training."""

    def loss(self, model, batch):
        self.calls = getattr(self, "calls", 0) + 1
        last = int(os.environ["WORLD_SIZE"]) - 1
        if self.calls == 4 and int(os.environ["RANK"]) == last:
            raise ValueError("the detector fell over")
        return super().loss(model, batch)


class Killed(Line):
    """The last rank is killed by the system, as for want of memory."""

    def loss(self, model, batch):
        if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch)


class Diverges(Line):
    """The loss becomes NaN."""

    def loss(self, model, batch):
        return super().loss(model, batch) * float("nan")


class Hangs(Line):
    """One step never ends."""

    def loss(self, model, batch):
        time.sleep(600)
        return super().loss(model, batch)
