"""A property of QM9's molecules as a workload: what SchNet, DimeNet and the others share."""

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
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.data_options import OPTIONS, parse_data_options
from wattlaw.workloads.molecules.graphs.batches import Molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.sources.property_data import Learnt, estimated_bonds, learnt
from wattlaw.workloads.molecules.sources.qm9 import PROPERTIES
from wattlaw.workloads.molecules.sources.targets import Targets, splits, targets

Array = np.ndarray[Any, Any]


class Part(NamedTuple):
    """One part of a set: its molecules, what their targets mean, and their bonds where the source has them."""

    molecules: Molecules
    targets: Targets
    bonds: list[Array | None] | None


def part_of(known: Learnt, split: Split, cutoff: float) -> Part:
    """Return one part of a set with the pairs nearer than ``cutoff`` (Å)."""
    parts = splits(len(known.atoms))
    standard = targets(known, parts["train"])
    chosen = parts[split]
    begins = np.concatenate([[0], np.cumsum(known.atoms)])
    sizes = known.atoms[chosen]
    # atoms of the chosen molecules, in their shuffled order
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    atoms = np.repeat(begins[chosen], sizes) + within
    data = Molecules(
        known.numbers[atoms], known.positions[atoms], sizes, standard.values[chosen], cutoff
    )
    return Part(data, standard, None if known.bonds is None else [known.bonds[k] for k in chosen])


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


class QM9Regression(Workload):
    """A model learns one property of QM9's molecules by its mean squared error.

    Options: ``target``, the property; ``data``, a file of molecules in place of QM9, or "generated"; ``on_bad``, "fail"
    or "skip"; ``energy_unit`` of the file, "" for its kind's own.

    cutoff     pairs nearer than this are the model's neighbours, Å
    molecules  how many molecules of QM9 are used; None for all
    """

    options: ClassVar[Mapping[str, OptionValue]] = {"target": "u0", **OPTIONS, "energy_unit": ""}
    is_ragged = True
    cutoff: float
    molecules: int | None

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.data_options = parse_data_options(self.chosen)
        if self.data_options.path is None and self.chosen["target"] not in PROPERTIES:
            raise UnknownNameError("target", str(self.chosen["target"]), PROPERTIES)
        self.targets: Targets | None = None

    def data(self, split: Split) -> Dataset[Any]:
        return self.part(split).molecules

    def part(self, split: Split, with_bonds: bool = False) -> Part:
        """Return one part of what the options ask for; the scale of its targets is kept for ``evaluate``."""
        known = learnt(
            self.data_options,
            str(self.chosen["target"]),
            str(self.chosen["energy_unit"]),
            self.molecules,
            with_bonds,
        )
        part = part_of(known, split, self.cutoff)
        self.targets, self.notes = (
            part.targets,
            [*known.notes, *(estimated_bonds(known) if with_bonds else [])],
        )
        return part

    def loss(self, model: nn.Module, batch: Graph) -> Tensor:
        return F.mse_loss(model(batch), batch.target)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-3)

    def evaluate(self, model: nn.Module, batches: Iterable[Graph]) -> dict[str, float]:
        """Return the mean absolute error in the property's unit (meV for energies)."""
        errors = torch.cat([(model(batch) - batch.target).abs().detach() for batch in batches])
        assert self.targets is not None, "data() gives the targets' scale"
        error = float(errors.mean()) * self.targets.deviation
        if self.targets.unit == "eV":
            return {"mae_mev": error * 1000}
        return {"mae": error}
