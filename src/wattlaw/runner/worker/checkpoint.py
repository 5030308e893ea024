"""Checkpoints: everything that training needs to resume as if it had not stopped.

    checkpoint-<step>/model.safetensors        weights and buffers
                      optimiser.safetensors    the optimiser's tensors, as <parameter>/<name>
                      checkpoint.json          progress, the optimiser's numbers, scaler, schedules
                      rank-<rank>.safetensors  states of torch's generators
                      rank-<rank>.json         position in the data, generators of numpy and Python

The folder is written under another name and then renamed. Nothing is pickled.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from wattlaw.core.errors import TrialError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.plugins import need
from wattlaw.runner.rank_spec import CHECKPOINT
from wattlaw.runner.worker.full_state import (
    StateDict,
    full_optimiser_state,
    full_state,
    load_full_optimiser_state,
    load_full_state,
)
from wattlaw.runner.worker.rank_batches import Batches, Position
from wattlaw.runner.worker.schedule import Plateau
from wattlaw.runner.worker.strategy import Strategy, rank

FORMAT = 1

Json: TypeAlias = dict[str, Any]
"""A JSON object whose fields belong to torch or numpy."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far training is: steps taken, warm-up included, and the time of measured steps, s."""

    taken: int
    measured_s: float = 0.0


class _TrainingState(msgspec.Struct, kw_only=True):
    """checkpoint.json: the state that all ranks share."""

    format: int = FORMAT
    progress: Progress
    groups: list[Json]
    numbers: dict[str, Json]
    scaler: Json
    schedule: Json
    plateau: dict[str, float] = {}


class _RankState(msgspec.Struct, kw_only=True):
    """rank-<rank>.json: the state of one rank."""

    position: tuple[int, int]
    numpy: Json
    python: tuple[int, list[int], float | None]


class Checkpoints(NamedTuple):
    """Writes and reads checkpoints; every rank calls each method at the same time."""

    strategy: Strategy
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: LambdaLR | None
    batches: Batches
    plateau: Plateau | None = None

    @property
    def rank(self) -> int:
        return rank()

    def write(self, attempt: Path, progress: Progress) -> None:
        """Write a checkpoint into an attempt's folder, then delete the earlier ones there."""
        place = attempt / f"{CHECKPOINT}{progress.taken}"
        beside = attempt / f".{place.name}.part"
        if self.rank == 0:
            shutil.rmtree(beside, ignore_errors=True)
            with explained(beside):
                beside.mkdir()
        _wait_for_all_ranks()
        weights = full_state(self.strategy.bare)
        state = full_optimiser_state(self.optimiser)
        self._write_rank(beside)
        if self.rank == 0:
            self._write_training(beside, weights, state, progress)
        _wait_for_all_ranks()
        if self.rank == 0:
            with explained(place):
                os.replace(beside, place)
            for old in attempt.glob(f"{CHECKPOINT}*"):
                if old != place:
                    shutil.rmtree(old)

    def read(self, folder: Path) -> Progress:
        """Restore a checkpoint and return how far it was. Raises TrialError if it is damaged."""
        unreadable = need("safetensors", "a checkpoint").SafetensorError
        try:
            with explained(folder, "read"):
                return self._read(folder)
        except (msgspec.MsgspecError, KeyError, ValueError, RuntimeError, unreadable) as error:
            raise TrialError(
                f"{folder} is damaged ({error}); delete it and run the trial again"
            ) from error

    def _read(self, folder: Path) -> Progress:
        data = (folder / "checkpoint.json").read_bytes()
        whole = msgspec.json.decode(data, type=_TrainingState)
        if whole.format > FORMAT:
            raise ValueError(f"format {whole.format} is newer than this wattlaw's {FORMAT}")
        load_full_state(self.strategy.bare, _load(folder / "model.safetensors"))
        state: dict[int, StateDict] = {int(k): values for k, values in whole.numbers.items()}
        for key, value in _load(folder / "optimiser.safetensors").items():
            parameter, name = key.split("/", 1)
            state.setdefault(int(parameter), {})[name] = value
        load_full_optimiser_state(self.optimiser, {"state": state, "param_groups": whole.groups})
        if whole.scaler:
            self.scaler.load_state_dict(whole.scaler)
        if self.schedule is not None:
            self.schedule.load_state_dict(whole.schedule)
        if self.plateau and whole.plateau:
            self.plateau.load_state(whole.plateau)
        self._read_rank(folder)
        return whole.progress

    def _write_training(
        self, folder: Path, weights: dict[str, Tensor], state: StateDict, progress: Progress
    ) -> None:
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, Json] = {}
        for parameter, values in state["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"{parameter}/{name}"] = value
                else:
                    numbers.setdefault(str(parameter), {})[name] = value
        _save(folder / "model.safetensors", weights)
        _save(folder / "optimiser.safetensors", tensors)
        whole = _TrainingState(
            progress=progress,
            groups=state["param_groups"],
            numbers=numbers,
            scaler=self.scaler.state_dict(),
            schedule=_schedule_state(self.schedule) if self.schedule is not None else {},
            plateau=self.plateau.state() if self.plateau else {},
        )
        write_whole(folder / "checkpoint.json", _as_json(whole))

    def _write_rank(self, folder: Path) -> None:
        generators = {"torch": torch.get_rng_state()}
        if self.strategy.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.strategy.device)
        _save(folder / f"rank-{self.rank}.safetensors", generators)
        numpy = dict(np.random.get_state(legacy=False))
        numpy["state"] = {**numpy["state"], "key": numpy["state"]["key"].tolist()}
        kind, words, spare = random.getstate()
        epoch, batch = self.batches.position
        own = _RankState(position=(epoch, batch), numpy=numpy, python=(kind, list(words), spare))
        write_whole(folder / f"rank-{self.rank}.json", _as_json(own))

    def _read_rank(self, folder: Path) -> None:
        data = (folder / f"rank-{self.rank}.json").read_bytes()
        own = msgspec.json.decode(data, type=_RankState)
        self.batches.move_to(Position(*own.position))
        own.numpy["state"]["key"] = np.array(own.numpy["state"]["key"], np.uint32)
        np.random.set_state(own.numpy)
        kind, words, spare = own.python
        random.setstate((kind, tuple(words), spare))
        generators = _load(folder / f"rank-{self.rank}.safetensors")
        torch.set_rng_state(generators["torch"])
        if "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.strategy.device)


def _load(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = need("safetensors.torch", "a checkpoint").load_file(path)
    return tensors


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    # clones: the format refuses weights that two modules share in memory
    clones = {name: value.contiguous().clone() for name, value in tensors.items()}
    with explained(path):
        need("safetensors.torch", "a checkpoint").save_file(clones, path)
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _wait_for_all_ranks() -> None:
    if dist.is_initialized():
        dist.barrier()


def _schedule_state(schedule: LambdaLR) -> Json:
    """Return the state of a schedule; its functions are made from the options again."""
    state = dict(schedule.state_dict())
    state["lr_lambdas"] = [None] * len(state["lr_lambdas"])
    return state


def _as_json(state: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(state)
    except (TypeError, msgspec.MsgspecError) as error:
        raise TrialError(
            f"the state of this optimiser contains more than tensors and numbers ({error}), so no "
            "checkpoint can be written"
        ) from None
