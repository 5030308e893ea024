"""Neighbours of atoms in the order in which sums over triplets are matrix products.

P pairs send 2P messages, see ``pairs``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from wattlaw.workloads.cache import Array

_Function = TypeVar("_Function", bound=Callable[..., Any])


def uncompiled(function: _Function) -> _Function:
    """Return a function that ``torch.compile`` skips.

    Groups differ between batches, and each would be compiled again.
    """
    skipped: _Function = torch.compiler.disable(function)
    return skipped


def map_tensors(item: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return a dataclass with ``function`` applied to its tensors, also in nested dataclasses."""
    values = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if isinstance(value, Tensor):
            values[field.name] = function(value)
        elif dataclasses.is_dataclass(value):
            values[field.name] = map_tensors(value, function)
    return dataclasses.replace(item, **values)


class SlotGroup(NamedTuple):
    """Atoms with the same number of neighbours; their first slot, their number, and that number."""

    start: int
    atoms: int
    neighbours: int

    @property
    def slots(self) -> slice:
        """The slots of the group."""
        return slice(self.start, self.start + self.atoms * self.neighbours)


@dataclasses.dataclass(frozen=True)
class Slots:
    """The neighbours of all atoms, one slot each: 2P slots, atoms with the fewest neighbours first.

    arriving  (2P,) the message from the neighbour in each slot
    place     (2P,) the slot at which each message arrives; the inverse of ``arriving``
    leaving   (2P,) the message to the neighbour in each slot
    origin    (2P,) for each message, the slot of its target atom among the neighbours of its
              source atom; the inverse of ``leaving``
    pair      (2P,) the pair of each slot
    """

    arriving: Tensor
    place: Tensor
    leaving: Tensor
    origin: Tensor
    pair: Tensor
    groups: tuple[SlotGroup, ...]


def find_slots(rows: Array, row_starts: Array) -> Slots:
    """Return the slots of a graph from its ``rows`` and ``row_starts``, see ``Graph``."""
    degrees = np.diff(row_starts)
    pairs = len(rows) // 2
    order = np.argsort(np.repeat(degrees, degrees), kind="stable")
    arriving = rows[order]
    place = np.empty_like(arriving)
    place[arriving] = np.arange(2 * pairs)
    leaving = np.where(arriving < pairs, arriving + pairs, arriving - pairs)
    groups = []
    start = 0
    for n, atoms in zip(*np.unique(degrees[degrees > 0], return_counts=True), strict=True):
        groups.append(SlotGroup(start, int(atoms), int(n)))
        start += int(atoms * n)
    return Slots(
        arriving=torch.from_numpy(arriving),
        place=torch.from_numpy(place),
        leaving=torch.from_numpy(leaving),
        origin=torch.from_numpy(np.roll(place, pairs)),
        pair=torch.from_numpy(arriving % max(pairs, 1)),
        groups=tuple(groups),
    )
