"""Pairs of atoms: found once per molecule, batched as one graph, and summed over without scatter.

Shapes: A atoms, B molecules, P pairs (each pair once, ``first`` < ``second``), F features.
A pair sends two messages, one in each direction, which share what depends on the distance only.
Message p goes from ``second[p]`` to ``first[p]``, message P + p back.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.graphs.grid import AutogradContext, Grid, applied, bag, row_starts
from wattlaw.workloads.molecules.graphs.slots import Slots, map_tensors


class PairList(NamedTuple):
    """Concatenated pairs of many molecules; atoms are counted from 0 within each molecule.

    first, second  (P,) uint16
    distance       (P,) float32, Å
    starts         (M + 1,) int64, where the pairs of each molecule begin
    """

    first: Array
    second: Array
    distance: Array
    starts: Array


def find_pairs(positions: Array, atoms: Array, cutoff: float) -> PairList:
    """Return all pairs closer than ``cutoff`` (Å).

    positions (sum of atoms, 3) in Å; atoms (M,), the number of atoms of each molecule. Molecules of
    one size are handled together.
    """
    begins = np.concatenate([[0], np.cumsum(atoms)])
    counts = np.zeros(len(atoms), np.int64)
    found = {}
    for size in np.unique(atoms):
        molecules = np.flatnonzero(atoms == size)
        i, j = np.triu_indices(size, 1)
        places = positions[begins[molecules, None] + np.arange(size)]
        distance = np.sqrt(np.square(places[:, i] - places[:, j]).sum(-1))
        near = distance < cutoff
        counts[molecules] = near.sum(1)
        found[size] = (molecules, i, j, distance, near)
    starts = np.concatenate([[0], np.cumsum(counts)])
    first, second = np.empty(starts[-1], np.uint16), np.empty(starts[-1], np.uint16)
    apart = np.empty(starts[-1], np.float32)
    for molecules, i, j, distance, near in found.values():
        place = (starts[molecules, None] + np.cumsum(near, 1) - 1)[near]
        first[place] = np.broadcast_to(i, near.shape)[near]
        second[place] = np.broadcast_to(j, near.shape)[near]
        apart[place] = distance[near]
    return PairList(first, second, apart, starts)


@dataclasses.dataclass(frozen=True)
class Graph:
    """A batch of molecules as one graph.

    numbers        (A,) int64, atomic numbers or kinds
    positions      (A, 3), Å
    molecule       (A,) int64, ascending
    starts         (B + 1,) int64, first atom of each molecule
    first, second  (P,) int64
    distance       (P,), Å
    rows           (2P,), the messages that end at each atom, atom by atom
    row_starts     (A + 1,), where those of each atom begin
    target         (B,)

    Only some models use the rest:

    grid     the distances on a grid
    slots    neighbours in the order for sums over triplets
    atoms    (A, …), features, or forces as targets
    bonds    (P, …), features
    apart    (P, 3), vectors from second to first, Å
    largest  the number of atoms of the largest molecule
    """

    numbers: Tensor
    positions: Tensor
    molecule: Tensor
    starts: Tensor
    first: Tensor
    second: Tensor
    distance: Tensor
    rows: Tensor
    row_starts: Tensor
    target: Tensor
    grid: Grid | None = None
    slots: Slots | None = None
    atoms: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0))
    bonds: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0))
    apart: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0))
    largest: int = 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Graph:
        """Return the graph on ``device``."""
        moved: Graph = map_tensors(self, lambda t: t.to(device, non_blocking=non_blocking))
        return moved

    def pin_memory(self) -> Graph:
        """Return the graph in pinned memory, from which a GPU can copy asynchronously."""
        pinned: Graph = map_tensors(self, Tensor.pin_memory)
        return pinned

    def with_features(self, atoms: Tensor, bonds: Tensor) -> Graph:
        """Return the graph with features of its atoms and pairs."""
        return dataclasses.replace(self, atoms=atoms, bonds=bonds)

    def at(self, positions: Tensor) -> Graph:
        """Return the graph with other ``positions`` (A, 3), in Å, and the same pairs."""
        return dataclasses.replace(self, positions=positions)

    def __len__(self) -> int:
        return len(self.target)


def incoming_messages(first: Array, second: Array, atoms: int) -> tuple[Array, Array]:
    """Return ``rows`` and ``row_starts`` of a ``Graph``."""
    ends = np.concatenate([first, second])
    key = ends.astype(np.uint16) if atoms < 65536 else ends
    return np.argsort(key, kind="stable"), row_starts(ends, atoms)


class _Convolve(Function):
    @staticmethod
    def forward(ctx: AutogradContext, filters: Tensor, atoms: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(filters, atoms)
        messages = filters.new_empty(2, *filters.shape)
        torch.mul(filters, atoms.index_select(0, graph.second), out=messages[0])
        torch.mul(filters, atoms.index_select(0, graph.first), out=messages[1])
        return bag(messages.view(-1, filters.shape[1]), graph.rows, graph.row_starts)

    @staticmethod
    def backward(
        ctx: AutogradContext, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        filters, atoms = ctx.saved_tensors
        if not torch.is_grad_enabled() and all(ctx.needs_input_grad[:2]):
            return *_both_gradients(filters, atoms, gradient, ctx.graph), None
        to_filters = to_atoms = None
        if ctx.needs_input_grad[0]:
            to_filters = applied(_Products, atoms, gradient, ctx.graph)
        if ctx.needs_input_grad[1]:
            # messages go both ways with one filter, so the sum is its own transpose
            to_atoms = applied(_Convolve, filters, gradient, ctx.graph)
        return to_filters, to_atoms, None


def _both_gradients(
    filters: Tensor, atoms: Tensor, gradient: Tensor, graph: Graph
) -> tuple[Tensor, Tensor]:
    """Return both gradients of a sum together, if no second derivative is needed."""
    messages = filters.new_empty(2, *filters.shape)
    torch.index_select(gradient, 0, graph.second, out=messages[0])
    torch.index_select(gradient, 0, graph.first, out=messages[1])
    to_filters = atoms.index_select(0, graph.first).mul_(messages[0])
    to_filters.addcmul_(atoms.index_select(0, graph.second), messages[1])
    messages.mul_(filters)
    return to_filters, bag(messages.view(-1, filters.shape[1]), graph.rows, graph.row_starts)


class _Products(Function):
    @staticmethod
    def forward(ctx: AutogradContext, left: Tensor, right: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(left, right)
        product = left.index_select(0, graph.second).mul_(right.index_select(0, graph.first))
        first, second = left.index_select(0, graph.first), right.index_select(0, graph.second)
        return product.addcmul_(first, second)

    @staticmethod
    def backward(
        ctx: AutogradContext, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        to_left = to_right = None
        if ctx.needs_input_grad[0]:
            to_left = applied(_Convolve, gradient, right, ctx.graph)
        if ctx.needs_input_grad[1]:
            to_right = applied(_Convolve, gradient, left, ctx.graph)
        return to_left, to_right, None


class _SumMolecules(Function):
    @staticmethod
    def forward(ctx: AutogradContext, values: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        rows = torch.arange(len(values), device=values.device)
        return bag(values, rows, graph.starts)

    @staticmethod
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.graph.molecule), None


class _Spread(Function):
    @staticmethod
    def forward(ctx: AutogradContext, atoms: Tensor, graph: Graph, to_ends: bool) -> Tensor:
        ctx.graph, ctx.to_ends = graph, to_ends
        index = (graph.first, graph.second) if to_ends else (graph.second, graph.first)
        return atoms.index_select(0, torch.cat(index))

    @staticmethod
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, None, None]:
        if not ctx.to_ends:
            gradient = gradient.view(2, -1, gradient.shape[1]).flip(0).flatten(0, 1)
        return applied(_Collect, gradient.contiguous(), ctx.graph), None, None


class _Collect(Function):
    @staticmethod
    def forward(ctx: AutogradContext, messages: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return bag(messages, graph.rows, graph.row_starts)

    @staticmethod
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, None]:
        return applied(_Spread, gradient, ctx.graph, True), None


class _Weigh(Function):
    @staticmethod
    def forward(ctx: AutogradContext, messages: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(messages, weights)
        return (messages.view(2, *weights.shape) * weights).flatten(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, Tensor]:
        messages, weights = ctx.saved_tensors
        there, back = gradient.view(2, *weights.shape)
        sent, returned = messages.view(2, *weights.shape)
        to_weights = (there * sent).addcmul_(back, returned)
        return (gradient.view(2, *weights.shape) * weights).flatten(0, 1), to_weights


def weigh(messages: Tensor, weights: Tensor) -> Tensor:
    """Return messages (2P, F) times the weights (P, F) that both directions share."""
    return applied(_Weigh, messages, weights.to(messages.dtype))


def spread(atoms: Tensor, graph: Graph, to_ends: bool) -> Tensor:
    """Return the features of the atom where each message ends, or starts: (A, F) -> (2P, F)."""
    return applied(_Spread, atoms, graph, to_ends)


def collect(messages: Tensor, graph: Graph) -> Tensor:
    """Return the sum of the messages that end at each atom: (2P, F) -> (A, F)."""
    return applied(_Collect, messages.contiguous(), graph)


def convolve(filters: Tensor, atoms: Tensor, graph: Graph) -> Tensor:
    """Return Σ_j W_ij ∘ x_j for each atom i: filters W (P, F), atoms x (A, F) -> (A, F).

    Differentiable any number of times.
    """
    return applied(_Convolve, filters, atoms.to(filters.dtype).contiguous(), graph)


def sum_molecules(values: Tensor, graph: Graph) -> Tensor:
    """Return sums over the atoms of molecules, in single precision or above: (A, F) -> (B, F)."""
    precision = torch.promote_types(values.dtype, torch.float32)
    return applied(_SumMolecules, values.to(precision), graph)
