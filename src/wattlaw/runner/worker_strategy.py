"""How one rank's model is spread over the ranks, cast to a precision and compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from wattlaw.core.setting import OptionValue
from wattlaw.runner.worker_clock import Clock

_CAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Strategy:
    """A model as its rank trains it.

    bare      the model itself: its parameters are what an optimiser steps, and what is saved
    model     what the workload's loss calls
    exchange  when the last gradients of a backward pass were handed to the other ranks: a mark of the clock
    """

    def __init__(
        self, bare: nn.Module, precision: str, options: Mapping[str, OptionValue], device: torch.device, clock: Clock
    ) -> None:
        self.bare, self.precision, self.device, self.clock = bare, precision, device, clock
        self.exchange: Any = None
        self.model = self._replicated(options)

    def cast(self) -> AbstractContextManager[Any]:
        """Return the context in which the loss is calculated: autocast for bf16 and fp16."""
        if self.precision not in _CAST:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _CAST[self.precision])

    def quiet(self, hold: bool) -> AbstractContextManager[Any]:
        """Return the context for forward and backward passes whose gradients stay on this rank where ``hold``."""
        if hold and isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _replicated(self, options: Mapping[str, OptionValue]) -> nn.Module:
        whole: nn.Module = torch.compile(self.bare) if options["compile"] else self.bare  # type: ignore[assignment]
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return whole
        ids = [self.device.index] if self.device.type == "cuda" else None
        replica = DistributedDataParallel(whole, device_ids=ids)
        replica.register_comm_hook(self, _noted_allreduce)
        return replica


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and buffers by name, whole and on the CPU, as its bare class names them.

    Every rank must call it at the same time. ``model`` is ``Strategy.bare``.
    """
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}


def load_full_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put what ``full_state`` gave into a model, on every rank. Raises RuntimeError where names or shapes differ."""
    model.load_state_dict(state)


# DDP reads the annotations of a hook as objects, which postponed ones are not: so there are none
def _noted_allreduce(strategy, bucket):  # type: ignore[no-untyped-def]
    strategy.exchange = strategy.clock.mark()
    return allreduce_hook(None, bucket)  # type: ignore[arg-type]
