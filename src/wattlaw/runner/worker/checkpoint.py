"""Checkpoints: all that a training needs to go on as if it had not stopped.

    checkpoint-<step>/model.safetensors        weights and buffers
                      optimiser.safetensors    the optimiser's tensors, as <parameter's number>/<name>
                      checkpoint.json          progress, the optimiser's numbers, scaler, schedules
                      rank-<rank>.safetensors  states of torch's generators
                      rank-<rank>.json         position in the data, states of numpy's and Python's generators

The folder is written beside its place and then renamed. Nothing is pickled.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from wattlaw.core.errors import TrialError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.plugins import need
from wattlaw.runner.rank_spec import CHECKPOINT
from wattlaw.runner.worker.data import Batches, Position
from wattlaw.runner.worker.schedule import Plateau
from wattlaw.runner.worker.state import (
    full_optimiser_state,
    full_state,
    load_full_optimiser_state,
    load_full_state,
)
from wattlaw.runner.worker.strategy import Strategy

FORMAT = 1


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training is: steps taken, warm-up included, and the seconds of measured steps behind it."""

    taken: int
    measured_s: float = 0.0


class _Whole(msgspec.Struct, kw_only=True):
    format: int = FORMAT
    progress: Progress
    groups: list[dict[str, Any]]
    numbers: dict[str, dict[str, Any]]
    scaler: dict[str, Any]
    schedule: dict[str, Any]
    plateau: dict[str, float] = {}


class _Own(msgspec.Struct, kw_only=True):
    position: tuple[int, int]
    numpy: dict[str, Any]
    python: tuple[int, list[int], float | None]


class Checkpoints:
    """Writes and reads the checkpoints of one rank; every rank calls each method at the same time."""

    def __init__(
        self, strategy: Strategy, optimiser: torch.optim.Optimizer, scaler: Any, schedule: Any, data: Batches,
        plateau: Plateau | None = None,
    ) -> None:  # fmt: skip
        self.strategy, self.optimiser, self.scaler, self.schedule = (
            strategy,
            optimiser,
            scaler,
            schedule,
        )
        self.plateau = plateau
        self.data, self.files = data, need("safetensors.torch", "a checkpoint")
        self.damaged = need("safetensors", "a checkpoint").SafetensorError
        self.rank = dist.get_rank() if dist.is_initialized() else 0

    def write(self, attempt: Path, progress: Progress) -> None:
        """Write a checkpoint into an attempt's folder; earlier ones in it are deleted once it is whole."""
        beside, place = (
            attempt / f".{CHECKPOINT}{progress.taken}.part",
            attempt / f"{CHECKPOINT}{progress.taken}",
        )
        if self.rank == 0:
            shutil.rmtree(beside, ignore_errors=True)
            with explained(beside):
                beside.mkdir()
        _wait()
        weights = full_state(self.strategy.bare)
        state = full_optimiser_state(self.optimiser)
        self._write_own(beside)
        if self.rank == 0:
            self._write_whole(beside, weights, state, progress)
        _wait()
        if self.rank == 0:
            with explained(place):
                os.replace(beside, place)
            for old in attempt.glob(f"{CHECKPOINT}*"):
                if old != place:
                    shutil.rmtree(old)

    def read(self, folder: Path) -> Progress:
        """Bring back a checkpoint and return how far it was. Raises TrialError where it is damaged."""
        try:
            with explained(folder, "read"):
                return self._read(folder)
        except (msgspec.MsgspecError, KeyError, ValueError, RuntimeError, self.damaged) as error:
            raise TrialError(
                f"{folder} is damaged ({error}); delete it and run the trial again"
            ) from error

    def _read(self, folder: Path) -> Progress:
        whole = msgspec.json.decode((folder / "checkpoint.json").read_bytes(), type=_Whole)
        if whole.format > FORMAT:
            raise ValueError(f"format {whole.format} is newer than this wattlaw's {FORMAT}")
        load_full_state(self.strategy.bare, self.files.load_file(folder / "model.safetensors"))
        state: dict[int, dict[str, Any]] = {int(k): of for k, of in whole.numbers.items()}
        for key, value in self.files.load_file(folder / "optimiser.safetensors").items():
            parameter, name = key.split("/", 1)
            state.setdefault(int(parameter), {})[name] = value
        known = {"state": state, "param_groups": whole.groups}
        load_full_optimiser_state(self.optimiser, known)
        if whole.scaler:
            self.scaler.load_state_dict(whole.scaler)
        if self.schedule is not None:
            self.schedule.load_state_dict(whole.schedule)
        if self.plateau and whole.plateau:
            self.plateau.bring_back(whole.plateau)
        self._read_own(folder)
        return whole.progress

    def _write_whole(
        self, folder: Path, weights: dict[str, Tensor], state: Any, progress: Progress
    ) -> None:
        tensors, numbers = {}, dict[str, dict[str, Any]]()
        for parameter, values in state["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"{parameter}/{name}"] = value
                else:
                    numbers.setdefault(str(parameter), {})[name] = value
        self._save(folder / "model.safetensors", weights)
        self._save(folder / "optimiser.safetensors", tensors)
        whole = _Whole(
            progress=progress,
            groups=state["param_groups"],
            numbers=numbers,
            scaler=self.scaler.state_dict(),
            schedule=_without_functions(self.schedule.state_dict())
            if self.schedule is not None
            else {},
            plateau=self.plateau.state() if self.plateau else {},
        )
        write_whole(folder / "checkpoint.json", _as_json(whole))

    def _write_own(self, folder: Path) -> None:
        generators = {"torch": torch.get_rng_state()}
        if self.strategy.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.strategy.device)
        self._save(folder / f"rank-{self.rank}.safetensors", generators)
        numpy = dict(np.random.get_state(legacy=False))
        numpy["state"] = {
            n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in numpy["state"].items()
        }
        kind, words, spare = random.getstate()
        epoch, batch = self.data.position
        own = _Own(position=(epoch, batch), numpy=numpy, python=(kind, list(words), spare))
        write_whole(folder / f"rank-{self.rank}.json", _as_json(own))

    def _read_own(self, folder: Path) -> None:
        own = msgspec.json.decode((folder / f"rank-{self.rank}.json").read_bytes(), type=_Own)
        self.data.move_to(Position(*own.position))
        own.numpy["state"]["key"] = np.array(own.numpy["state"]["key"], np.uint32)
        np.random.set_state(own.numpy)
        kind, words, spare = own.python
        random.setstate((kind, tuple(words), spare))
        generators = self.files.load_file(folder / f"rank-{self.rank}.safetensors")
        torch.set_rng_state(generators["torch"])
        if "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.strategy.device)

    def _save(self, path: Path, tensors: dict[str, Tensor]) -> None:
        with explained(path):
            # clones: weights that two modules share are one tensor in memory, which the format refuses
            self.files.save_file(
                {name: value.contiguous().clone() for name, value in tensors.items()}, path
            )
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _without_functions(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [None] * len(value) if name == "lr_lambdas" else value
        for name, value in state.items()
    }


def _as_json(values: Any) -> bytes:
    try:
        return msgspec.json.encode(values)
    except (TypeError, msgspec.MsgspecError) as error:
        raise TrialError(
            f"this optimiser's state is more than tensors and numbers ({error}): no checkpoint"
        ) from None
