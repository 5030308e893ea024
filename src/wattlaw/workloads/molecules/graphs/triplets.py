"""Sums over triplets k → j → i: what each message j → i hears of the messages k → j that arrive where it begins.

At one atom j with n neighbours the triplets form an n × n table (its diagonal, k = i, is left out). A
function of the angle is expanded in L Legendre polynomials, and one of the distances enters only through the
message k → j, so the sum is one matrix product an atom instead of a row for every triplet. Atoms with equally many
neighbours are multiplied together, without padding.

Shapes: A atoms, P pairs, 2P messages (see ``pairs``), T triplets, L polynomials, F features, N atoms of a group
with n neighbours each.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wattlaw.workloads.molecules.graphs.grid import applied
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.graphs.slots import Slots, uncompiled


def legendre(x: Tensor, order: int) -> Tensor:
    """Return √((2l+1)/4π)·P_l(x) for l < ``order`` in a new last dimension: spherical harmonics with m = 0."""
    values = [torch.ones_like(x), x]
    for k in range(1, order - 1):
        values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
    scale = [math.sqrt((2 * k + 1) / (4 * math.pi)) for k in range(order)]
    return torch.stack([s * v for s, v in zip(scale, values, strict=False)], -1)


@dataclasses.dataclass(frozen=True, eq=False)
class Triplets:
    """The slots of a graph and a table of angles for each of their groups, see ``angles`` and ``angle_products``."""

    slots: Slots
    tables: list[Tensor]


@uncompiled
def angles(graph: Graph, order: int, at_goal: bool) -> Triplets:
    """Return, for each group, the Legendre polynomials of the triplets' angles, (N, k, i, L), 0 where k = i.

    The angle lies between k → j and j → i; with ``at_goal`` between i → j and i → k, as DimeNet's first
    implementation has it.
    """
    slots = graph.slots
    assert slots is not None, "batch the molecules with slots"
    # of coordinates in half precision nothing would be left of an angle; on "meta" nothing is calculated
    kind = graph.positions.device.type
    with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):
        return Triplets(slots, _tables(graph, slots, order, at_goal))


def _tables(graph: Graph, slots: Slots, order: int, at_goal: bool) -> list[Tensor]:
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
        if at_goal:
            apart = (
                (square[:, :, None] + square[:, None, :] - 2 * inner)
                .masked_fill(same, 1.0)
                .clamp_min(1e-12)
            )
            cosine = (square[:, None, :] - inner) / (square[:, None, :] * apart).sqrt()
        else:
            cosine = -inner / (square[:, :, None] * square[:, None, :]).sqrt()
        tables.append(legendre(cosine.clamp(-1, 1), order).masked_fill(same[..., None], 0.0))
    return tables


@uncompiled
def angle_products(graph: Graph, order: int) -> Triplets:
    """Return the angles between k → j and j → i as ``filtered_sum`` takes them: (N, i, k·L) for each group."""
    known = angles(graph, order, at_goal=False)
    return Triplets(known.slots, [t.transpose(1, 2).flatten(2).contiguous() for t in known.tables])


class _Filtered(Function):
    # group by group, so that what is gathered for one stays in the processor's cache
    @staticmethod
    def forward(ctx: Any, messages: Tensor, radial: Tensor, triplets: Triplets) -> Tensor:
        ctx.triplets = triplets
        slots = triplets.slots
        ctx.save_for_backward(messages, radial)
        heard = torch.empty_like(messages)
        width = messages.shape[1]
        for group, table in zip(slots.groups, triplets.tables, strict=True):
            terms = radial.index_select(0, slots.pair[group.slots])
            terms.mul_(messages.index_select(0, slots.arriving[group.slots])[:, None])
            out = heard[group.slots].view(group.atoms, group.neighbours, width)
            torch.bmm(table, terms.view(group.atoms, -1, width), out=out)
        return heard.index_select(0, slots.origin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (messages, radial), slots = ctx.saved_tensors, ctx.triplets.slots
        pairs, order, width = radial.shape
        to_messages = torch.empty_like(messages)
        to_radial = radial.new_empty(2 * pairs, order, width)
        for group, table in zip(slots.groups, ctx.triplets.tables, strict=True):
            heard = gradient.index_select(0, slots.leaving[group.slots])
            terms = to_radial[group.slots]
            part = heard.view(group.atoms, group.neighbours, width)
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

    messages (2P, F), radial (P, L, B), tables of ``angles`` (N, k, i, L) -> (2P, B·F), slot by slot.
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
