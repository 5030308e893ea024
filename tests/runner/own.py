"""Workloads as a user would write them, as short as the role allows. Some fail on purpose."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch.utils.data import TensorDataset

from wattlaw.workloads.base import Workload
from wattlaw.workloads.language.bert import BertBase
from wattlaw.workloads.molecules.models.schnet import SchNetQM9


class Line(Workload):
    """A straight line with noise, for one linear layer."""

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
    """The system kills the last rank, as when memory runs out."""

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


def _dawdle() -> None:
    # the same trial, slow enough to be killed during training
    time.sleep(float(os.environ.get("TEST_STEP_S", "0")))


class SlowSchNet(SchNetQM9):
    """SchNet with steps of a length set by the test."""

    def loss(self, model, batch):
        _dawdle()
        return super().loss(model, batch)


class SlowBert(BertBase):
    """BERT with dropout and steps of a length set by the test."""

    sizes = {**BertBase.sizes, "tiny": BertBase.sizes["tiny"]._replace(dropout=0.1)}  # noqa: RUF012

    def loss(self, model, batch):
        _dawdle()
        return super().loss(model, batch)


class Noisy(Line):
    """Samples with random noise added when loaded, as in augmentation, and a batch norm."""

    batch = {"base": 8}  # noqa: RUF012

    def model(self):
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
        )

    def data(self, split):
        whole = super().data(split)
        known = torch.utils.data.Subset(whole, range(200) if split == "train" else range(200, 253))
        return _Drawn(known) if split == "train" else known

    def loss(self, model, batch):
        _dawdle()
        return super().loss(model, batch)

    def optimiser(self, parameters):
        return torch.optim.AdamW(parameters, lr=0.05)

    def evaluate(self, model, batches):
        found = super().evaluate(model, batches)
        return {**found, "perplexity": float(torch.tensor(found["loss"]).exp())}


class _Drawn(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        return x + 0.1 * torch.randn(4), y


class Parts(Line):
    """A loss that calls parts of the model instead of the model."""

    def model(self):
        return torch.nn.ModuleDict(
            {"encoder": torch.nn.Linear(4, 8), "head": torch.nn.Linear(8, 1)}
        )

    def loss(self, model, batch):
        x, y = batch
        return (model["head"](model["encoder"](x).tanh()) - y).square().mean()

    def evaluate(self, model, batches):
        return {"loss": torch.stack([self.loss(model, batch) for batch in batches]).mean()}


class Experts(Line):
    """Two layers, each for one kind of sample. Few batches have both kinds."""

    uses_all = False

    def model(self):
        return torch.nn.ModuleList(torch.nn.Linear(4, 1) for _ in range(2))

    def loss(self, model, batch):
        x, y = batch
        kinds = (x[:, 0] > 0.5).long()
        errors = [
            (model[kind](x[kinds == kind]) - y[kinds == kind]).square().sum()
            for kind in kinds.unique()
        ]
        return sum(errors) / len(x)

    def optimiser(self, parameters):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


class Idle(Experts):
    """The same, without declaring unused parameters."""

    uses_all = True


class Lonely:
    """A class with the methods that does not inherit from Workload."""

    def model(self):
        return torch.nn.Linear(4, 1)


class Unfinished(Workload):
    def model(self):
        return torch.nn.Linear(4, 1)


class Forgets(Line):
    def __init__(self, preset, options):
        self.hidden = 3


class Sized(Line):
    batch = 8
