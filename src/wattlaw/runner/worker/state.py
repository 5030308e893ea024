"""The whole state of a model and its optimiser, gathered from shards and given back to them.

Every rank must call these at the same time. Without ``fsdp`` nothing is exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and buffers by name, whole copies on the CPU, as its bare class names them.

    ``model`` is ``Strategy.bare``. A tensor that stands under two names stands under both here.
    """
    return {name: _whole(value) for name, value in model.state_dict().items()}


def load_full_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put what ``full_state`` gave into a model. Raises RuntimeError where names or shapes differ."""
    own = model.state_dict()
    model.load_state_dict({name: _part(value, own.get(name)) for name, value in state.items()})


def full_optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimiser's ``state_dict``, its tensors as whole copies on the CPU."""
    state = optimiser.state_dict()
    return {
        **state,
        "state": {k: {n: _whole(v) for n, v in of.items()} for k, of in state["state"].items()},
    }


def load_full_optimiser_state(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put what ``full_optimiser_state`` gave into an optimiser of the same parameters."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    parts = {
        k: {n: _held(v, parameters[k]) for n, v in of.items()} for k, of in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": parts})


def _whole(value: Any) -> Any:
    if isinstance(value, DTensor):
        return value.full_tensor().detach().cpu()
    # a copy, as a gathered one is: training goes on in place
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def _part(value: Tensor, like: Tensor | None) -> Tensor:
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.clone()


def _held(value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    # a number for each parameter, such as Adam's count of steps, is no share of it; optimisers keep what they are given
    if value.shape != parameter.shape or not value.dim():
        return value.clone()
    # in the order in memory that the parameter has, as the optimiser made it: it steps through both at once
    return _part(value, parameter) if isinstance(parameter, DTensor) else _like(value, parameter)


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
