"""PNA: several ways to sum up neighbours, scaled by how many there are (Corso et al., arXiv 2004.05718).

Layers as in the model for ZINC: 4 of them, 75 features, 5 towers. What is linear before neighbours are summed up is
applied to atoms and to the four kinds of bond, not to every message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Split
from wattlaw.workloads.data_options import GENERATED_NOTE, OPTIONS, skipped_records
from wattlaw.workloads.molecules.graphs.batches import batch_molecules
from wattlaw.workloads.molecules.graphs.bonds import Bonded, join_bonded
from wattlaw.workloads.molecules.graphs.formulas import KINDS, Formulas, formula_of
from wattlaw.workloads.molecules.graphs.pairs import Graph, sum_molecules
from wattlaw.workloads.molecules.graphs.products import Linear, linear
from wattlaw.workloads.molecules.models.qm9_regression import QM9Regression
from wattlaw.workloads.molecules.sources.generated import drawn_formulas
from wattlaw.workloads.molecules.sources.property_data import GENERATED, estimated_bonds, learnt
from wattlaw.workloads.molecules.sources.qm9 import PROPERTIES, qm9_smiles
from wattlaw.workloads.molecules.sources.smiles import Formula, read_smiles
from wattlaw.workloads.molecules.sources.smiles_table import is_table, read_table
from wattlaw.workloads.molecules.sources.targets import splits, standardised

Array = np.ndarray[Any, Any]

NAMES = {"pna": "PNAMolecules"}

AVERAGE_LOG = 1.114
"""Mean of ln(bonds + 1) over the heavy atoms of QM9."""

BOND_KINDS, AGGREGATORS, SCALERS = 4, 4, 3


class Size(NamedTuple):
    """Layers, features, towers that share them, features of a bond, and molecules of QM9 (None: all)."""

    layers: int
    width: int
    towers: int
    bond: int
    molecules: int | None = None


SIZES = {"tiny": Size(2, 20, 5, 10, 2048), "base": Size(4, 75, 5, 50)}


class Layer(nn.Module):
    """Mean, least, greatest and deviation over neighbours, each as it is, amplified and attenuated by their number."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.width, self.towers = size.width, size.towers
        self.bond = Linear(size.bond, size.width)
        self.before = nn.ModuleList(Linear(3 * size.width, size.width) for _ in range(size.towers))
        inside = (AGGREGATORS * SCALERS + 1) * size.width
        self.after = nn.ModuleList(
            Linear(inside, size.width // size.towers) for _ in range(size.towers)
        )
        self.join = Linear(size.width, size.width)

    def forward(self, atoms: Tensor, bonds: Tensor, graph: Graph) -> Tensor:
        """Return (A, width) from atoms (A, width) and the features of each kind of bond, (4, bond)."""
        before = torch.cat([layer.weight for layer in self.before])  # type: ignore[misc]
        own, other, bond = before.chunk(3, 1)
        mine = linear(atoms, own, torch.cat([layer.bias for layer in self.before]))  # type: ignore[misc]
        seen = self.gather(linear(atoms, other), self.bond(bonds) @ bond.T, graph)
        summed, counts = self.summarise(seen, mine, graph)
        scale = torch.log(counts + 1)[:, None] / AVERAGE_LOG
        shrink = AVERAGE_LOG / torch.log(counts.clamp_min(1) + 1)[:, None]
        found = []
        for tower, layer in enumerate(self.after):
            # the scalers multiply whole atoms, so they may follow the products
            parts = layer.weight.split([self.width] + [AGGREGATORS * self.width] * SCALERS, 1)  # type: ignore[operator]
            mixed = linear(summed[:, tower], torch.cat(parts[1:]))
            plain, more, less = mixed.chunk(SCALERS, 1)
            found.append(linear(atoms, parts[0], layer.bias) + plain + scale * more + shrink * less)  # type: ignore[arg-type]
        out: Tensor = self.join(torch.cat(found, 1))
        return out

    def gather(self, atoms: Tensor, bonds: Tensor, graph: Graph) -> Tensor:
        """Return what comes from each neighbour, slot by slot: (2P, towers·width)."""
        slots = graph.slots
        assert slots is not None, "batch the molecules with slots"
        starts = torch.cat([graph.second, graph.first])[slots.arriving]
        return atoms.index_select(0, starts) + bonds.index_select(0, graph.bonds[slots.pair])

    def summarise(self, seen: Tensor, mine: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return the four sums of each atom, (A, towers, 4·width), and the number of its neighbours, (A,)."""
        slots = graph.slots
        assert slots is not None, "batch the molecules with slots"
        centres = torch.cat([graph.first, graph.second])[slots.arriving]
        shape = (-1, self.towers, self.width)
        found, order = [], []
        for group in slots.groups:
            around = seen[group.slots].view(group.atoms, group.neighbours, -1)
            centre = centres[group.slots][:: group.neighbours]
            own = mine.index_select(0, centre)
            # what an atom brings itself shifts all of its messages alike and leaves their deviation
            mean = around.mean(1)
            variance = (around - mean[:, None]).square().mean(1)
            deviation = variance.clamp(min=1e-5).sqrt().masked_fill(variance <= 1e-5, 0.0)
            four = (mean + own, around.amin(1) + own, around.amax(1) + own, deviation)
            found.append(torch.cat([x.view(shape) for x in four], 2))
            order.append(centre)
        out = seen.new_zeros(len(graph.numbers), self.towers, AGGREGATORS * self.width)
        counts = graph.row_starts.diff().to(seen.dtype)
        return (out.index_copy(0, torch.cat(order), torch.cat(found)) if found else out), counts


class PNA(nn.Module):
    """PNA with batch norm after each layer and a perceptron on the sum of the atoms: one number a molecule."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.atoms = nn.Embedding(KINDS, size.width)
        self.bonds = nn.Embedding(BOND_KINDS, size.bond)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size.width) for _ in range(size.layers))
        halved = max(size.width * 2 // 3, 1)
        self.head = nn.Sequential(
            Linear(size.width, halved), nn.ReLU(), Linear(halved, halved // 2), nn.ReLU(),
            Linear(halved // 2, 1),
        )  # fmt: skip

    def forward(self, graph: Graph) -> Tensor:
        """Return one number a molecule, (B,)."""
        atoms = self.atoms(graph.numbers)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            atoms = F.relu(norm(layer(atoms, self.bonds.weight, graph)))
        out: Tensor = self.head(sum_molecules(atoms, graph))
        return out.squeeze(1)


class PNAMolecules(QM9Regression):
    """PNA learns a number from a molecule's formula: a property of QM9, or a column of a table such as ZINC's.

    Options: ``data``, a CSV file with a column smiles, and the ``column`` to learn; or a file of molecules, whose
    places give no more than bonds, with ``target`` and ``energy_unit``; or "generated"; ``on_bad``, "fail" or "skip".
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 64, "base": 128}
    options: ClassVar[dict[str, OptionValue]] = {
        "target": "gap",
        **OPTIONS,
        "energy_unit": "",
        "column": "logP",
    }

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]

    def model(self) -> nn.Module:
        return PNA(self.size)

    def data(self, split: Split) -> Dataset[Bonded]:
        formulas, values, unit = self._formulas()
        parts = splits(len(formulas))
        self.targets = standardised(values, parts["train"], unit)
        chosen = parts[split]
        return Formulas([formulas[k] for k in chosen], self.targets.values[np.asarray(chosen)])

    def _formulas(self) -> tuple[list[Formula], Array, str]:
        if self.data_options.path is not None and not is_table(self.data_options.path):
            return self._of_geometries()
        if self.data_options.path is not None:
            column = str(self.chosen["column"])
            found = read_table(self.data_options.path, column, self.data_options.on_bad)
            self.notes = skipped_records(
                self.data_options.path, found.skipped, len(found.formulas), found.first_fault
            )
            return found.formulas, found.values, column
        if self.data_options.is_generated:
            self.notes = [GENERATED_NOTE]
            return (
                drawn_formulas(GENERATED),
                np.random.default_rng(1).standard_normal(GENERATED),
                "",
            )
        name = str(self.chosen["target"])
        texts, properties = qm9_smiles(self.size.molecules)
        values = properties[:, list(PROPERTIES).index(name)]
        return [read_smiles(text) for text in texts], values, PROPERTIES[name].unit

    def _of_geometries(self) -> tuple[list[Formula], Array, str]:
        known = learnt(
            self.data_options, str(self.chosen["target"]), str(self.chosen["energy_unit"]), None
        )
        self.notes = [*known.notes, *estimated_bonds(known)]
        ends = np.cumsum(known.atoms)[:-1]
        parts = zip(np.split(known.numbers, ends), np.split(known.positions, ends), strict=True)
        bonds = known.bonds or [None] * len(known.atoms)
        formulas = [formula_of(*part, own) for part, own in zip(parts, bonds, strict=True)]
        return formulas, known.values, known.unit

    def collate(self, samples: Sequence[Bonded]) -> Graph:
        molecules, _, kinds = join_bonded(samples)
        graph = batch_molecules(molecules, math.inf, slots=True)
        return graph.with_features(graph.atoms, kinds.long() - 1)
