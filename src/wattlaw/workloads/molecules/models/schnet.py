"""SchNet: continuous-filter convolutions on atoms (Schütt et al., NeurIPS 2017, arXiv 1706.08566).

The filter of a pair depends on its distance alone. So it is computed once for both directions, and in
single precision on a grid of distances, from which pairs are interpolated (see ``FILTER_POINTS``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.batches import Molecule, batch_molecules, join
from wattlaw.workloads.molecules.graphs.grid import grid_points, interpolate
from wattlaw.workloads.molecules.graphs.pairs import Graph, convolve, sum_molecules
from wattlaw.workloads.molecules.graphs.products import Linear
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression

NAMES = {"schnet": "SchNetQM9"}

FILTER_POINTS = 256
"""Points of the filter's grid. With 50 Gaussians up to 10 Å the interpolation's error is below 1e-6 of the filter,
less than single precision loses in the sum over neighbours."""


class Size(NamedTuple):
    """How large a SchNet is, its cutoff in Å, and how many molecules of QM9 it trains on (None: all)."""

    hidden: int
    filters: int
    interactions: int
    gaussians: int
    cutoff: float
    molecules: int | None


SIZES = {
    "tiny": Size(64, 64, 3, 50, 10.0, 2560),
    "base": Size(128, 128, 6, 50, 10.0, None),
}


def shifted_softplus(x: Tensor) -> Tensor:
    """Return ln(1/2 + eˣ/2), SchNet's activation, which is 0 at 0."""
    return F.softplus(x) - math.log(2.0)


class Interaction(nn.Module):
    """One continuous-filter convolution with its filter network and the layers around it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.filter_in = Linear(size.gaussians, size.filters)
        self.filter_out = Linear(size.filters, size.filters)
        self.before = Linear(size.hidden, size.filters, bias=False)
        self.after = Linear(size.filters, size.hidden)
        self.out = Linear(size.hidden, size.hidden)

    def filters(self, basis: Tensor, envelope: Tensor) -> Tensor:
        """Return the filters at some distances: basis (D, gaussians), envelope (D, 1) -> (D, filters)."""
        out: Tensor = self.filter_out(shifted_softplus(self.filter_in(basis)))
        return out * envelope

    def forward(self, atoms: Tensor, basis: Tensor, envelope: Tensor, graph: Graph) -> Tensor:
        """Return the change of the atoms' features: (A, hidden) -> (A, hidden)."""
        filters = self.filters(basis, envelope)
        if graph.grid is not None:
            # interpolation adds rounding of its own: never in less than single precision
            filters = interpolate(filters.to(basis.dtype), graph.grid)
        summed = convolve(filters, self.before(atoms), graph)
        out: Tensor = self.out(shifted_softplus(self.after(summed)))
        return out


class SchNet(nn.Module):
    """SchNet with a summed (extensive) output, one number a molecule."""

    offsets: Tensor
    grid: Tensor

    def __init__(self, size: Size, filter_points: int = FILTER_POINTS) -> None:
        super().__init__()
        self.size = size
        # 100 rows as in the reference implementations, so that their weights fit
        self.embedding = nn.Embedding(100, size.hidden, padding_idx=0)
        self.interactions = nn.ModuleList(Interaction(size) for _ in range(size.interactions))
        self.head_in = Linear(size.hidden, size.hidden // 2)
        self.head_out = Linear(size.hidden // 2, 1)
        self.register_buffer(
            "offsets", torch.linspace(0, size.cutoff, size.gaussians), persistent=False
        )
        at = torch.tensor(grid_points(size.cutoff, filter_points), dtype=torch.get_default_dtype())
        self.register_buffer("grid", at, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def basis(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return Gaussians (D, gaussians) and the cosine cutoff (D, 1) of distances (D,) in Å."""
        width = self.size.cutoff / (self.size.gaussians - 1)
        gaussians = torch.exp((distance[:, None] - self.offsets).square() * (-0.5 / width**2))
        envelope = 0.5 * (torch.cos(distance * (math.pi / self.size.cutoff)) + 1.0)
        return gaussians, envelope[:, None]

    def forward(self, graph: Graph) -> Tensor:
        """Return one number a molecule, (B,)."""
        at = graph.distance if graph.grid is None else self.grid
        basis, envelope = self.basis(at)
        x = self.embedding(graph.numbers)
        for block in self.interactions:
            x = x + block(x, basis, envelope, graph)
        x = self.head_out(shifted_softplus(self.head_in(x)))
        return sum_molecules(x, graph).squeeze(1)


class TrainableSchNet(nn.Module):
    """SchNet as it is used for force fields: each block has Gaussians of its own, whose places and widths are learnt.

    The cosine cutoff makes energies and forces continuous where a pair comes into reach (our choice).
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(100, size.hidden, padding_idx=0)
        self.interactions = nn.ModuleList(
            TrainableInteraction(size) for _ in range(size.interactions)
        )
        self.head_in = Linear(size.hidden, size.hidden // 2)
        self.head_out = Linear(size.hidden // 2, 1)

    def forward(self, graph: Graph) -> Tensor:
        """Return one energy a molecule, (B,)."""
        x = self.embedding(graph.numbers)
        for block in self.interactions:
            x = x + block(x, graph)
        return sum_molecules(self.head_out(shifted_softplus(self.head_in(x))), graph).squeeze(1)


class TrainableInteraction(nn.Module):
    """One continuous-filter convolution with Gaussians of its own."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.cutoff = size.cutoff
        self.places = nn.Parameter(torch.linspace(0, size.cutoff, size.gaussians))
        self.widths = nn.Parameter(
            torch.full((size.gaussians,), size.cutoff / (size.gaussians - 1))
        )
        self.filter_in = Linear(size.gaussians, size.gaussians)
        self.filter_out = Linear(size.gaussians, size.filters)
        self.before = Linear(size.hidden, size.filters)
        self.after = Linear(size.filters, size.hidden)
        self.out = Linear(size.hidden, size.hidden)

    def forward(self, atoms: Tensor, graph: Graph) -> Tensor:
        """Return the change of the atoms' features: (A, hidden) -> (A, hidden)."""
        distance = graph.distance[:, None]
        basis = torch.exp(-0.5 * ((distance - self.places) / self.widths).square())
        envelope = 0.5 * (torch.cos(distance * (math.pi / self.cutoff)) + 1.0)
        filters = self.filter_out(shifted_softplus(self.filter_in(basis))) * envelope
        summed = convolve(filters, self.before(atoms), graph)
        out: Tensor = self.out(shifted_softplus(self.after(summed)))
        return out


class SchNetQM9(QM9Regression):
    """SchNet learns a property of QM9's molecules. Options: ``target``; ``interpolate`` the filters or not."""

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 64, "base": 32}
    options: ClassVar = {**QM9Regression.options, "interpolate": True}

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]
        self.cutoff, self.molecules = self.size.cutoff, self.size.molecules

    def model(self) -> nn.Module:
        return SchNet(self.size)

    def collate(self, samples: Sequence[Molecule]) -> Graph:
        molecules = join(samples)
        # a grid pays where it has fewer points than there are pairs
        use = self.chosen["interpolate"] and molecules.pairs.sum() > FILTER_POINTS
        return batch_molecules(molecules, self.cutoff, FILTER_POINTS if use else 0)
