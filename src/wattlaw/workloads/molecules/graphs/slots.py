"""The neighbours of atoms in an order that lets sums over triplets be matrix products, see ``triplets``.

P pairs send 2P messages, see ``pairs``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

_Function = TypeVar("_Function", bound=Callable[..., Any])


def uncompiled(function: _Function) -> _Function:
    """Return a function that ``torch.compile`` leaves as it is.

    Groups differ from batch to batch, and a compiler would begin anew at each.
    """
    left: _Function = torch.compiler.disable(function)
    return left


def changed(item: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a dataclass with ``change`` made to its tensors and to those of the dataclasses within it."""
    values = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if isinstance(value, Tensor):
            values[field.name] = change(value)
        elif dataclasses.is_dataclass(value):
            values[field.name] = changed(value, change)
    return dataclasses.replace(item, **values)


class Group(NamedTuple):
    """Atoms with the same number of neighbours: where their slots begin, how many they are, and that number."""

    start: int
    atoms: int
    neighbours: int

    @property
    def slots(self) -> slice:
        """The group's part of all slots."""
        return slice(self.start, self.start + self.atoms * self.neighbours)


@dataclasses.dataclass(frozen=True)
class Slots:
    """The neighbours of every atom, one slot each: 2P in all, atoms with fewest neighbours first.

    arriving  (2P,) the message that comes from the neighbour in each slot
    place     (2P,) the slot at which each message arrives; the inverse of ``arriving``
    leaving   (2P,) the message that goes to the neighbour in each slot
    origin    (2P,) the slot, at the atom where it begins, of each message's goal; the inverse of ``leaving``
    pair      (2P,) the pair of each slot
    """

    arriving: Tensor
    place: Tensor
    leaving: Tensor
    origin: Tensor
    pair: Tensor
    groups: tuple[Group, ...]


def find_slots(rows: np.ndarray[Any, Any], row_starts: np.ndarray[Any, Any]) -> Slots:
    """Return the slots of a graph from its messages by the atom where they end."""
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
        groups.append(Group(start, int(atoms), int(n)))
        start += int(atoms * n)
    return Slots(
        arriving=torch.from_numpy(arriving),
        place=torch.from_numpy(place),
        leaving=torch.from_numpy(leaving),
        origin=torch.from_numpy(np.roll(place, pairs)),
        pair=torch.from_numpy(arriving % max(pairs, 1)),
        groups=tuple(groups),
    )
