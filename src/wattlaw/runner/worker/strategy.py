"""How one rank's model is spread over the ranks, cast to a precision, compiled and made to keep less.

``ddp`` keeps the whole model on every rank and averages gradients; ``fsdp`` (FSDP2) keeps a share of every
parameter, its gradient and its optimiser state, and gathers a block's parameters when they are used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from wattlaw.core.errors import SettingError, TrialError
from wattlaw.core.setting import OptionValue
from wattlaw.runner.worker.device_timer import Clock
from wattlaw.runner.worker.recompute import checkpoint_blocks
from wattlaw.workloads.base import Workload

Compiling = Mapping[str, Any]
"""Options of torch.compile."""

_CAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Strategy(ABC):
    """A model as its rank trains it.

    bare      the model itself: its parameters are what an optimiser steps, and what ``full_state`` takes
    exchange  when the last gradients of a backward pass were handed to the other ranks, a mark of the clock;
              None where all of the exchange lies within the passes or there was none
    tells     whether the time after ``exchange`` is all of the exchange that computing does not hide
    """

    tells = True

    def __init__(self, bare: nn.Module, precision: str, device: torch.device, clock: Clock) -> None:
        self.bare, self.precision, self.device, self.clock = bare, precision, device, clock
        self.exchange: Any = None

    def cast(self) -> AbstractContextManager[Any]:
        """Return the context in which the loss is calculated: autocast for bf16 and fp16."""
        if self.precision not in _CAST:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _CAST[self.precision])

    @abstractmethod
    def calculate(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        """Return ``function(model, batch)``, such as a loss; it may call the model, its parts and its methods."""

    def plainly(self, function: Callable[[nn.Module, Any], Any], batches: Any) -> Any:
        """Return ``function(model, batches)`` of the model as it is: not compiled, and nothing of it exchanged."""
        return function(self.bare, batches)

    def check_exchanged(self) -> None:  # noqa: B027
        """Raise TrialError where gradients of the backward pass just done should have been exchanged and were not."""

    @abstractmethod
    def quiet(self, hold: bool) -> AbstractContextManager[Any]:
        """Return the context for forward and backward passes whose gradients stay on this rank where ``hold``."""


class _Pass(nn.Module):
    """One forward pass that calls a function of a model, so that DDP and FSDP see one, whatever the function calls."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        return function(self.model, batch)


class Replicated(Strategy):
    """One device, or a whole model on each with gradients averaged by DDP.

    ``uses_all`` says that every parameter takes part in every loss; else DDP looks for those that do not.
    """

    def __init__(
        self, bare: nn.Module, precision: str, device: torch.device, clock: Clock, compiling: Compiling | None,
        uses_all: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(bare, precision, device, clock)
        self.model: nn.Module = bare
        if compiling:
            self.model = torch.compile(bare, **compiling)  # type: ignore[assignment]
        self.is_exchanged, self.replica = True, None
        if _ranks() > 1:
            # said of sides of length 1, whose strides mean nothing, as those of 1 × 1 convolutions
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            ids = [device.index] if device.type == "cuda" else None
            self.replica = DistributedDataParallel(
                _Pass(self.model), device_ids=ids, find_unused_parameters=not uses_all
            )
            self.replica.register_comm_hook(self, _noted_allreduce)

    def calculate(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        if self.replica is None:
            return function(self.model, batch)
        self.is_exchanged = not self.replica.require_backward_grad_sync
        return self.replica(function, batch)

    def check_exchanged(self) -> None:
        if not self.is_exchanged:
            idle = [
                n for n, p in self.bare.named_parameters() if p.requires_grad and p.grad is None
            ]
            raise TrialError(_left_out(idle))

    def quiet(self, hold: bool) -> AbstractContextManager[Any]:
        if hold and self.replica is not None:
            return self.replica.no_sync()
        return contextlib.nullcontext()


def _left_out(idle: Sequence[str]) -> str:
    some = (
        f"{len(idle)} parameters, such as {idle[0]},"
        if len(idle) > 1
        else f"the parameter {idle[0]}"
    )
    who = some if idle else "some parameters"
    return (
        f"{who} took no part in the loss, but the other devices wait for every gradient; set uses_all = False in the "
        "class of the workload, or take such parameters out of the model"
    )


class Sharded(Strategy):
    """Blocks, and what is left of the model, each sharded over all ranks by FSDP2."""

    tells = False

    def __init__(
        self, bare: nn.Module, blocks: Sequence[nn.Module], precision: str, device: torch.device, clock: Clock,
        compiling: Compiling | None,
    ) -> None:  # fmt: skip
        super().__init__(bare, precision, device, clock)
        if compiling:
            for block in blocks or [bare]:
                block.compile(**compiling)
        for parameter in bare.parameters():
            # FSDP2 shards nothing that lies otherwise, such as weights with their channels last
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(device.type, (_ranks(),))
        self.whole = _Pass(bare)
        for part in (*blocks, self.whole):
            fully_shard(part, mesh=mesh, mp_policy=_policy(bare, precision))

    def calculate(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        return self.whole(function, batch)

    def plainly(self, function: Callable[[nn.Module, Any], Any], batches: Any) -> Any:
        return self.whole(function, batches)

    def quiet(self, hold: bool) -> AbstractContextManager[Any]:
        assert isinstance(self.whole, FSDPModule)
        self.whole.set_requires_gradient_sync(not hold)
        return contextlib.nullcontext()


def strategy_for(
    workload: Workload,
    bare: nn.Module,
    precision: str,
    options: Mapping[str, OptionValue],
    device: torch.device,
    clock: Clock,
) -> Strategy:
    """Return a model as the runner's options have it wrapped.

    Make the optimiser afterwards: ``fsdp`` puts shards in the place of the parameters. Raises SettingError
    where activations are to be checkpointed but the model has no blocks, a model cannot be compiled, or one that
    leaves parameters out is to be sharded.
    """
    blocks = workload.blocks(bare)
    if options["activation_checkpointing"]:
        if not blocks:
            raise SettingError(
                "activation_checkpointing needs blocks, and this model has none: layers within an nn.ModuleList "
                "or nn.Sequential, or give the workload a method blocks(model)"
            )
        checkpoint_blocks(blocks)
    compiling: Compiling | None = None
    if options["compile"]:
        _check_compiler(workload, device)
        compiling = {"dynamic": True if workload.is_ragged else None}
    # one device has nothing to shard
    if options["strategy"] == "fsdp" and _ranks() > 1:
        if not workload.uses_all:
            raise SettingError(
                "fsdp exchanges the gradients of a block as one, so that every parameter must take part in every loss; "
                "this workload says uses_all = False: take strategy ddp"
            )
        apart = () if workload.is_sharded_whole or workload.is_second_order else blocks
        return Sharded(bare, apart, precision, device, clock, compiling)
    return Replicated(bare, precision, device, clock, compiling, workload.uses_all)


def _check_compiler(workload: Workload, device: torch.device) -> None:
    if workload.is_second_order:
        raise SettingError(
            "compile: PyTorch compiles no derivatives of derivatives, which forces need; leave it out"
        )
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    if device.type == "cpu" and not any(map(shutil.which, filter(None, names))):
        raise SettingError(
            "compile needs a C++ compiler on a CPU, and there is none; install g++, or leave it out"
        )


def _policy(model: nn.Module, precision: str) -> MixedPrecisionPolicy:
    # batch norm takes no parameters of half precision; autocast casts the others' where they are used
    if precision not in _CAST or any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()
    ):
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(
        param_dtype=_CAST[precision], reduce_dtype=torch.float32, cast_forward_inputs=False
    )


def _ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


# DDP reads the annotations of a hook as objects, which postponed ones are not: so there are none
def _noted_allreduce(strategy, bucket):  # type: ignore[no-untyped-def]
    strategy.exchange = strategy.clock.mark()
    # a bucket is handed over once all before it were: after the last, every gradient has been exchanged
    strategy.is_exchanged = bucket.is_last()
    return allreduce_hook(None, bucket)  # type: ignore[arg-type]
