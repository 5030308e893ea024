"""The full state of a model and its optimiser, gathered from shards and loaded back into them.

Every rank must call these functions at the same time. Without ``fsdp`` nothing is communicated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

StateDict: TypeAlias = dict[str, Any]
"""What torch's ``state_dict`` methods return: tensors, numbers and further dicts."""


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name as full copies on the CPU.

    ``model`` is ``Strategy.bare``. A tensor that has two names appears under both.
    """
    return {name: _gathered(value) for name, value in model.state_dict().items()}


def load_full_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what ``full_state`` returned. Raises RuntimeError if names or shapes differ."""
    own = model.state_dict()
    model.load_state_dict({name: _shard(value, own.get(name)) for name, value in state.items()})


def full_optimiser_state(optimiser: torch.optim.Optimizer) -> StateDict:
    """Return an optimiser's ``state_dict`` with its tensors as full copies on the CPU."""
    state = optimiser.state_dict()
    gathered: dict[int, StateDict] = {}
    for number, values in state["state"].items():
        gathered[number] = {}
        for name, value in values.items():
            if isinstance(value, Tensor):
                value = _gathered(value)
            gathered[number][name] = value
    return {**state, "state": gathered}


def load_full_optimiser_state(optimiser: torch.optim.Optimizer, state: StateDict) -> None:
    """Load what ``full_optimiser_state`` returned into an optimiser of the same parameters."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    own: dict[int, StateDict] = {}
    for number, values in state["state"].items():
        own[number] = {}
        for name, value in values.items():
            if isinstance(value, Tensor):
                value = _like(value, parameters[number])
            own[number][name] = value
    optimiser.load_state_dict({**state, "state": own})


def _gathered(value: Tensor) -> Tensor:
    if isinstance(value, DTensor):
        full: Tensor = value.full_tensor().detach().cpu()
        return full
    # a copy in any case: training continues in place
    return value.detach().to("cpu", copy=True)


def _shard(value: Tensor, like: Tensor | None) -> Tensor:
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.clone()


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a tensor of an optimiser's state, sharded and laid out as its parameter."""
    if value.shape != parameter.shape or not value.dim():
        # not one number per element, for example Adam's step count; a copy, as optimisers keep it
        return value.clone()
    if isinstance(parameter, DTensor):
        return _shard(value, parameter)
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
