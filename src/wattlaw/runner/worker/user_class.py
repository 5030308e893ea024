"""What a user's own class gave, checked as it is taken: one line in place of a traceback from within torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sized
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from wattlaw.core.errors import TrialError
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Split, Workload


def workload_of(name: str, preset: str, options: Mapping[str, OptionValue]) -> Workload:
    """Return the workload of a name. Raises TrialError where its class does not fill the role."""
    kind: Any = load(WORKLOADS, name)
    if isinstance(kind, type) and not issubclass(kind, Workload):
        raise TrialError(
            f"{name} is no workload; let it inherit from wattlaw.workloads.base.Workload"
        )
    if inspect.isabstract(kind):
        raise TrialError(f"{name} lacks the methods {', '.join(sorted(kind.__abstractmethods__))}")
    workload: Any = kind(preset, options)
    if not isinstance(workload, Workload):
        raise TrialError(
            f"{name} gave {_kind(workload)}; a wattlaw.workloads.base.Workload is asked for"
        )
    if "chosen" not in vars(workload):
        raise TrialError(
            f"{name}: its __init__(self, preset, options) must call super().__init__(preset, options)"
        )
    if not isinstance(workload.batch, Mapping):
        raise TrialError(
            f'{name}: its batch is {workload.batch!r}; a size by preset is asked for, as {{"base": 32}}'
        )
    return workload


def model_of(workload: Workload) -> nn.Module:
    """Return a workload's new model. Raises TrialError where it is none, or has nothing to train."""
    model: Any = workload.model()
    if not isinstance(model, nn.Module):
        raise TrialError(
            f"{_name(workload)}.model() gave {_kind(model)}; it must return a torch.nn.Module"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise TrialError(f"the model of {_name(workload)} has no parameter to train")
    return model


def data_of(workload: Workload, split: Split) -> Dataset[Any]:
    """Return a part of a workload's data. Raises TrialError where it is not map-style."""
    data: Any = workload.data(split)
    if not isinstance(data, Sized) or isinstance(data, DataLoader | IterableDataset):
        raise TrialError(
            f"{_name(workload)}.data({split!r}) gave {_kind(data)}; it must return single samples by number, with "
            "__len__ and __getitem__, such as a list or a map-style torch Dataset; the runner makes the batches"
        )
    return data  # type: ignore[return-value]


def optimiser_of(workload: Workload, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return a workload's optimiser. Raises TrialError where it is none that one backward pass is enough for."""
    optimiser: Any = workload.optimiser(parameters)
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise TrialError(
            f"{_name(workload)}.optimiser(parameters) gave {_kind(optimiser)}; it must return one torch "
            "Optimizer (a schedule is the option `schedule`)"
        )
    if isinstance(optimiser, torch.optim.LBFGS):
        raise TrialError(
            "LBFGS calculates the loss several times a step, which this loop does not; choose another"
        )
    return optimiser


def checked_loss(workload: Workload, loss: Any) -> Tensor:
    """Return a loss. Raises TrialError where it is no single number that hangs on the parameters."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        kind = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else _kind(loss)
        raise TrialError(
            f"{_name(workload)}.loss(model, batch) gave {kind}; it must return one number as a tensor"
        )
    if not loss.requires_grad:
        raise TrialError(
            f"the loss of {_name(workload)} depends on no parameter that is trained; is it detached?"
        )
    return loss


def checked_metrics(workload: Workload, found: Any) -> dict[str, float]:
    """Return metrics as numbers by name. Raises TrialError where they are something else."""
    values = found if isinstance(found, dict) else {}
    numbers = {str(n): float(v) for n, v in values.items() if isinstance(v, Real) or _is_number(v)}
    if not numbers or len(numbers) < len(values):
        odd = next(
            (f"{n!r} as {_kind(v)}" for n, v in values.items() if str(n) not in numbers),
            _kind(found),
        )
        raise TrialError(
            f"{_name(workload)}.evaluate(model, batches) gave {odd}; it must return numbers by name"
        )
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()


def _name(workload: Workload) -> str:
    return type(workload).__name__


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
