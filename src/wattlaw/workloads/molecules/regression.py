"""A property of QM9's molecules as a workload: what SchNet, DimeNet and the others share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.molecules.data import Targets, qm9_part
from wattlaw.workloads.molecules.pairs import Graph
from wattlaw.workloads.molecules.qm9 import PROPERTIES


class QM9Regression(Workload):
    """A model learns one property of QM9's molecules by its mean squared error. Option: ``target``.

    cutoff     pairs nearer than this are the model's neighbours, Å
    molecules  how many molecules of QM9 are used; None for all
    """

    options: ClassVar[Mapping[str, OptionValue]] = {"target": "u0"}
    cutoff: float
    molecules: int | None

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        if self.chosen["target"] not in PROPERTIES:
            raise UnknownNameError("target", str(self.chosen["target"]), PROPERTIES)
        self.targets: Targets | None = None

    def data(self, split: Split) -> Dataset[Any]:
        data, self.targets = qm9_part(split, str(self.chosen["target"]), self.cutoff, self.molecules)
        return data

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
