"""Trained models as safetensors files with the workload's name, preset and options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from wattlaw.core.errors import DataError, UntrustedError, UsageError
from wattlaw.core.files import write_whole
from wattlaw.core.plugins import WORKLOADS, load, need, plugins
from wattlaw.core.run_folder import attempts
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Workload

FORMAT = "1"

MODEL = "model.safetensors"
"""Name of the trained model's file in an attempt's folder."""


class SavedModel(NamedTuple):
    """A trained model and its workload."""

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
    """Write a model, or its weights by name.

    ``name`` is the workload's public name or ``package.module:Class``.
    """
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
    # cloned, because the format refuses weights that share memory
    weights = {
        n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in state.items()
    }
    write_whole(path, torch_file.save(weights, metadata=metadata))


def check_storable(state: Mapping[str, Any]) -> None:
    """Raise UsageError if safetensors cannot store a part of a model's state.

    Such parts are other types than tensors, as ``get_extra_state`` may return, and some dtypes.
    """
    torch_file = need("safetensors.torch", "saving a model")
    for name, value in state.items():
        advice = "checkpoints and save_model need tensors of a dtype that safetensors can store"
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise UsageError(f"{name} of the model's state_dict is a {kind}; {advice}")
        try:
            torch_file.save({name: torch.empty(0, dtype=value.dtype)})
        except (KeyError, ValueError):
            raise UsageError(f"{name} of the model has the dtype {value.dtype}; {advice}") from None


def load_model(path: str | Path, trust: bool | type[Workload] = False) -> SavedModel:
    """Return a trained model in evaluation mode, with its workload.

    ``path`` is a model's file, or the folder of a trial that ran with ``save_model``. A file names
    its workload. One of wattlaw or of an installed plug-in is loaded; a user's own class
    (``package.module:Class``) only with ``trust``: the class itself, or True to import the class
    that the file names, which runs its code.

    Raises DataError if there is no model, UntrustedError if its class is not trusted.
    """
    place = Path(path)
    if not place.is_dir():
        return restore(place, trust)
    for attempt in [place, *reversed(attempts(place))]:
        if (attempt / MODEL).is_file():
            return restore(attempt / MODEL, trust)
    raise DataError(f"{place}: contains no trained model; run the trial with save_model=true")


def restore(path: Path, trust: bool | type[Workload] = False) -> SavedModel:
    """Return a saved model in evaluation mode; see ``load_model``.

    Raises DataError if the file is not a model that wattlaw saved, UntrustedError if its class
    is not trusted.
    """
    torch_file = need("safetensors.torch", "loading a model")
    origin = _read_origin(path)
    workload = _trusted_class(path, origin.workload, trust)(origin.preset, origin.options)
    workload.learnt = origin.learnt
    model = workload.model()
    try:
        model.load_state_dict(torch_file.load_file(str(path)))
    except RuntimeError as error:
        raise UsageError(
            f"{path}: its weights do not fit this version of {origin.workload} ({error})"
        ) from None
    return SavedModel(workload, model.eval())


def _read_origin(path: Path) -> _Origin:
    safetensors = need("safetensors", "loading a model")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file ({error})") from None
    if metadata.get("wattlaw_format") != FORMAT:
        raise DataError(f"{path}: not saved by this version of wattlaw: its metadata is missing")
    try:
        return msgspec.json.decode(metadata.get("origin", ""), type=_Origin)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: its metadata is damaged ({error})") from None


def _trusted_class(path: Path, name: str, trust: bool | type[Workload]) -> type[Workload]:
    if isinstance(trust, type):
        found: object = trust
    elif trust or name in plugins(WORKLOADS):
        found = load(WORKLOADS, name)
    else:
        advice = "if you trust the file, pass the class as trust=, or trust=True to import it"
        raise UntrustedError(f"{path}: its workload is {name}, not one of wattlaw's; {advice}")
    if not (isinstance(found, type) and issubclass(found, Workload)):
        raise UsageError(f"{path}: {name} is not a subclass of wattlaw.workloads.base.Workload")
    return found
