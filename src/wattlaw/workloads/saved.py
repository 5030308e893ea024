"""Trained models as files: safetensors, with the workload's name, preset and options beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from wattlaw.core.errors import DataError, UsageError
from wattlaw.core.files import write_whole
from wattlaw.core.folder import attempts
from wattlaw.core.plugins import WORKLOADS, load, need
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Workload

FORMAT = "1"

MODEL = "model.safetensors"
"""The trained model in the folder of an attempt."""


class Saved(NamedTuple):
    """A model with the workload that made it."""

    workload: Workload
    model: nn.Module


class _Origin(msgspec.Struct):
    workload: str
    preset: str
    options: dict[str, OptionValue]
    learnt: dict[str, list[int]] = {}


def save(
    path: Path, name: str, workload: Workload, model: nn.Module | Mapping[str, Tensor]
) -> None:
    """Write a model, or its weights by name. ``name`` is the workload's public name or ``package.module:Class``."""
    torch_file = need("safetensors.torch", "saving a model")
    origin = {
        "workload": name,
        "preset": workload.preset,
        "options": workload.chosen,
        "learnt": workload.learnt,
    }
    metadata = {"wattlaw_format": FORMAT, "origin": json.dumps(origin, sort_keys=True)}
    state = model.state_dict() if isinstance(model, nn.Module) else model
    check_storable(state)
    # clones: weights that two modules share are one tensor in memory, which the format refuses
    weights = {
        n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in state.items()
    }
    write_whole(path, torch_file.save(weights, metadata=metadata))


def check_storable(state: Mapping[str, Any]) -> None:
    """Raise UsageError where a model's state has what a file of safetensors cannot hold: other kinds of numbers, or
    none at all, as ``get_extra_state`` may give.
    """
    torch_file = need("safetensors.torch", "saving a model")
    for name, value in state.items():
        advice = "checkpoints and save_model need tensors of a kind that safetensors can hold"
        if not isinstance(value, Tensor):
            raise UsageError(
                f"{name} of the model's state_dict is a {type(value).__name__} and no tensor; {advice}"
            )
        try:
            torch_file.save({name: torch.empty(0, dtype=value.dtype)})
        except (KeyError, ValueError):
            raise UsageError(f"{name} of the model is of {value.dtype}; {advice}") from None


def load_model(path: str | Path) -> Saved:
    """Return a trained model in evaluation, with its workload: from its file, or from the folder of a trial.

    A trial has one where it ran with ``save_model``. Raises DataError where there is none.
    """
    place = Path(path)
    if not place.is_dir():
        return restore(place)
    for attempt in [place, *reversed(attempts(place))]:
        if (attempt / MODEL).is_file():
            return restore(attempt / MODEL)
    raise DataError(f"{place}: no trained model in it; run the trial with save_model=true")


def restore(path: Path) -> Saved:
    """Return a saved model, in evaluation. Raises DataError where the file is no model of wattlaw's."""
    safetensors = need("safetensors", "loading a model")
    torch_file = need("safetensors.torch", "loading a model")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: not a file of safetensors ({error})") from None
    if metadata.get("wattlaw_format") != FORMAT:
        raise DataError(
            f"{path}: saved by something else than this wattlaw; it lacks its description"
        )
    origin = msgspec.json.decode(metadata["origin"], type=_Origin)
    made = load(WORKLOADS, origin.workload)
    workload = made(origin.preset, origin.options)
    workload.learnt = origin.learnt
    model = workload.model()
    try:
        model.load_state_dict(torch_file.load_file(str(path)))
    except RuntimeError as error:
        raise UsageError(
            f"{path}: its weights do not fit {origin.workload} as it is here ({error})"
        ) from None
    return Saved(workload, model.eval())
