"""A workload: a model, its data and its loss. A user's own workload is one such class in one file.

    class Mine(Workload):
        def model(self): return torch.nn.Linear(4, 1)
        def data(self, split): return MyDataset(split)
        def loss(self, model, batch): return (model(batch["x"]) - batch["y"]).square().mean()

`wattlaw run my_file:Mine --devices 4` then trains it on four devices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.options import checked
from wattlaw.core.reading import Note
from wattlaw.core.setting import OptionValue

METRICS = {"loss": {"title": "loss", "better": "less"}}

Split = Literal["train", "valid", "test"]
Options = Mapping[str, OptionValue]


class Workload(ABC):
    """A model, its data and its loss, written for one device; the runner distributes it.

    presets            sizes; "tiny" takes at most 0.1 s per step on two CPU cores; "base" is as
                       published
    batch              default samples per device and step, by preset
    options            options of this workload with their defaults
    is_second_order    whether the loss contains derivatives of the model, as with forces
    clip_norm          gradient norm at which the published training clips; 0: no clipping
    is_sharded_whole   whether parameters are used outside their block's ``forward``; fsdp then
                       shards the model as one unit, as it does with a second-order loss
    is_ragged          whether the shapes of batches vary between steps, as with molecules; the
                       compiler then uses dynamic shapes from the start
    uses_all           whether every loss uses every parameter; if False, several devices find the
                       unused ones at each step, which takes time
    notes              warnings from ``data``: skipped records, estimates
    learnt             facts from the training data that a saved model needs, such as its elements
    """

    presets: ClassVar[Sequence[str]] = ("base",)
    batch: ClassVar[Mapping[str, int]] = {}
    options: ClassVar[Mapping[str, OptionValue]] = {}
    is_second_order: ClassVar[bool] = False
    clip_norm: ClassVar[float] = 0.0
    is_sharded_whole: ClassVar[bool] = False
    is_ragged: ClassVar[bool] = False
    uses_all: ClassVar[bool] = True

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        if preset not in self.presets:
            raise UnknownNameError("preset", preset, self.presets)
        self.preset = preset
        self.notes: list[Note] = []
        self.learnt: dict[str, list[int]] = {}
        self.chosen: dict[str, OptionValue] = {**self.options}
        for name, value in (options or {}).items():
            if name not in self.options:
                raise UnknownNameError("option", name, self.options)
            self.chosen[name] = checked(name, value, self.options[name])

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a new model on the CPU, initialised from torch's current seed."""

    @abstractmethod
    def data(self, split: Split) -> Dataset[Any]:
        """Return a map-style dataset of single samples."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the mean loss of a batch, a scalar tensor."""

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return samples as a batch: a tensor, a dict, a list, or an object with ``to(device)``."""
        from torch.utils.data import default_collate

        return default_collate(list(samples))

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser that the workload is published with."""
        return torch.optim.AdamW(parameters, lr=1e-3)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        """Return the repeated blocks of a model: units of sharding and activation checkpointing.

        The default is ``repeated_blocks(model)``.
        """
        return repeated_blocks(model)

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Return the metrics of the workload over ``batches``, which are on the model's device.

        The default is the mean loss, with each batch weighted by its number of samples. Every
        metric is a mean over samples, or e to such a mean (``perplexity``), so that the results
        of several devices can be combined.
        """
        total, samples = 0.0, 0
        for batch in batches:
            count = _samples(batch)
            total += float(self.loss(model, batch).detach()) * count
            samples += count
        return {"loss": total / samples} if samples else {}


def _samples(batch: object) -> int:
    """Return the length of a batch's first tensor; 1 if it has no tensor."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.dim() else 1
    parts: Iterable[object] = ()
    if isinstance(batch, Mapping):
        parts = batch.values()
    elif isinstance(batch, list | tuple):
        parts = batch
    for part in parts:
        if isinstance(part, Tensor | Mapping | list | tuple):
            return _samples(part)
    return 1


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the outermost composite modules in an nn.ModuleList or nn.Sequential.

    Examples are a transformer's layers, a ResNet's bottlenecks, SchNet's interactions. A subclass
    of nn.Sequential is one block, and so is an nn.Sequential of plain layers in such a list.
    """
    found: list[nn.Module] = []

    def walk(module: nn.Module, is_listed: bool) -> None:
        for child in module.children():
            is_list = type(child) in (nn.ModuleList, nn.Sequential)
            is_plain = type(child) is nn.Sequential and not any(map(_has_layers, child))
            if is_listed and _has_layers(child) and (is_plain or not is_list):
                found.append(child)
            else:
                walk(child, is_list)

    walk(model, type(model) is nn.Sequential)
    return found


def _has_layers(module: nn.Module) -> bool:
    return next(module.children(), None) is not None
