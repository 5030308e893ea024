"""PaiNN: messages of scalars and of equivariant vectors (Schütt et al., arXiv 2102.03150).

Shapes: A atoms, B molecules, P pairs, F features; vectors are (A, 3, F).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.pairs import Graph, collect, convolve, spread, sum_molecules
from wattlaw.workloads.molecules.graphs.products import Linear


class PaiNNSize(NamedTuple):
    """Channels, blocks and radial functions of a PaiNN."""

    hidden_channels: int
    num_interactions: int
    num_radial: int = 20


class PaiNNMessage(nn.Module):
    """The message block: sums over the scalars and vectors of neighbours."""

    def __init__(self, size: PaiNNSize) -> None:
        super().__init__()
        self.first = Linear(size.hidden_channels, size.hidden_channels)
        self.second = Linear(size.hidden_channels, 3 * size.hidden_channels)
        self.filter = Linear(size.num_radial, 3 * size.hidden_channels)

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor,
        radial: Tensor,
        envelope: Tensor,
        direction: Tensor,
        graph: Graph,
    ) -> tuple[Tensor, Tensor]:
        """Return the changes of scalars (A, F) and vectors (A, 3, F).

        radial (P, num_radial), envelope (P, 1); direction (P, 3), from second to first.
        """
        filters = self.filter(radial) * envelope
        weights = self.second(F.silu(self.first(scalars)))
        by_scalar, by_vector, by_direction = weights.chunk(3, 1)
        of_scalar, of_vector, of_direction = filters.chunk(3, 1)
        to_scalars = convolve(of_scalar.contiguous(), by_scalar, graph)
        # the three components share a filter
        weighted = (by_vector[:, None] * vectors).flatten(1)
        of_vectors = convolve(of_vector.repeat(1, 3), weighted, graph).view_as(vectors)
        sent = spread(by_direction.contiguous(), graph, to_ends=False)
        sent = sent.view(2, -1, by_direction.shape[1]) * of_direction
        # a direction points from the receiver to the sender: opposite for messages back
        directions = torch.stack([-direction, direction])
        messages = (sent[:, :, None] * directions[..., None]).flatten(2).flatten(0, 1)
        of_directions = collect(messages, graph).view_as(vectors)
        return to_scalars, of_vectors + of_directions


class PaiNNUpdate(nn.Module):
    """The update block: mixes the scalars and vectors of each atom."""

    def __init__(self, hidden_channels: int) -> None:
        super().__init__()
        self.mix = Linear(hidden_channels, 2 * hidden_channels, bias=False)
        self.first = Linear(2 * hidden_channels, hidden_channels)
        self.second = Linear(hidden_channels, 3 * hidden_channels)

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new scalars (A, F) and vectors (A, 3, F)."""
        left, right = self.mix(vectors).chunk(2, -1)
        # the squares, and the term that keeps the gradient of the root finite, underflow in half
        wide = right.to(torch.promote_types(right.dtype, torch.float32))
        length = (wide.square().sum(1) + 1e-8).sqrt()
        mixed = self.second(F.silu(self.first(torch.cat([scalars, length], 1))))
        scale, inner, own = mixed.chunk(3, 1)
        new_scalars = scalars + own + inner * (left * right).sum(1)
        return new_scalars, vectors + scale[:, None] * left


class PaiNN(nn.Module):
    """PaiNN with an energy summed over atoms."""

    def __init__(self, size: PaiNNSize, cutoff: float) -> None:
        super().__init__()
        self.size, self.cutoff = size, cutoff
        self.embedding = nn.Embedding(100, size.hidden_channels, padding_idx=0)
        self.messages = nn.ModuleList(PaiNNMessage(size) for _ in range(size.num_interactions))
        self.updates = nn.ModuleList(
            PaiNNUpdate(size.hidden_channels) for _ in range(size.num_interactions)
        )
        self.head_in = Linear(size.hidden_channels, size.hidden_channels // 2)
        self.head_out = Linear(size.hidden_channels // 2, 1)

    def forward(self, graph: Graph) -> Tensor:
        """Return one energy per molecule, (B,), from the distances and vectors of pairs."""
        distance = graph.distance[:, None]
        order = torch.arange(
            1, self.size.num_radial + 1, device=distance.device, dtype=distance.dtype
        )
        radial = torch.sin(order * (math.pi / self.cutoff) * distance) / distance
        cosine = 0.5 * (torch.cos(distance * (math.pi / self.cutoff)) + 1)
        envelope = cosine * (distance < self.cutoff)
        direction = graph.apart / distance
        scalars = self.embedding(graph.numbers)
        vectors = scalars.new_zeros(len(scalars), 3, self.size.hidden_channels)
        for message, update in zip(self.messages, self.updates, strict=True):
            changes = message(scalars, vectors, radial, envelope, direction, graph)
            scalars, vectors = update(scalars + changes[0], vectors + changes[1])
        energy = self.head_out(F.silu(self.head_in(scalars)))
        return sum_molecules(energy, graph).squeeze(1)
