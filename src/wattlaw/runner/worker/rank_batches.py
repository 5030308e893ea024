"""The training batches of one rank in a fixed order, which a position (epoch, batch) restores."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler, get_worker_info

from wattlaw.core.errors import TrialError
from wattlaw.core.setting import Setting
from wattlaw.runner.worker.batch_transfer import Packed, Packing, unpack
from wattlaw.runner.worker.user_class import data_of
from wattlaw.workloads.base import Workload


class Position(NamedTuple):
    """How far a rank is in its data: finished epochs, and batches taken of the next one."""

    epoch: int = 0
    batch: int = 0


class Batches(Iterator[object]):
    """The training batches of one rank, epoch after epoch, without end.

    N ranks of b samples see the samples of one rank of N·b. Random numbers that a dataset draws in
    a loader process depend only on the seed, the rank and the number of the batch, so that the
    position restores them. Raises TrialError if the share of a rank is smaller than a batch.
    """

    def __init__(
        self, setting: Setting, workload: Workload, device: torch.device, ranks: int, rank: int
    ) -> None:
        data = data_of(workload, "train")
        self.batch_size = setting.batch_per_device or workload.batch.get(workload.preset, 32)
        self._order = _Order(data, self.batch_size, setting.seed, ranks, rank)
        if len(self._order) == 0:
            share = len(self._order.sampler)
            raise TrialError(
                f"batch_per_device is {self.batch_size}, but each rank has only {share} samples"
            )
        workers = int(setting.options.get("loader_workers", 0))
        self._data, self._collate = _Seeded(data), workload.collate
        self._loader: DataLoader[object] = DataLoader(
            self._data,
            batch_sampler=self._order,
            collate_fn=Packing(workload.collate) if workers else workload.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            # its own generator: the loader must draw nothing from the model's
            generator=torch.Generator().manual_seed(setting.seed),
        )
        self._is_plain = not workers and device.type == "cpu"
        self.position = Position()
        self._batches = self._endless()

    def __len__(self) -> int:
        """Return the number of batches of one epoch."""
        return len(self._order)

    def __next__(self) -> object:
        return next(self._batches)

    def first(self) -> object:
        """Return a batch of the first samples without taking it; torch's generator is kept."""
        with torch.random.fork_rng([]):
            return self._collate(self._data.__getitems__([0, *range(self.batch_size)]))

    def move_to(self, position: Position) -> None:
        """Continue from a position; only before the first batch is taken."""
        self.position = position

    def _endless(self) -> Iterator[object]:
        while True:
            self._order.start = self.position
            for batch in self._plain() if self._is_plain else self._loader:
                self.position = Position(self.position.epoch, self.position.batch + 1)
                yield unpack(batch) if isinstance(batch, Packed) else batch
            self.position = Position(self.position.epoch + 1)

    def _plain(self) -> Iterator[object]:
        # a DataLoader without its overhead of 0.1 ms per batch
        for batch in self._order:
            yield self._collate(self._data.__getitems__(batch))


class _Order(Sampler[list[int]]):
    """Yields the seed and the indices of each batch, from ``start`` on."""

    def __init__(
        self, data: Dataset[object], batch_size: int, seed: int, ranks: int, rank: int
    ) -> None:
        self.sampler: DistributedSampler[int] = DistributedSampler(
            data, ranks, rank, shuffle=True, seed=seed, drop_last=True
        )
        self.batch_size, self.seed, self.rank = batch_size, seed, rank
        self.start = Position()

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = self.start
        self.sampler.set_epoch(epoch)
        indices: list[int] = list(self.sampler)
        size = self.batch_size
        for number in range(first, len(self)):
            seed = zlib.crc32(f"{self.seed} {self.rank} {epoch} {number}".encode())
            yield [seed, *indices[number * size : (number + 1) * size]]


class _Seeded(Dataset[object]):
    """A dataset that loads whole batches, and seeds a loader process before each."""

    def __init__(self, data: Dataset[object]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitems__(self, batch: Sequence[int]) -> Sequence[object]:
        seed, indices = batch[0], list(batch[1:])
        if get_worker_info() is not None:
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
        load_many = getattr(self.data, "__getitems__", None)
        if load_many is not None:
            samples: Sequence[object] = load_many(indices)
            return samples
        return [self.data[i] for i in indices]


def to_device(batch: object, device: torch.device) -> object:
    """Move a batch to a device: values that have ``.to``, in dicts, lists and tuples.

    Loaders yield batches on the CPU, so for a CPU the batch is returned as it is.
    """
    if device.type == "cpu":
        return batch
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        kind: Callable[..., object] = type(batch)  # a named tuple
        return kind(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=True)
    return batch
