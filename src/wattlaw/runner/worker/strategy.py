"""How a model is spread over the ranks, cast to a precision, compiled and checkpointed.

``ddp`` keeps the whole model on every rank and averages gradients; ``fsdp`` (FSDP2) keeps a shard
of every parameter, gradient and optimiser state, and gathers a block's parameters when needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from wattlaw.core.errors import SettingError, TrialError
from wattlaw.core.setting import OptionValue
from wattlaw.runner.worker.activation_checkpointing import checkpoint_blocks
from wattlaw.runner.worker.device_timer import AnyClock
from wattlaw.workloads.base import Workload

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_CAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Compiling(NamedTuple):
    """How torch.compile is called; ``dynamic`` is for batches whose shapes vary."""

    dynamic: bool | None = None
    backend: str = "inductor"


class Strategy(ABC):
    """A model as its rank trains it.

    bare               the model itself: its parameters are those of the optimiser
    exchange           mark of the moment at which the all-reduce of the last gradients of a
                       backward pass started; None if there was none
    has_exchange_mark  whether the time after ``exchange`` is all the communication that does not
                       overlap with computation
    """

    has_exchange_mark = True

    def __init__(
        self, bare: nn.Module, precision: str, device: torch.device, clock: AnyClock
    ) -> None:
        self.bare, self.precision, self.device, self.clock = bare, precision, device, clock
        self.exchange: object = None

    def cast(self) -> AbstractContextManager[object]:
        """Return the context in which the loss is computed: autocast for bf16 and fp16."""
        if self.precision not in _CAST:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _CAST[self.precision])

    @abstractmethod
    def calculate(self, function: Callable[[nn.Module, Batch], Result], batch: Batch) -> Result:
        """Return ``function(model, batch)``; it may call the model, its parts and its methods."""

    def run_bare(self, function: Callable[[nn.Module, Batch], Result], batches: Batch) -> Result:
        """Return ``function(bare, batches)``: the model is not compiled, nothing is exchanged."""
        return function(self.bare, batches)

    def check_exchanged(self) -> None:  # noqa: B027
        """Raise TrialError if gradients that should have been exchanged were not."""

    @abstractmethod
    def no_sync(self, is_held: bool) -> AbstractContextManager[object]:
        """Return the context of passes whose gradients are not reduced yet if ``is_held``."""


class _Pass(nn.Module):
    """One forward pass that calls any function of a model, which DDP and FSDP see as one module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module, Batch], Result], batch: Batch) -> Result:
        return function(self.model, batch)


class Replicated(Strategy):
    """One device, or the whole model on each device with gradients averaged by DDP.

    ``uses_all`` says that every parameter takes part in every loss; else DDP searches for those
    that do not.
    """

    def __init__(
        self,
        bare: nn.Module,
        precision: str,
        device: torch.device,
        clock: AnyClock,
        compiling: Compiling | None,
        uses_all: bool = True,
    ) -> None:
        super().__init__(bare, precision, device, clock)
        self.model: nn.Module = bare
        if compiling:
            self.model = torch.compile(bare, **compiling._asdict())  # type: ignore[assignment]
        self.is_exchanged, self.replica = True, None
        if ranks() > 1:
            # about sides of length 1, as in 1 × 1 convolutions, whose strides mean nothing
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            ids = [device.index] if device.type == "cuda" else None
            self.replica = DistributedDataParallel(
                _Pass(self.model), device_ids=ids, find_unused_parameters=not uses_all
            )
            self.replica.register_comm_hook(self, _marked_allreduce)

    def calculate(self, function: Callable[[nn.Module, Batch], Result], batch: Batch) -> Result:
        if self.replica is None:
            return function(self.model, batch)
        self.is_exchanged = not self.replica.require_backward_grad_sync
        result: Result = self.replica(function, batch)
        return result

    def check_exchanged(self) -> None:
        if not self.is_exchanged:
            unused = []
            for name, parameter in self.bare.named_parameters():
                if parameter.requires_grad and parameter.grad is None:
                    unused.append(name)
            raise TrialError(_unused_parameters(unused))

    def no_sync(self, is_held: bool) -> AbstractContextManager[object]:
        if is_held and self.replica is not None:
            return self.replica.no_sync()
        return contextlib.nullcontext()


def _unused_parameters(names: Sequence[str]) -> str:
    if not names:
        which = "some parameters"
    elif len(names) == 1:
        which = f"the parameter {names[0]}"
    else:
        which = f"{len(names)} parameters, such as {names[0]},"
    return (
        f"{which} took no part in the loss, but the other ranks wait for every gradient; set "
        "uses_all = False in the class of the workload, or remove such parameters from the model"
    )


class Sharded(Strategy):
    """The blocks of a model, and the rest of it, each sharded over all ranks by FSDP2."""

    has_exchange_mark = False

    def __init__(
        self,
        bare: nn.Module,
        blocks: Sequence[nn.Module],
        precision: str,
        device: torch.device,
        clock: AnyClock,
        compiling: Compiling | None,
    ) -> None:
        super().__init__(bare, precision, device, clock)
        if compiling:
            for block in blocks or [bare]:
                block.compile(**compiling._asdict())
        for parameter in bare.parameters():
            # FSDP2 shards contiguous tensors only, not weights with their channels last
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(device.type, (ranks(),))
        self.whole = _Pass(bare)
        for part in (*blocks, self.whole):
            fully_shard(part, mesh=mesh, mp_policy=_policy(bare, precision))

    def calculate(self, function: Callable[[nn.Module, Batch], Result], batch: Batch) -> Result:
        result: Result = self.whole(function, batch)
        return result

    def run_bare(self, function: Callable[[nn.Module, Batch], Result], batches: Batch) -> Result:
        return self.calculate(function, batches)

    def no_sync(self, is_held: bool) -> AbstractContextManager[object]:
        assert isinstance(self.whole, FSDPModule)
        self.whole.set_requires_gradient_sync(not is_held)
        return contextlib.nullcontext()


def strategy_for(
    workload: Workload,
    bare: nn.Module,
    precision: str,
    options: Mapping[str, OptionValue],
    device: torch.device,
    clock: AnyClock,
) -> Strategy:
    """Return a model wrapped as the training options say.

    Make the optimiser afterwards: ``fsdp`` replaces the parameters by shards. Raises SettingError
    for activation checkpointing without blocks, for a model that cannot be compiled, and for
    ``fsdp`` with a model that does not use all parameters.
    """
    blocks = workload.blocks(bare)
    if options["activation_checkpointing"]:
        if not blocks:
            raise SettingError(
                "activation_checkpointing needs blocks, and this model has none: put layers into "
                "an nn.ModuleList or nn.Sequential, or give the workload a method blocks(model)"
            )
        checkpoint_blocks(blocks)
    compiling = None
    if options["compile"]:
        _check_compiler(workload, device)
        compiling = Compiling(dynamic=True if workload.is_ragged else None)
    # one device has nothing to shard
    if options["strategy"] == "fsdp" and ranks() > 1:
        if not workload.uses_all:
            raise SettingError(
                "fsdp exchanges the gradients of a block together, so that every parameter must "
                "take part in every loss; this workload says uses_all = False: use strategy ddp"
            )
        is_whole = workload.is_sharded_whole or workload.is_second_order
        return Sharded(bare, () if is_whole else blocks, precision, device, clock, compiling)
    return Replicated(bare, precision, device, clock, compiling, workload.uses_all)


def _check_compiler(workload: Workload, device: torch.device) -> None:
    if workload.is_second_order:
        raise SettingError(
            "compile: PyTorch does not compile second derivatives, which forces need; leave it out"
        )
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    if device.type == "cpu" and not any(map(shutil.which, filter(None, names))):
        raise SettingError(
            "compile needs a C++ compiler on a CPU, and there is none; install g++, or leave it out"
        )


def _policy(model: nn.Module, precision: str) -> MixedPrecisionPolicy:
    # batch norm takes no half-precision parameters; autocast casts those of other layers if needed
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    if precision not in _CAST or has_batch_norm:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(
        param_dtype=_CAST[precision], reduce_dtype=torch.float32, cast_forward_inputs=False
    )


def ranks() -> int:
    """Return the number of ranks of this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this rank."""
    return dist.get_rank() if dist.is_initialized() else 0


# without annotations: DDP reads those of a hook as objects, and postponed ones are strings
def _marked_allreduce(strategy, bucket):  # type: ignore[no-untyped-def]
    strategy.exchange = strategy.clock.mark()
    # buckets are reduced in order: after the last one every gradient is exchanged
    strategy.is_exchanged = bucket.is_last()
    return allreduce_hook(None, bucket)  # type: ignore[arg-type]
