"""What a workload is: a model, its data and its loss. A user's own is one such class in one file.

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
    """A model, its data and its loss, for one device; the runner distributes and measures it.

    presets    sizes on offer; "tiny" takes at most 0.1 s a step on two CPU cores, "base" is as published
    batch      default samples a device and step, by preset
    options    options that this workload understands, with their defaults
    is_second_order    whether the loss is made of the model's own derivatives, as forces are
    clip_norm  the norm to which the published training scales its gradients down; 0 where it does not
    is_sharded_whole   whether parameters are used outside of their block's ``forward``: the strategy fsdp then
               shards the model as one, as it does where the loss is of second order
    is_ragged  whether the shapes of batches differ from step to step, as molecules do; a compiler then makes
               them variable from the start, rather than begin anew
    uses_all   whether every parameter takes part in every loss; where it is False, several devices find out at
               each step which do, which takes time
    notes      warnings that ``data`` leaves: records left out, what was estimated
    learnt     what ``data`` of the training part found that a saved model must know again, such as its elements
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
        """Return a new model on the CPU, its weights drawn from torch's current seed."""

    @abstractmethod
    def data(self, split: Split) -> Dataset[Any]:
        """Return a map-style dataset of single samples."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the mean loss of a batch, a scalar tensor; it may call ``model``, its parts and its methods."""

    def collate(self, samples: Sequence[Any]) -> Any:
        """Join samples to a batch: a tensor, or a dict, list or dataclass-like object with ``.to(device)``."""
        from torch.utils.data import default_collate

        return default_collate(list(samples))

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser that the workload is published with."""
        return torch.optim.AdamW(parameters, lr=1e-3)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        """Return the repeated parts of a model: what is sharded, and calculated again, one by one.

        They are what ``repeated`` finds, unless a workload knows better.
        """
        return repeated(model)

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Return the domain's own metrics over ``batches``, already on the model's device; mean loss by default.

        Each is a mean over samples, so that the shares of several devices can be joined; ``perplexity`` is e to
        one. The loss of a batch counts as often as its first tensor is long.
        """
        pairs = [(float(self.loss(model, batch).detach()), _samples(batch)) for batch in batches]
        whole = sum(n for _, n in pairs)
        return {"loss": sum(loss * n for loss, n in pairs) / whole} if whole else {}


def _samples(batch: Any) -> int:
    """Return the length of a batch's first tensor; 1 where there is none, so that batches count alike."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.dim() else 1
    parts = (
        batch.values()
        if isinstance(batch, Mapping)
        else batch
        if isinstance(batch, list | tuple)
        else ()
    )
    return next(
        (_samples(part) for part in parts if isinstance(part, Tensor | Mapping | list | tuple)), 1
    )


def repeated(model: nn.Module) -> list[nn.Module]:
    """Return the outermost modules that have layers of their own and stand in an nn.ModuleList or nn.Sequential.

    These are a transformer's layers, a ResNet's bottlenecks, the interactions of a network of atoms. A subclass
    of nn.Sequential is one block, and so is an nn.Sequential in such a list that has plain layers alone.
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
