"""A batch of many tensors as one: what a loading process hands over is one block of shared memory.

Each tensor that crosses from one process to another costs a file handle and a turn of both; a batch of a graph has
more than ten of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGN = 64
"""Tensors begin at multiples of so many bytes, as a cache line does."""


class _Place(NamedTuple):
    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class Packed:
    """A batch: one block of bytes, and the batch with a place in that block instead of each tensor."""

    def __init__(self, block: Tensor, batch: Any) -> None:
        self.block, self.batch = block, batch

    def pin_memory(self) -> Packed:
        """Return it with its block in page-locked memory, as a DataLoader asks."""
        return Packed(self.block.pin_memory(), self.batch)


class Packing:
    """A collate function whose batches come packed."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> Packed:
        return pack(self.collate(samples))


def pack(batch: Any) -> Packed:
    """Pack the tensors in a batch of dicts, lists, tuples and dataclasses; others stay as they are."""
    tensors: list[Tensor] = []
    places: list[_Place] = []
    size = 0

    def put(value: Any) -> Any:
        nonlocal size
        if type(value) is not Tensor or value.device.type != "cpu" or value.layout != torch.strided:
            return value
        place = _Place(size, value.dtype, tuple(value.shape))
        tensors.append(value)
        places.append(place)
        size += ALIGN * math.ceil(value.numel() * value.element_size() / ALIGN)
        return place

    skeleton = _mapped(batch, put)
    block = torch.empty(size, dtype=torch.uint8)
    for tensor, place in zip(tensors, places, strict=True):
        _view(block, place).copy_(tensor)
    return Packed(block, skeleton)


def unpack(packed: Packed) -> Any:
    """Return the batch; its tensors are views of the block."""
    return _mapped(
        packed.batch,
        lambda value: _view(packed.block, value) if isinstance(value, _Place) else value,
    )


def _view(block: Tensor, place: _Place) -> Tensor:
    size = math.prod(place.shape) * place.dtype.itemsize
    return block[place.start : place.start + size].view(place.dtype).view(place.shape)


def _mapped(batch: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(batch, Tensor | _Place):
        return change(batch)
    if isinstance(batch, dict):
        return {k: _mapped(v, change) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_mapped(v, change) for v in batch))
    if type(batch) in (list, tuple):
        return type(batch)(_mapped(v, change) for v in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = [f for f in dataclasses.fields(batch) if f.init]
        return dataclasses.replace(
            batch, **{f.name: _mapped(getattr(batch, f.name), change) for f in fields}
        )
    return batch
