"""DimeNet (Gasteiger et al., arXiv 2003.03123) and DimeNet++ (arXiv 2011.14115): messages that know angles.

Both are calculated without a row for every triplet, see ``triplets``. DimeNet's angle is the one of its first
implementation, which every later one keeps: between i → j and i → k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
from wattlaw.workloads.molecules.models.dimenet_bases import RADIAL, SPHERICAL, Bases
from wattlaw.workloads.molecules.models.dimenet_layers import Residual, by_parts, dense
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression

NAMES = {"dimenet": "DimeNetQM9", "dimenet++": "DimeNetPlusQM9"}


class Size(NamedTuple):
    """Sizes of the layers, the cutoff in Å, and how many molecules of QM9 it trains on (None: all).

    ``bilinear`` is DimeNet's; ``triplet``, ``basis`` and ``output`` are DimeNet++'s.
    """

    hidden: int
    blocks: int
    bilinear: int = 8
    triplet: int = 64
    basis: int = 8
    output: int = 256
    cutoff: float = 5.0
    molecules: int | None = None


class Start(nn.Module):
    """The first messages, from the elements of both atoms and their distance."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(95, hidden)
        nn.init.uniform_(self.elements.weight, -math.sqrt(3), math.sqrt(3))
        self.radial = Linear(RADIAL, hidden)
        self.join = Linear(3 * hidden, hidden)

    def forward(self, radial: Tensor, graph: Graph) -> Tensor:
        """Return messages (2P, hidden). The joining layer is applied to atoms and pairs, which are fewer."""
        end, start, apart = self.join.weight.chunk(3, 1)
        elements = self.elements.weight
        ends = F.embedding(graph.numbers, elements @ end.T)
        starts = F.embedding(graph.numbers, elements @ start.T)
        both = linear(F.silu(self.radial(radial)), apart, self.join.bias)
        joined = spread(ends, graph, to_ends=True) + spread(starts, graph, to_ends=False)
        return F.silu(joined.view(2, -1, joined.shape[1]) + both).flatten(0, 1)


class Interaction(nn.Module):
    """What a message becomes when it has heard of the others: layers that DimeNet and DimeNet++ share."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.arriving, self.own = dense(hidden, hidden), dense(hidden, hidden)

    def close(self, hidden: int) -> None:
        """Add the layers that follow, so that parameters stand in the order of their use."""
        self.before = Residual(hidden)
        self.middle = dense(hidden, hidden)
        self.after = nn.Sequential(Residual(hidden), Residual(hidden))

    def update(self, x: Tensor, sums: Tensor) -> Tensor:
        """Return the new messages, (2P, hidden), from the old ones and what they hear of others."""
        heard = F.silu(self.own(x)) + self.heard(sums)
        out: Tensor = self.after(F.silu(self.middle(self.before(heard))) + x)
        return out

    def heard(self, sums: Tensor) -> Tensor:
        """Return sums over triplets as what is added to the messages, (2P, hidden)."""
        return sums


class Bilinear(Interaction):
    """DimeNet's: triplets enter through a bilinear layer."""

    def __init__(self, size: Size) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(
            torch.randn(size.hidden, size.bilinear, size.hidden) * (2 / size.hidden)
        )
        self.radial = dense(RADIAL, size.hidden, bias=False)
        self.angular = dense(SPHERICAL * RADIAL, size.bilinear, bias=False)
        self.arriving, self.own = dense(size.hidden, size.hidden), dense(size.hidden, size.hidden)
        self.close(size.hidden)

    def forward(self, x: Tensor, radial: Tensor, angular: Tensor, triplets: Triplets) -> Tensor:
        """Return the new messages, (2P, hidden)."""
        arriving = weigh(F.silu(self.arriving(x)), self.radial(radial))
        mixed = torch.bmm(
            angular, self.angular.weight.view(-1, SPHERICAL, RADIAL).permute(1, 2, 0)
        ).transpose(0, 1)
        sums = bilinear_sum(arriving, mixed, triplets)
        # the sum over triplets comes first, so that the large product has a row a message, not a triplet
        sums = linear(sums, self.weight.flatten(1))[triplets.slots.origin]
        return by_parts(self.update, x, sums)


class Narrow(Interaction):
    """DimeNet++'s: triplets enter by a product of fewer features."""

    def __init__(self, size: Size) -> None:
        nn.Module.__init__(self)
        self.radial_in, self.radial_out = (
            dense(RADIAL, size.basis, False),
            dense(size.basis, size.hidden, False),
        )
        self.angular_in = dense(SPHERICAL * RADIAL, size.basis, bias=False)
        self.angular_out = dense(size.basis, size.triplet, bias=False)
        self.arriving, self.own = dense(size.hidden, size.hidden), dense(size.hidden, size.hidden)
        self.down, self.up = (
            dense(size.hidden, size.triplet, False),
            dense(size.triplet, size.hidden, False),
        )
        self.close(size.hidden)

    def forward(self, x: Tensor, radial: Tensor, angular: Tensor, triplets: Triplets) -> Tensor:
        """Return the new messages, (2P, hidden)."""
        weights = self.radial_out(self.radial_in(radial))
        # both directions share the weights
        directions = x.chunk(2) if x.device.type == "cpu" else (x,)
        arriving = torch.cat(
            [by_parts(self.narrowed, messages, weights) for messages in directions]
        )
        both = self.angular_out.weight @ self.angular_in.weight
        mixed = torch.bmm(angular, both.view(-1, SPHERICAL, RADIAL).permute(1, 2, 0)).transpose(
            0, 1
        )
        return by_parts(self.update, x, filtered_sum(arriving, mixed, triplets))

    def narrowed(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return messages, P or 2P of them, with few features: (…, hidden) and (P, hidden) -> (…, triplet)."""
        arriving = F.silu(self.arriving(x))
        weighed = arriving * weights if len(x) == len(weights) else weigh(arriving, weights)
        return F.silu(self.down(weighed))

    def heard(self, sums: Tensor) -> Tensor:
        return F.silu(self.up(sums))


class Output(nn.Module):
    """Messages summed at the atoms where they end, and a perceptron; it gives 0 until it is trained."""

    def __init__(self, hidden: int, wide: int) -> None:
        super().__init__()
        self.radial = dense(RADIAL, hidden, bias=False)
        self.up = dense(hidden, wide, bias=False) if wide else nn.Identity()
        width = wide or hidden
        self.layers = nn.ModuleList(dense(width, width) for _ in range(3))
        self.last = Linear(width, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, radial: Tensor, graph: Graph) -> Tensor:
        """Return the share of each atom, (A, 1)."""
        atoms = self.up(collect(weigh(x, self.radial(radial)), graph))
        for layer in self.layers:
            atoms = F.silu(layer(atoms))
        out: Tensor = self.last(atoms)
        return out


class DimeNet(nn.Module):
    """DimeNet, or DimeNet++ where ``plus``: one number a molecule."""

    def __init__(self, size: Size, plus: bool) -> None:
        super().__init__()
        self.plus = plus
        self.bases = Bases(size.cutoff)
        self.start = Start(size.hidden)
        wide = size.output if plus else 0
        self.outputs = nn.ModuleList(Output(size.hidden, wide) for _ in range(size.blocks + 1))
        block = Narrow if plus else Bilinear
        self.interactions = nn.ModuleList(block(size) for _ in range(size.blocks))

    def forward(self, graph: Graph) -> Tensor:
        """Return one number a molecule, (B,)."""
        radial, angular = self.bases(graph.distance)
        triplets = (
            angle_products(graph, SPHERICAL)
            if self.plus
            else angles(graph, SPHERICAL, at_goal=True)
        )
        angular = angular.transpose(0, 1).contiguous()
        x = self.start(radial, graph)
        atoms = self.outputs[0](x, radial, graph)
        for interaction, output in zip(self.interactions, list(self.outputs)[1:], strict=True):
            x = interaction(x, radial, angular, triplets)
            atoms = atoms + output(x, radial, graph)
        return sum_molecules(atoms, graph).squeeze(1)


class DimeNetQM9(QM9Regression):
    """DimeNet learns a property of QM9's molecules. Option: ``target``."""

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 16, "base": 32}
    sizes: ClassVar = {
        "tiny": Size(32, 2, bilinear=4, molecules=1024),
        "base": Size(128, 6),
    }
    plus = False

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.size = self.sizes[preset]
        self.cutoff, self.molecules = self.size.cutoff, self.size.molecules

    def model(self) -> nn.Module:
        return DimeNet(self.size, self.plus)

    def collate(self, samples: Sequence[Molecule]) -> Graph:
        return batch_molecules(samples, self.cutoff, slots=True)


class DimeNetPlusQM9(DimeNetQM9):
    """DimeNet++ learns a property of QM9's molecules. Option: ``target``."""

    sizes: ClassVar = {
        "tiny": Size(32, 2, triplet=16, basis=4, output=64, molecules=1024),
        "base": Size(128, 4),
    }
    plus = True
