"""PNA: several aggregations of neighbours, scaled by their number (Corso et al., arXiv 2004.05718).

Sizes as in the model for ZINC: 4 layers, 75 channels, 5 towers. What is linear before the
aggregation is applied to atoms and to the four kinds of bonds, not to every message.

Shapes: A atoms, B molecules, P pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Options, Split
from wattlaw.workloads.cache import Array
from wattlaw.workloads.data_options import GENERATED_NOTE, OPTIONS, skipped_records
from wattlaw.workloads.molecules.graphs.batches import batch_molecules
from wattlaw.workloads.molecules.graphs.bonds import BondedMolecule, concatenate_bonded
from wattlaw.workloads.molecules.graphs.molecular_graphs import (
    KINDS,
    MolecularGraphs,
    graph_of_geometry,
)
from wattlaw.workloads.molecules.graphs.pairs import Graph, sum_molecules
from wattlaw.workloads.molecules.graphs.products import Linear, linear
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression
from wattlaw.workloads.molecules.sources.generated import random_graphs
from wattlaw.workloads.molecules.sources.property_data import GENERATED_COUNT, estimated_bonds
from wattlaw.workloads.molecules.sources.qm9 import PROPERTIES, qm9_smiles
from wattlaw.workloads.molecules.sources.qm9_bonds import qm9_graphs
from wattlaw.workloads.molecules.sources.smiles import MolecularGraph
from wattlaw.workloads.molecules.sources.smiles_table import is_table, read_column
from wattlaw.workloads.molecules.sources.targets import split_indices, standardise

VERSION = 2
NAMES = {"pna": "PNAMolecules"}

AVERAGE_LOG = 1.114
"""Mean of ln(number of bonds + 1) over the heavy atoms of QM9."""

BOND_KINDS, AGGREGATORS, SCALERS = 4, 4, 3


class PNASize(NamedTuple):
    """Layers, channels of atoms and of bonds, towers, and how many molecules of QM9 it is trained
    on (None: all).
    """

    num_layers: int
    hidden_channels: int
    towers: int
    bond_channels: int
    molecules: int | None = None


SIZES = {"tiny": PNASize(2, 20, 5, 10, 2048), "base": PNASize(4, 75, 5, 50)}


class PNALayer(nn.Module):
    """Mean, minimum, maximum and deviation over neighbours: plain, amplified, attenuated."""

    def __init__(self, size: PNASize) -> None:
        super().__init__()
        channels = size.hidden_channels
        self.hidden_channels, self.towers = channels, size.towers
        self.bond = Linear(size.bond_channels, channels)
        self.before = nn.ModuleList(Linear(3 * channels, channels) for _ in range(size.towers))
        in_channels = (AGGREGATORS * SCALERS + 1) * channels
        out_channels = channels // size.towers
        self.after = nn.ModuleList(Linear(in_channels, out_channels) for _ in range(size.towers))
        self.join = Linear(channels, channels)

    def forward(self, atoms: Tensor, bonds: Tensor, graph: Graph) -> Tensor:
        """Return (A, hidden_channels) from the same and the bond embeddings, (4, bond_channels)."""
        before = torch.cat([layer.weight for layer in self.before])  # type: ignore[misc]
        own, other, bond = before.chunk(3, 1)
        bias = torch.cat([layer.bias for layer in self.before])  # type: ignore[misc]
        from_self = linear(atoms, own, bias)
        from_neighbours = self.gather(linear(atoms, other), self.bond(bonds) @ bond.T, graph)
        aggregated, counts = self.aggregate(from_neighbours, from_self, graph)
        scale = torch.log(counts + 1)[:, None] / AVERAGE_LOG
        shrink = AVERAGE_LOG / torch.log(counts.clamp_min(1) + 1)[:, None]
        widths = [self.hidden_channels] + [AGGREGATORS * self.hidden_channels] * SCALERS
        outputs = []
        for tower, layer in enumerate(self.after):
            assert isinstance(layer, nn.Linear)
            # the scalers multiply whole atoms, so they may follow the products
            to_atoms, *to_aggregated = layer.weight.split(widths, 1)
            mixed = linear(aggregated[:, tower], torch.cat(to_aggregated))
            plain, amplified, attenuated = mixed.chunk(SCALERS, 1)
            scaled = plain + scale * amplified + shrink * attenuated
            outputs.append(linear(atoms, to_atoms, layer.bias) + scaled)
        out: Tensor = self.join(torch.cat(outputs, 1))
        return out

    def gather(self, atoms: Tensor, bonds: Tensor, graph: Graph) -> Tensor:
        """Return the contribution of each neighbour, (2P, towers·hidden_channels), in slots."""
        slots = graph.slots
        assert slots is not None, "batch the molecules with slots"
        starts = torch.cat([graph.second, graph.first])[slots.arriving]
        return atoms.index_select(0, starts) + bonds.index_select(0, graph.bonds[slots.pair])

    def aggregate(
        self, from_neighbours: Tensor, from_self: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor]:
        """Return the four aggregates of each atom, (A, towers, 4·hidden_channels), and the number
        of its neighbours, (A,).
        """
        slots = graph.slots
        assert slots is not None, "batch the molecules with slots"
        centres = torch.cat([graph.first, graph.second])[slots.arriving]
        shape = (-1, self.towers, self.hidden_channels)
        found, order = [], []
        for group in slots.groups:
            around = from_neighbours[group.slots].view(group.atoms, group.neighbours, -1)
            centre = centres[group.slots][:: group.neighbours]
            own = from_self.index_select(0, centre)
            # an atom's own part shifts all its messages equally, and leaves their deviation
            mean = around.mean(1)
            variance = (around - mean[:, None]).square().mean(1)
            deviation = variance.clamp(min=1e-5).sqrt().masked_fill(variance <= 1e-5, 0.0)
            four = (mean + own, around.amin(1) + own, around.amax(1) + own, deviation)
            found.append(torch.cat([x.view(shape) for x in four], 2))
            order.append(centre)
        counts = graph.row_starts.diff().to(from_neighbours.dtype)
        width = AGGREGATORS * self.hidden_channels
        out = from_neighbours.new_zeros(len(graph.numbers), self.towers, width)
        if found:
            out = out.index_copy(0, torch.cat(order), torch.cat(found))
        return out, counts


class PNA(nn.Module):
    """PNA with batch norm after each layer and an MLP on the sum over atoms."""

    def __init__(self, size: PNASize) -> None:
        super().__init__()
        channels = size.hidden_channels
        self.atoms = nn.Embedding(KINDS, channels)
        self.bonds = nn.Embedding(BOND_KINDS, size.bond_channels)
        self.layers = nn.ModuleList(PNALayer(size) for _ in range(size.num_layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(size.num_layers))
        head_channels = max(channels * 2 // 3, 1)
        self.head = nn.Sequential(
            Linear(channels, head_channels),
            nn.ReLU(),
            Linear(head_channels, head_channels // 2),
            nn.ReLU(),
            Linear(head_channels // 2, 1),
        )

    def forward(self, graph: Graph) -> Tensor:
        """Return one value per molecule, (B,)."""
        atoms = self.atoms(graph.numbers)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            atoms = F.relu(norm(layer(atoms, self.bonds.weight, graph)))
        out: Tensor = self.head(sum_molecules(atoms, graph))
        return out.squeeze(1)


class PNAMolecules(QM9Regression):
    """PNA on a property of QM9, or on a column of a table such as ZINC's, without positions.

    Options: ``data``, a CSV file with a column smiles, with the ``column`` to predict; or a file of
    molecules, with ``target`` and ``energy_unit``; or "generated"; ``on_bad``, "fail" or "skip".
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 64, "base": 128}
    options: ClassVar[dict[str, OptionValue]] = {
        "target": "gap",
        **OPTIONS,
        "energy_unit": "",
        "column": "logP",
    }

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]
        self.molecules = self.size.molecules

    def model(self) -> nn.Module:
        return PNA(self.size)

    def data(self, split: Split) -> Dataset[BondedMolecule]:
        graphs, values, unit = self._graphs()
        parts = split_indices(len(graphs))
        self.targets = standardise(values, parts["train"], unit)
        chosen = parts[split]
        return MolecularGraphs([graphs[k] for k in chosen], self.targets.values[chosen])

    def _graphs(self) -> tuple[list[MolecularGraph], Array, str]:
        """Return all molecules, the value of each (M,), and its unit."""
        path = self.data_options.path
        if path is not None and not is_table(path):
            return self._of_geometries()
        if path is not None:
            column = str(self.chosen["column"])
            found = read_column(path, column, self.data_options.on_bad)
            size = len(found.molecules)
            skipped = skipped_records(path, found.skipped, size, found.first_fault)
            self.notes = [*skipped, *found.notes]
            return found.molecules, found.values, column
        if self.data_options.is_generated:
            self.notes = [GENERATED_NOTE]
            values = np.random.default_rng(1).standard_normal(GENERATED_COUNT)
            return random_graphs(GENERATED_COUNT), values, ""
        target = str(self.chosen["target"])
        _, properties = qm9_smiles(self.molecules)
        values = properties[:, list(PROPERTIES).index(target)]
        return qm9_graphs(self.molecules), values, PROPERTIES[target].unit

    def _of_geometries(self) -> tuple[list[MolecularGraph], Array, str]:
        data = self.load_property()
        self.notes = [*data.notes, *estimated_bonds(data)]
        ends = np.cumsum(data.atoms)[:-1]
        numbers, positions = np.split(data.numbers, ends), np.split(data.positions, ends)
        bonds = data.bonds or [None] * len(data.atoms)
        graphs = [
            graph_of_geometry(*molecule) for molecule in zip(numbers, positions, bonds, strict=True)
        ]
        return graphs, data.values, data.unit

    def collate(self, samples: Sequence[BondedMolecule]) -> Graph:
        molecules, _, kinds = concatenate_bonded(samples)
        graph = batch_molecules(molecules, math.inf, slots=True)
        return graph.with_features(graph.atoms, kinds.long() - 1)
