"""Sums over triplets k → j → i: for each message j → i, over the messages k → j that arrive at j.

The triplets of an atom j with n neighbours form an n × n table (without its diagonal, k = i). The
function of the angle is expanded in L Legendre polynomials, and the function of the distance enters
through the message k → j, so the sum is one matrix product per atom, rather than one row per
triplet. Atoms with the same number of neighbours are multiplied together, without padding.

Shapes: A atoms, P pairs, 2P messages (see ``pairs``), L polynomials, F features, B bilinear
channels, N atoms of a group with n neighbours each.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wattlaw.workloads.molecules.graphs.grid import AutogradContext, applied
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.graphs.slots import Slots, uncompiled


def legendre(x: Tensor, order: int) -> Tensor:
    """Return √((2l+1)/4π)·P_l(x) for l < ``order`` in a new last dimension.

    These are the spherical harmonics with m = 0.
    """
    values = [torch.ones_like(x), x]
    for k in range(1, order - 1):
        values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
    scale = [math.sqrt((2 * k + 1) / (4 * math.pi)) for k in range(order)]
    return torch.stack([s * v for s, v in zip(scale, values, strict=False)], -1)


@dataclasses.dataclass(frozen=True, eq=False)
class Triplets:
    """The slots of a graph, and a table of angles for each group, see ``angles``."""

    slots: Slots
    tables: list[Tensor]


@uncompiled
def angles(graph: Graph, order: int, at_target: bool) -> Triplets:
    """Return Legendre polynomials of the angles of triplets, (N, k, i, L) per group; 0 if k = i.

    The angle is between k → j and j → i; with ``at_target`` between i → j and i → k, as in
    DimeNet's first implementation.
    """
    slots = graph.slots
    assert slots is not None, "batch the molecules with slots"
    # half precision is too coarse for angles; "meta" has no autocast
    kind = graph.positions.device.type
    with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):
        return Triplets(slots, _tables(graph, slots, order, at_target))


def _tables(graph: Graph, slots: Slots, order: int, at_target: bool) -> list[Tensor]:
    start = torch.cat([graph.second, graph.first])[slots.arriving]
    end = torch.cat([graph.first, graph.second])[slots.arriving]
    away = graph.positions[start] - graph.positions[end]
    tables = []
    for group in slots.groups:
        n = group.neighbours
        vectors = away[group.slots].view(group.atoms, n, 3)
        inner = vectors @ vectors.transpose(1, 2)
        square = inner.diagonal(dim1=1, dim2=2)
        same = torch.eye(n, dtype=torch.bool, device=away.device)
        if at_target:
            apart = square[:, :, None] + square[:, None, :] - 2 * inner
            apart = apart.masked_fill(same, 1.0).clamp_min(1e-12)
            cosine = (square[:, None, :] - inner) / (square[:, None, :] * apart).sqrt()
        else:
            cosine = -inner / (square[:, :, None] * square[:, None, :]).sqrt()
        tables.append(legendre(cosine.clamp(-1, 1), order).masked_fill(same[..., None], 0.0))
    return tables


@uncompiled
def angle_products(graph: Graph, order: int) -> Triplets:
    """Return the angles between k → j and j → i for ``filtered_sum``, (N, i, k·L) per group."""
    known = angles(graph, order, at_target=False)
    tables = [table.transpose(1, 2).flatten(2).contiguous() for table in known.tables]
    return Triplets(known.slots, tables)


class _Filtered(Function):
    # group by group, so that gathered rows stay in the cache
    @staticmethod
    def forward(
        ctx: AutogradContext, messages: Tensor, radial: Tensor, triplets: Triplets
    ) -> Tensor:
        ctx.triplets = triplets
        slots = triplets.slots
        ctx.save_for_backward(messages, radial)
        sums = torch.empty_like(messages)
        width = messages.shape[1]
        for group, table in zip(slots.groups, triplets.tables, strict=True):
            terms = radial.index_select(0, slots.pair[group.slots])
            terms.mul_(messages.index_select(0, slots.arriving[group.slots])[:, None])
            out = sums[group.slots].view(group.atoms, group.neighbours, width)
            torch.bmm(table, terms.view(group.atoms, -1, width), out=out)
        return sums.index_select(0, slots.origin)

    @staticmethod
    @once_differentiable
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (messages, radial), slots = ctx.saved_tensors, ctx.triplets.slots
        pairs, order, width = radial.shape
        to_messages = torch.empty_like(messages)
        to_radial = radial.new_empty(2 * pairs, order, width)
        for group, table in zip(slots.groups, ctx.triplets.tables, strict=True):
            to_sums = gradient.index_select(0, slots.leaving[group.slots])
            terms = to_radial[group.slots]
            part = to_sums.view(group.atoms, group.neighbours, width)
            torch.bmm(table.transpose(1, 2), part, out=terms.view(group.atoms, -1, width))
            known = radial.index_select(0, slots.pair[group.slots])
            torch.sum(known.mul_(terms), 1, out=to_messages[group.slots])
            terms.mul_(messages.index_select(0, slots.arriving[group.slots])[:, None])
        both = to_radial.index_select(0, slots.place[:pairs])
        both += to_radial.index_select(0, slots.place[pairs:])
        return to_messages.index_select(0, slots.place), both, None


@uncompiled
def filtered_sum(messages: Tensor, radial: Tensor, triplets: Triplets) -> Tensor:
    """Return Σ_k Σ_l table_l(k, i) · radial_l(k) ∘ message(k → j) for each message j → i.

    messages (2P, F), radial (P, L, F), tables of ``angle_products`` -> (2P, F).
    """
    dtype = triplets.tables[0].dtype
    return applied(_Filtered, messages.to(dtype), radial.to(dtype).contiguous(), triplets)


@uncompiled
def bilinear_sum(messages: Tensor, radial: Tensor, triplets: Triplets) -> Tensor:
    """Return Σ_k (Σ_l table_l(k, i) · radial_lb(k)) · message(k → j) for each slot (j, i) and b.

    messages (2P, F), radial (P, L, B), tables of ``angles`` (N, k, i, L) -> (2P, B·F), slot by
    slot.
    """
    slots = triplets.slots
    arrived, radial_of = messages[slots.arriving], radial[slots.pair]
    found = []
    for group, table in zip(slots.groups, triplets.tables, strict=True):
        N, n = group.atoms, group.neighbours
        weights = torch.bmm(table.view(N * n, n, -1), radial_of[group.slots])
        part = torch.bmm(
            weights.view(N, n, -1).transpose(1, 2), arrived[group.slots].view(N, n, -1)
        )
        found.append(part.view(N * n, -1))
    return torch.cat(found)
