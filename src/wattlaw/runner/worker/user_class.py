"""Checks what a user's class returns: one line instead of a traceback from inside torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sized
from numbers import Real

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from wattlaw.core.errors import TrialError
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Split, Workload


def workload_of(name: str, preset: str, options: Mapping[str, OptionValue]) -> Workload:
    """Return the workload of a name. Raises TrialError if its class does not fill the role."""
    kind = load(WORKLOADS, name)
    if isinstance(kind, type) and not issubclass(kind, Workload):
        raise TrialError(
            f"{name} is not a workload; derive it from wattlaw.workloads.base.Workload"
        )
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise TrialError(f"{name} lacks the methods {missing}")
    workload = kind(preset, options)
    if not isinstance(workload, Workload):
        raise TrialError(
            f"{name} returned {_kind(workload)}; it must be a wattlaw.workloads.base.Workload"
        )
    if "chosen" not in vars(workload):
        raise TrialError(
            f"{name}: its __init__(self, preset, options) must call "
            "super().__init__(preset, options)"
        )
    if not isinstance(workload.batch, Mapping):
        raise TrialError(
            f"{name}: its batch is {workload.batch!r}; it must map presets to sizes, such as "
            '{"base": 32}'
        )
    return workload


def model_of(workload: Workload) -> nn.Module:
    """Return a workload's new model. Raises TrialError if it is none, or has nothing to train."""
    model: object = workload.model()
    if not isinstance(model, nn.Module):
        name = _name(workload)
        raise TrialError(f"{name}.model() returned {_kind(model)}; it must be a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrialError(f"the model of {_name(workload)} has no parameter to train")
    return model


def data_of(workload: Workload, split: Split) -> Dataset[object]:
    """Return a split of a workload's data. Raises TrialError if it is not map-style."""
    data: Dataset[object] = workload.data(split)
    if not isinstance(data, Sized) or isinstance(data, DataLoader | IterableDataset):
        raise TrialError(
            f"{_name(workload)}.data({split!r}) returned {_kind(data)}; it must give single "
            "samples by number, with __len__ and __getitem__, such as a list or a map-style torch "
            "Dataset; the runner makes the batches"
        )
    return data


def length_of(data: Dataset[object]) -> int:
    """Return the number of samples of data that ``data_of`` returned."""
    assert isinstance(data, Sized)
    return len(data)


def optimiser_of(workload: Workload, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return a workload's optimiser. Raises TrialError if it needs more than one backward pass."""
    optimiser: object = workload.optimiser(parameters)
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise TrialError(
            f"{_name(workload)}.optimiser(parameters) returned {_kind(optimiser)}; it must be one "
            "torch Optimizer (a schedule is the option `schedule`)"
        )
    if isinstance(optimiser, torch.optim.LBFGS):
        raise TrialError(
            "LBFGS computes the loss several times per step, which this loop does not; use another "
            "optimiser"
        )
    return optimiser


def checked_loss(workload: Workload, loss: object) -> Tensor:
    """Return a loss. Raises TrialError unless it is one number that depends on the parameters."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        kind = _kind(loss)
        if isinstance(loss, Tensor):
            kind = f"a tensor of shape {tuple(loss.shape)}"
        name = _name(workload)
        raise TrialError(
            f"{name}.loss(model, batch) returned {kind}; it must be one number as a tensor"
        )
    if not loss.requires_grad:
        raise TrialError(
            f"the loss of {_name(workload)} depends on no trained parameter; is it detached?"
        )
    return loss


def checked_metrics(workload: Workload, found: object) -> dict[str, float]:
    """Return metrics as numbers by name. Raises TrialError if they are anything else."""
    if not isinstance(found, dict) or not found:
        raise _no_metrics(workload, _kind(found))
    numbers = {}
    for name, value in found.items():
        if not isinstance(value, Real) and not _is_number(value):
            raise _no_metrics(workload, f"{name!r} as {_kind(value)}")
        numbers[str(name)] = float(value)
    return numbers


def _no_metrics(workload: Workload, what: str) -> TrialError:
    name = _name(workload)
    return TrialError(
        f"{name}.evaluate(model, batches) returned {what}; it must be numbers by name"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()


def _name(workload: Workload) -> str:
    return type(workload).__name__


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
