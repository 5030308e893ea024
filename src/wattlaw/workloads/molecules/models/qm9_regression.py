"""Regression of a property of molecules: what SchNet, DimeNet, NNConv and PNA share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Options, Split, Workload
from wattlaw.workloads.cache import Array
from wattlaw.workloads.data_options import OPTIONS, parse_data_options
from wattlaw.workloads.molecules.graphs.batches import Molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.sources.property_data import (
    PropertyData,
    estimated_bonds,
    load_property,
)
from wattlaw.workloads.molecules.sources.qm9 import PROPERTIES
from wattlaw.workloads.molecules.sources.targets import (
    StandardisedTargets,
    split_indices,
    standardise_property,
)

METRICS = {
    "mae": {
        "title": "mean absolute error in the property's unit",
        "better": "less",
        "heading": "MAE",
    },
    "mae_mev": {
        "title": "mean absolute error",
        "unit": "meV",
        "better": "less",
        "heading": "MAE",
    },
}


class DataSetPart(NamedTuple):
    """One part of a data set: its molecules, the scale of all targets, and its bonds, if any."""

    molecules: Molecules
    targets: StandardisedTargets
    bonds: list[Array | None] | None


class QM9Regression(Workload):
    """A model is trained on one property of QM9's molecules, by mean squared error.

    Options: ``target``, the property; ``data``, a file of molecules in place of QM9, or
    "generated"; ``on_bad``, "fail" or "skip"; ``energy_unit`` of the file, "" for the one that it
    states or its kind implies.

    cutoff     atoms closer than this are neighbours, Å
    molecules  how many molecules of QM9 are used; None for all
    """

    options: ClassVar[Mapping[str, OptionValue]] = {"target": "u0", **OPTIONS, "energy_unit": ""}
    is_ragged = True
    cutoff: float
    molecules: int | None

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.data_options = parse_data_options(self.chosen)
        if self.data_options.path is None and self.chosen["target"] not in PROPERTIES:
            raise UnknownNameError("target", str(self.chosen["target"]), PROPERTIES)
        self.targets: StandardisedTargets | None = None

    def data(self, split: Split) -> Dataset[Any]:
        return self.part(split).molecules

    def part(self, split: Split, with_bonds: bool = False) -> DataSetPart:
        """Return one part of the chosen data; ``evaluate`` uses the scale of its targets."""
        data = self.load_property(with_bonds)
        self.notes = [*data.notes, *(estimated_bonds(data) if with_bonds else [])]
        part = part_of(data, split, self.cutoff)
        self.targets = part.targets
        return part

    def load_property(self, with_bonds: bool = False) -> PropertyData:
        """Return the molecules that the options choose, with the target."""
        return load_property(
            self.data_options,
            str(self.chosen["target"]),
            str(self.chosen["energy_unit"]),
            self.molecules,
            with_bonds,
        )

    def loss(self, model: nn.Module, batch: Graph) -> Tensor:
        return F.mse_loss(model(batch), batch.target)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-3)

    def evaluate(self, model: nn.Module, batches: Iterable[Graph]) -> dict[str, float]:
        """Return the mean absolute error in the property's unit (meV for energies)."""
        errors = torch.cat([(model(batch) - batch.target).abs().detach() for batch in batches])
        assert self.targets is not None, "call data() first: it sets the scale of the targets"
        error = float(errors.mean()) * self.targets.deviation
        if self.targets.unit == "eV":
            return {"mae_mev": error * 1000}
        return {"mae": error}


def part_of(data: PropertyData, split: Split, cutoff: float) -> DataSetPart:
    """Return one part of a data set, with the pairs of atoms closer than ``cutoff`` (Å)."""
    parts = split_indices(len(data.atoms))
    targets = standardise_property(data, parts["train"])
    chosen = parts[split]
    begins = np.concatenate([[0], np.cumsum(data.atoms)])
    sizes = data.atoms[chosen]
    # atoms of the chosen molecules, in their shuffled order
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    atoms = np.repeat(begins[chosen], sizes) + within
    numbers, positions = data.numbers[atoms], data.positions[atoms]
    molecules = Molecules(numbers, positions, sizes, targets.values[chosen], cutoff)
    bonds = None if data.bonds is None else [data.bonds[k] for k in chosen]
    return DataSetPart(molecules, targets, bonds)
