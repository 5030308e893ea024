"""PaiNN: messages of numbers and of vectors, which turn with the molecule (Schütt et al., arXiv 2102.03150).

Shapes: A atoms, P pairs, F features; vectors are (A, 3, F).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.pairs import Graph, collect, convolve, spread, sum_molecules
from wattlaw.workloads.molecules.graphs.products import Linear


class Size(NamedTuple):
    """Features, blocks and radial functions of a PaiNN."""

    features: int
    blocks: int
    radial: int = 20


class Message(nn.Module):
    """What an atom hears of its neighbours' numbers and vectors."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.first = Linear(size.features, size.features)
        self.second = Linear(size.features, 3 * size.features)
        self.filter = Linear(size.radial, 3 * size.features)

    def forward(
        self,
        numbers: Tensor,
        vectors: Tensor,
        radial: Tensor,
        envelope: Tensor,
        toward: Tensor,
        graph: Graph,
    ) -> tuple[Tensor, Tensor]:
        """Return the changes of numbers (A, F) and vectors (A, 3, F)."""
        filters = self.filter(radial) * envelope
        mine = self.second(F.silu(self.first(numbers)))
        by_number, by_vector, by_direction = mine.chunk(3, 1)
        of_number, of_vector, of_direction = filters.chunk(3, 1)
        change = convolve(of_number.contiguous(), by_number, graph)
        # the three components share a filter
        carried = (by_vector[:, None] * vectors).flatten(1)
        turned = convolve(of_vector.repeat(1, 3), carried, graph).view_as(vectors)
        sent = (
            spread(by_direction.contiguous(), graph, to_ends=False).view(
                2, -1, by_direction.shape[1]
            )
            * of_direction
        )
        # directions point from the atom that hears to the one that is heard: opposite on the way back
        signed = torch.stack([-toward, toward])
        pushed = collect(
            (sent[:, :, None] * signed[..., None]).flatten(2).flatten(0, 1), graph
        ).view_as(vectors)
        return change, turned + pushed


class Update(nn.Module):
    """What an atom makes of its own numbers and vectors."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mix = Linear(features, 2 * features, bias=False)
        self.first = Linear(2 * features, features)
        self.second = Linear(features, 3 * features)

    def forward(self, numbers: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new numbers (A, F) and vectors (A, 3, F)."""
        left, right = self.mix(vectors).chunk(2, -1)
        # half precision has no room for the squares, nor for what keeps the root's slope finite
        wide = right.to(torch.promote_types(right.dtype, torch.float32))
        length = (wide.square().sum(1) + 1e-8).sqrt()
        scale, inner, own = self.second(F.silu(self.first(torch.cat([numbers, length], 1)))).chunk(
            3, 1
        )
        return numbers + own + inner * (left * right).sum(1), vectors + scale[:, None] * left


class PaiNN(nn.Module):
    """PaiNN with a summed energy of the atoms, (B,)."""

    def __init__(self, size: Size, cutoff: float) -> None:
        super().__init__()
        self.size, self.cutoff = size, cutoff
        self.embedding = nn.Embedding(100, size.features, padding_idx=0)
        self.messages = nn.ModuleList(Message(size) for _ in range(size.blocks))
        self.updates = nn.ModuleList(Update(size.features) for _ in range(size.blocks))
        self.head_in = Linear(size.features, size.features // 2)
        self.head_out = Linear(size.features // 2, 1)

    def forward(self, graph: Graph) -> Tensor:
        """Return one energy a molecule, (B,), from distances and the vectors between pairs."""
        distance = graph.distance[:, None]
        order = torch.arange(1, self.size.radial + 1, device=distance.device, dtype=distance.dtype)
        radial = torch.sin(order * (math.pi / self.cutoff) * distance) / distance
        envelope = (
            0.5 * (torch.cos(distance * (math.pi / self.cutoff)) + 1) * (distance < self.cutoff)
        )
        toward = graph.apart / distance
        numbers = self.embedding(graph.numbers)
        vectors = numbers.new_zeros(len(numbers), 3, self.size.features)
        for message, update in zip(self.messages, self.updates, strict=True):
            change, turn = message(numbers, vectors, radial, envelope, toward, graph)
            numbers, vectors = update(numbers + change, vectors + turn)
        energy = self.head_out(F.silu(self.head_in(numbers)))
        return sum_molecules(energy, graph).squeeze(1)
