"""SchNet: continuous-filter convolutions on atoms (Schütt et al., NeurIPS 2017, arXiv 1706.08566).

The filter of a pair depends on its distance only. It is computed once for both directions, and in
single precision on a grid of distances, between which filters are interpolated (see
``FILTER_POINTS``).

Shapes: A atoms, B molecules, P pairs, D distances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.base import Options
from wattlaw.workloads.molecules.graphs.batches import Molecule, batch_molecules, concatenate
from wattlaw.workloads.molecules.graphs.grid import grid_points, interpolate
from wattlaw.workloads.molecules.graphs.pairs import Graph, convolve, sum_molecules
from wattlaw.workloads.molecules.graphs.products import Linear
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression

NAMES = {"schnet": "SchNetQM9"}

FILTER_POINTS = 256
"""Points of the grid. With 50 Gaussians up to 10 Å the error of interpolation is below 1e-6 of the
filter, less than single precision loses in the sum over neighbours.
"""


class SchNetSize(NamedTuple):
    """Channels and blocks of a SchNet, its cutoff in Å, and how many molecules of QM9 it is trained
    on (None: all).
    """

    hidden_channels: int
    num_filters: int
    num_interactions: int
    num_gaussians: int
    cutoff: float
    molecules: int | None


SIZES = {
    "tiny": SchNetSize(64, 64, 3, 50, 10.0, 2560),
    "base": SchNetSize(128, 128, 6, 50, 10.0, None),
}


def shifted_softplus(x: Tensor) -> Tensor:
    """Return ln(1/2 + eˣ/2), SchNet's activation, which is 0 at 0."""
    return F.softplus(x) - math.log(2.0)


class SchNetInteraction(nn.Module):
    """One continuous-filter convolution, with its filter network and the layers around it."""

    def __init__(self, size: SchNetSize) -> None:
        super().__init__()
        self.filter_in = Linear(size.num_gaussians, size.num_filters)
        self.filter_out = Linear(size.num_filters, size.num_filters)
        self.before = Linear(size.hidden_channels, size.num_filters, bias=False)
        self.after = Linear(size.num_filters, size.hidden_channels)
        self.out = Linear(size.hidden_channels, size.hidden_channels)

    def filters(self, basis: Tensor, envelope: Tensor) -> Tensor:
        """Return filters (D, num_filters) from basis (D, num_gaussians) and envelope (D, 1)."""
        out: Tensor = self.filter_out(shifted_softplus(self.filter_in(basis)))
        return out * envelope

    def forward(self, atoms: Tensor, basis: Tensor, envelope: Tensor, graph: Graph) -> Tensor:
        """Return the change of the atoms' features, (A, hidden_channels)."""
        filters = self.filters(basis, envelope)
        if graph.grid is not None:
            # interpolation adds rounding errors: never below single precision
            filters = interpolate(filters.to(basis.dtype), graph.grid)
        summed = convolve(filters, self.before(atoms), graph)
        out: Tensor = self.out(shifted_softplus(self.after(summed)))
        return out


class SchNet(nn.Module):
    """SchNet with an output summed over atoms, one value per molecule."""

    offsets: Tensor
    grid: Tensor

    def __init__(self, size: SchNetSize, filter_points: int = FILTER_POINTS) -> None:
        super().__init__()
        self.size = size
        # 100 rows as in the reference implementations, so that their weights fit
        self.embedding = nn.Embedding(100, size.hidden_channels, padding_idx=0)
        self.interactions = nn.ModuleList(
            SchNetInteraction(size) for _ in range(size.num_interactions)
        )
        self.head_in = Linear(size.hidden_channels, size.hidden_channels // 2)
        self.head_out = Linear(size.hidden_channels // 2, 1)
        self.register_buffer(
            "offsets", torch.linspace(0, size.cutoff, size.num_gaussians), persistent=False
        )
        at = torch.tensor(grid_points(size.cutoff, filter_points), dtype=torch.get_default_dtype())
        self.register_buffer("grid", at, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def basis(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return Gaussians (D, num_gaussians) and cosine cutoff (D, 1) of distances (D,) in Å."""
        width = self.size.cutoff / (self.size.num_gaussians - 1)
        gaussians = torch.exp((distance[:, None] - self.offsets).square() * (-0.5 / width**2))
        envelope = 0.5 * (torch.cos(distance * (math.pi / self.size.cutoff)) + 1.0)
        return gaussians, envelope[:, None]

    def forward(self, graph: Graph) -> Tensor:
        """Return one value per molecule, (B,)."""
        at = graph.distance if graph.grid is None else self.grid
        basis, envelope = self.basis(at)
        x = self.embedding(graph.numbers)
        for block in self.interactions:
            x = x + block(x, basis, envelope, graph)
        x = self.head_out(shifted_softplus(self.head_in(x)))
        return sum_molecules(x, graph).squeeze(1)


class TrainableSchNet(nn.Module):
    """SchNet for force fields: each block has its own Gaussians with trainable centres and widths.

    The cosine cutoff makes energies and forces continuous at the cutoff (our choice).
    """

    def __init__(self, size: SchNetSize) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(100, size.hidden_channels, padding_idx=0)
        self.interactions = nn.ModuleList(
            TrainableInteraction(size) for _ in range(size.num_interactions)
        )
        self.head_in = Linear(size.hidden_channels, size.hidden_channels // 2)
        self.head_out = Linear(size.hidden_channels // 2, 1)

    def forward(self, graph: Graph) -> Tensor:
        """Return one energy per molecule, (B,)."""
        x = self.embedding(graph.numbers)
        for block in self.interactions:
            x = x + block(x, graph)
        return sum_molecules(self.head_out(shifted_softplus(self.head_in(x))), graph).squeeze(1)


class TrainableInteraction(nn.Module):
    """One continuous-filter convolution with its own Gaussians."""

    def __init__(self, size: SchNetSize) -> None:
        super().__init__()
        self.cutoff = size.cutoff
        self.places = nn.Parameter(torch.linspace(0, size.cutoff, size.num_gaussians))
        self.widths = nn.Parameter(
            torch.full((size.num_gaussians,), size.cutoff / (size.num_gaussians - 1))
        )
        self.filter_in = Linear(size.num_gaussians, size.num_gaussians)
        self.filter_out = Linear(size.num_gaussians, size.num_filters)
        self.before = Linear(size.hidden_channels, size.num_filters)
        self.after = Linear(size.num_filters, size.hidden_channels)
        self.out = Linear(size.hidden_channels, size.hidden_channels)

    def forward(self, atoms: Tensor, graph: Graph) -> Tensor:
        """Return the change of the atoms' features, (A, hidden_channels)."""
        distance = graph.distance[:, None]
        basis = torch.exp(-0.5 * ((distance - self.places) / self.widths).square())
        envelope = 0.5 * (torch.cos(distance * (math.pi / self.cutoff)) + 1.0)
        filters = self.filter_out(shifted_softplus(self.filter_in(basis))) * envelope
        summed = convolve(filters, self.before(atoms), graph)
        out: Tensor = self.out(shifted_softplus(self.after(summed)))
        return out


class SchNetQM9(QM9Regression):
    """SchNet on a property of QM9's molecules. Option ``interpolate``: whether filters are."""

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 64, "base": 32}
    options: ClassVar = {**QM9Regression.options, "interpolate": True}

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]
        self.cutoff, self.molecules = self.size.cutoff, self.size.molecules

    def model(self) -> nn.Module:
        return SchNet(self.size)

    def collate(self, samples: Sequence[Molecule]) -> Graph:
        molecules = concatenate(samples)
        # a grid saves work if it has fewer points than there are pairs
        use = self.chosen["interpolate"] and molecules.pairs.sum() > FILTER_POINTS
        return batch_molecules(molecules, self.cutoff, FILTER_POINTS if use else 0)
