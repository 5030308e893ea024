"""The batches of one rank in their order, which a position (epoch, batches taken) brings back."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler, get_worker_info

from wattlaw.core.errors import TrialError
from wattlaw.core.setting import Setting
from wattlaw.runner.worker.batch_transfer import Packed, Packing, unpack
from wattlaw.runner.worker.user_class import data_of
from wattlaw.workloads.base import Workload


class Position(NamedTuple):
    """How far a rank is in its data: passes done, and batches taken of the next one."""

    epoch: int = 0
    batch: int = 0


class Batches(Iterator[Any]):
    """The training batches of one rank, epoch after epoch, without end.

    N ranks of b samples see what one rank of N·b sees. What a dataset draws at random while worker processes
    load it depends on the seed, the rank and the batch's number alone, so that a position says all.
    Raises TrialError where a rank's share is smaller than a batch.
    """

    def __init__(
        self, setting: Setting, workload: Workload, device: torch.device, ranks: int, rank: int
    ) -> None:
        data = data_of(workload, "train")
        self.batch_size = setting.batch_per_device or workload.batch.get(workload.preset, 32)
        self._order = _Order(data, self.batch_size, setting.seed, ranks, rank)
        if len(self._order) == 0:
            held = len(self._order.sampler)
            raise TrialError(
                f"batch_per_device is {self.batch_size}, but a rank's share of the data is {held} samples"
            )
        workers = int(setting.options.get("loader_workers", 0))
        self._data, self._collate = _Seeded(data), workload.collate
        self._loader = DataLoader(
            self._data,
            batch_sampler=self._order,
            collate_fn=Packing(workload.collate) if workers else workload.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            # a generator of its own: the loader draws nothing from that of the model
            generator=torch.Generator().manual_seed(setting.seed),
        )
        self._is_plain = not workers and device.type == "cpu"
        self.position = Position()
        self._batches = self._endless()

    def __len__(self) -> int:
        """Return the batches of one epoch."""
        return len(self._order)

    def __next__(self) -> Any:
        return next(self._batches)

    def first(self) -> Any:
        """Return a batch of the first samples, which is not counted as taken; torch's generator stays as it is."""
        with torch.random.fork_rng([]):
            return self._collate(self._data.__getitems__([0, *range(self.batch_size)]))

    def move_to(self, position: Position) -> None:
        """Go on from a position; only before the first batch is taken."""
        self.position = position

    def _endless(self) -> Iterator[Any]:
        while True:
            self._order.start = self.position
            for batch in self._plain() if self._is_plain else self._loader:
                self.position = Position(self.position.epoch, self.position.batch + 1)
                yield unpack(batch) if isinstance(batch, Packed) else batch
            self.position = Position(self.position.epoch + 1)

    def _plain(self) -> Iterator[Any]:
        # what a DataLoader does, without its bookkeeping of 0.1 ms a batch
        for batch in self._order:
            yield self._collate(self._data.__getitems__(batch))


class _Order(Sampler[list[int]]):
    """Yields the indices of each batch from ``start`` on, a seed in front of them."""

    def __init__(
        self, data: Dataset[Any], batch_size: int, seed: int, ranks: int, rank: int
    ) -> None:
        self.sampler: DistributedSampler[Any] = DistributedSampler(
            data, ranks, rank, shuffle=True, seed=seed, drop_last=True
        )
        self.batch_size, self.seed, self.rank = batch_size, seed, rank
        self.start = Position()

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = self.start
        self.sampler.set_epoch(epoch)
        indices, size = list(self.sampler), self.batch_size
        for number in range(first, len(self)):
            drawn = zlib.crc32(f"{self.seed} {self.rank} {epoch} {number}".encode())
            yield [drawn, *indices[number * size : (number + 1) * size]]


class _Seeded(Dataset[Any]):
    """A dataset that is asked for whole batches and seeds a worker process before each."""

    def __init__(self, data: Dataset[Any]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitems__(self, batch: Sequence[int]) -> Sequence[Any]:
        drawn, indices = batch[0], list(batch[1:])
        if get_worker_info() is not None:
            torch.manual_seed(drawn)
            np.random.seed(drawn)
            random.seed(drawn)
        whole = getattr(self.data, "__getitems__", None)
        return whole(indices) if whole else [self.data[i] for i in indices]


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a batch to a device: whatever has ``.to``, and dicts, lists and tuples of it. Loaded are batches on CPUs."""
    if device.type == "cpu":
        return batch
    if isinstance(batch, dict):
        return {k: to_device(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(v, device) for v in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(v, device) for v in batch)
    return batch.to(device, non_blocking=True) if hasattr(batch, "to") else batch
