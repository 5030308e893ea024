"""Packs the tensors of a batch into one block of shared memory, for hand-over by a loader process.

Each tensor that crosses from one process to another costs a file handle and a turn of both
processes; a batch of graphs has more than ten tensors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ALIGN = 64
"""Each tensor starts at a multiple of this many bytes, the length of a cache line."""


class _Slot(NamedTuple):
    """Where a tensor is in the block, in bytes."""

    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class Packed:
    """A batch as one block of bytes, and the batch with a slot of that block for each tensor."""

    def __init__(self, block: Tensor, batch: object) -> None:
        self.block, self.batch = block, batch

    def pin_memory(self) -> Packed:
        """Return it with its block in page-locked memory; a DataLoader calls this."""
        return Packed(self.block.pin_memory(), self.batch)


class Packing:
    """A collate function that packs its batches."""

    def __init__(self, collate: Callable[[Sequence[object]], object]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[object]) -> Packed:
        return pack(self.collate(samples))


def pack(batch: object) -> Packed:
    """Pack the CPU tensors of a batch of dicts, lists, tuples and dataclasses."""
    tensors: list[Tensor] = []
    slots: list[_Slot] = []
    size = 0

    def put(value: object) -> object:
        nonlocal size
        if type(value) is not Tensor or value.device.type != "cpu" or value.layout != torch.strided:
            return value
        slot = _Slot(size, value.dtype, tuple(value.shape))
        tensors.append(value)
        slots.append(slot)
        size += ALIGN * math.ceil(value.numel() * value.element_size() / ALIGN)
        return slot

    skeleton = _mapped(batch, put)
    block = torch.empty(size, dtype=torch.uint8)
    for tensor, slot in zip(tensors, slots, strict=True):
        _view(block, slot).copy_(tensor)
    return Packed(block, skeleton)


def unpack(packed: Packed) -> object:
    """Return the batch; its tensors are views of the block."""

    def take(value: object) -> object:
        return _view(packed.block, value) if isinstance(value, _Slot) else value

    return _mapped(packed.batch, take)


def _view(block: Tensor, slot: _Slot) -> Tensor:
    size = math.prod(slot.shape) * slot.dtype.itemsize
    return block[slot.start : slot.start + size].view(slot.dtype).view(slot.shape)


def _mapped(batch: object, change: Callable[[object], object]) -> object:
    if isinstance(batch, Tensor | _Slot):
        return change(batch)
    if isinstance(batch, dict):
        return {key: _mapped(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        kind: Callable[..., object] = type(batch)  # a named tuple
        return kind(*(_mapped(value, change) for value in batch))
    if type(batch) is list:
        return [_mapped(value, change) for value in batch]
    if type(batch) is tuple:
        return tuple(_mapped(value, change) for value in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        names = [field.name for field in dataclasses.fields(batch) if field.init]
        values = {name: _mapped(getattr(batch, name), change) for name in names}
        return dataclasses.replace(batch, **values)
    return batch
