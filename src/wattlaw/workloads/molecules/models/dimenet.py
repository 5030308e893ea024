"""DimeNet (Gasteiger et al., arXiv 2003.03123) and DimeNet++ (arXiv 2011.14115).

Both are computed without a row for every triplet, see ``triplets``. DimeNet's angle is that of
its first implementation, which later ones keep: between i → j and i → k.

Shapes: A atoms, B molecules, P pairs, 2P messages, C hidden channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.base import Options
from wattlaw.workloads.molecules.graphs.batches import Molecule, batch_molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph, collect, spread, sum_molecules, weigh
from wattlaw.workloads.molecules.graphs.products import Linear, linear
from wattlaw.workloads.molecules.graphs.triplets import (
    Triplets,
    angle_products,
    angles,
    bilinear_sum,
    filtered_sum,
)
from wattlaw.workloads.molecules.models.dimenet_bases import RADIAL, SPHERICAL, DimeNetBases
from wattlaw.workloads.molecules.models.dimenet_layers import (
    ResidualLayer,
    in_chunks,
    orthogonal_linear,
)
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression

NAMES = {"dimenet": "DimeNetQM9", "dimenet++": "DimeNetPlusQM9"}


class DimeNetSize(NamedTuple):
    """Channels and blocks, cutoff in Å, and the molecules of QM9 it is trained on (None: all).

    ``num_bilinear`` is DimeNet's; the ``triplet_``, ``basis_`` and ``out_channels`` are
    DimeNet++'s.
    """

    hidden_channels: int
    num_blocks: int
    num_bilinear: int = 8
    triplet_channels: int = 64
    basis_channels: int = 8
    out_channels: int = 256
    cutoff: float = 5.0
    molecules: int | None = None


class MessageEmbedding(nn.Module):
    """The first messages, from the elements of both atoms and their distance."""

    def __init__(self, hidden_channels: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(95, hidden_channels)
        nn.init.uniform_(self.elements.weight, -math.sqrt(3), math.sqrt(3))
        self.radial = Linear(RADIAL, hidden_channels)
        self.join = Linear(3 * hidden_channels, hidden_channels)

    def forward(self, radial: Tensor, graph: Graph) -> Tensor:
        """Return messages (2P, C).

        The last layer is linear in both atoms and the pair, and is applied to these, which are
        fewer.
        """
        end, start, apart = self.join.weight.chunk(3, 1)
        elements = self.elements.weight
        ends = F.embedding(graph.numbers, elements @ end.T)
        starts = F.embedding(graph.numbers, elements @ start.T)
        both = linear(F.silu(self.radial(radial)), apart, self.join.bias)
        joined = spread(ends, graph, to_ends=True) + spread(starts, graph, to_ends=False)
        return F.silu(joined.view(2, -1, joined.shape[1]) + both).flatten(0, 1)


class DirectionalBlock(nn.Module):
    """Updates messages by sums over triplets: the layers that DimeNet and DimeNet++ share.

    A subclass adds its own layers, then calls ``add_update_layers``, so that parameters are in the
    order of their use.
    """

    own: nn.Linear

    def add_update_layers(self, hidden_channels: int) -> None:
        """Add the layers of ``update``."""
        self.before = ResidualLayer(hidden_channels)
        self.middle = orthogonal_linear(hidden_channels, hidden_channels)
        self.after = nn.Sequential(ResidualLayer(hidden_channels), ResidualLayer(hidden_channels))

    def update(self, x: Tensor, sums: Tensor) -> Tensor:
        """Return the new messages, (2P, C), from the old ones and their sums over triplets."""
        combined = F.silu(self.own(x)) + self.project(sums)
        out: Tensor = self.after(F.silu(self.middle(self.before(combined))) + x)
        return out

    def project(self, sums: Tensor) -> Tensor:
        """Return sums over triplets with hidden channels, (2P, C)."""
        return sums


class BilinearBlock(DirectionalBlock):
    """DimeNet's: triplets enter through a bilinear layer."""

    def __init__(self, size: DimeNetSize) -> None:
        super().__init__()
        C = size.hidden_channels
        self.weight = nn.Parameter(torch.randn(C, size.num_bilinear, C) * (2 / C))
        self.radial = orthogonal_linear(RADIAL, C, bias=False)
        self.angular = orthogonal_linear(SPHERICAL * RADIAL, size.num_bilinear, bias=False)
        self.arriving, self.own = orthogonal_linear(C, C), orthogonal_linear(C, C)
        self.add_update_layers(C)

    def forward(self, x: Tensor, radial: Tensor, angular: Tensor, triplets: Triplets) -> Tensor:
        """Return the new messages, (2P, C)."""
        arriving = weigh(F.silu(self.arriving(x)), self.radial(radial))
        basis_weight = self.angular.weight.view(-1, SPHERICAL, RADIAL).permute(1, 2, 0)
        mixed = torch.bmm(angular, basis_weight).transpose(0, 1)
        sums = bilinear_sum(arriving, mixed, triplets)
        # triplets are summed first: the large product has a row per message, not per triplet
        sums = linear(sums, self.weight.flatten(1))[triplets.slots.origin]
        return in_chunks(self.update, x, sums)


class DownProjectedBlock(DirectionalBlock):
    """DimeNet++'s: triplets enter by a Hadamard product of fewer channels."""

    def __init__(self, size: DimeNetSize) -> None:
        super().__init__()
        C, basis, triplet = size.hidden_channels, size.basis_channels, size.triplet_channels
        self.radial_in = orthogonal_linear(RADIAL, basis, bias=False)
        self.radial_out = orthogonal_linear(basis, C, bias=False)
        self.angular_in = orthogonal_linear(SPHERICAL * RADIAL, basis, bias=False)
        self.angular_out = orthogonal_linear(basis, triplet, bias=False)
        self.arriving, self.own = orthogonal_linear(C, C), orthogonal_linear(C, C)
        self.down = orthogonal_linear(C, triplet, bias=False)
        self.up = orthogonal_linear(triplet, C, bias=False)
        self.add_update_layers(C)

    def forward(self, x: Tensor, radial: Tensor, angular: Tensor, triplets: Triplets) -> Tensor:
        """Return the new messages, (2P, C)."""
        weights = self.radial_out(self.radial_in(radial))
        # both directions share the weights
        directions = x.chunk(2) if x.device.type == "cpu" else (x,)
        chunks = [in_chunks(self.project_down, messages, weights) for messages in directions]
        arriving = torch.cat(chunks)
        both = self.angular_out.weight @ self.angular_in.weight
        basis_weight = both.view(-1, SPHERICAL, RADIAL).permute(1, 2, 0)
        mixed = torch.bmm(angular, basis_weight).transpose(0, 1)
        return in_chunks(self.update, x, filtered_sum(arriving, mixed, triplets))

    def project_down(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return messages in fewer channels: (P or 2P, C) and (P, C) -> (…, triplet_channels)."""
        arriving = F.silu(self.arriving(x))
        is_one_direction = len(x) == len(weights)
        weighted = arriving * weights if is_one_direction else weigh(arriving, weights)
        return F.silu(self.down(weighted))

    def project(self, sums: Tensor) -> Tensor:
        return F.silu(self.up(sums))


class OutputBlock(nn.Module):
    """Sums messages at the atoms where they end, then an MLP, whose output starts at 0.

    ``out_channels`` 0 is DimeNet's, without a layer to more channels.
    """

    def __init__(self, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        self.radial = orthogonal_linear(RADIAL, hidden_channels, bias=False)
        self.up: nn.Module = nn.Identity()
        if out_channels:
            self.up = orthogonal_linear(hidden_channels, out_channels, bias=False)
        channels = out_channels or hidden_channels
        self.layers = nn.ModuleList(orthogonal_linear(channels, channels) for _ in range(3))
        self.last = Linear(channels, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, radial: Tensor, graph: Graph) -> Tensor:
        """Return the contribution of each atom, (A, 1)."""
        atoms = self.up(collect(weigh(x, self.radial(radial)), graph))
        for layer in self.layers:
            atoms = F.silu(layer(atoms))
        out: Tensor = self.last(atoms)
        return out


class DimeNet(nn.Module):
    """DimeNet, or DimeNet++ if ``plus``: one value per molecule."""

    def __init__(self, size: DimeNetSize, plus: bool) -> None:
        super().__init__()
        self.plus = plus
        self.bases = DimeNetBases(size.cutoff)
        self.start = MessageEmbedding(size.hidden_channels)
        out_channels = size.out_channels if plus else 0
        self.outputs = nn.ModuleList(
            OutputBlock(size.hidden_channels, out_channels) for _ in range(size.num_blocks + 1)
        )
        block = DownProjectedBlock if plus else BilinearBlock
        self.interactions = nn.ModuleList(block(size) for _ in range(size.num_blocks))

    def forward(self, graph: Graph) -> Tensor:
        """Return one value per molecule, (B,)."""
        radial, angular = self.bases(graph.distance)
        if self.plus:
            triplets = angle_products(graph, SPHERICAL)
        else:
            triplets = angles(graph, SPHERICAL, at_target=True)
        angular = angular.transpose(0, 1).contiguous()
        x = self.start(radial, graph)
        atoms = self.outputs[0](x, radial, graph)
        for interaction, output in zip(self.interactions, list(self.outputs)[1:], strict=True):
            x = interaction(x, radial, angular, triplets)
            atoms = atoms + output(x, radial, graph)
        return sum_molecules(atoms, graph).squeeze(1)


class DimeNetQM9(QM9Regression):
    """DimeNet on a property of QM9's molecules."""

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 16, "base": 32}
    sizes: ClassVar = {
        "tiny": DimeNetSize(32, 2, num_bilinear=4, molecules=1024),
        "base": DimeNetSize(128, 6),
    }
    plus = False

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.size = self.sizes[preset]
        self.cutoff, self.molecules = self.size.cutoff, self.size.molecules

    def model(self) -> nn.Module:
        return DimeNet(self.size, self.plus)

    def collate(self, samples: Sequence[Molecule]) -> Graph:
        return batch_molecules(samples, self.cutoff, slots=True)


class DimeNetPlusQM9(DimeNetQM9):
    """DimeNet++ on a property of QM9's molecules."""

    sizes: ClassVar = {
        "tiny": DimeNetSize(
            32, 2, triplet_channels=16, basis_channels=4, out_channels=64, molecules=1024
        ),
        "base": DimeNetSize(128, 4),
    }
    plus = True
