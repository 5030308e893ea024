"""A trained force field as an ASE calculator: energies in eV, forces in eV/Å, without a cell."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from wattlaw.core.errors import UsageError
from wattlaw.core.plugins import need
from wattlaw.workloads.base import Workload
from wattlaw.workloads.molecules.graphs.batches import Molecules, batch_molecules
from wattlaw.workloads.molecules.models.force_fields import EnergyAndForces, ForceField
from wattlaw.workloads.saved import load_model

_PURPOSE = "an ASE calculator"
_ase = need("ase.calculators.calculator", _PURPOSE)
_Calculator: Any = _ase.Calculator


class ForceFieldCalculator(_Calculator):  # type: ignore[misc]
    """``atoms.calc = ForceFieldCalculator.load("model.safetensors")``.

    Energies are relative to the mean of the geometries that the model was trained on.
    """

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(
        self, model: EnergyAndForces, cutoff: float, elements: Collection[int] = ()
    ) -> None:
        """``elements`` are the atomic numbers of the training data; if empty, any is accepted."""
        super().__init__()
        self.model, self.cutoff, self.elements = model.eval(), cutoff, elements

    @classmethod
    def load(cls, path: str | Path, trust: bool | type[Workload] = False) -> ForceFieldCalculator:
        """Return the calculator of a saved force field, or of a trial that saved one.

        ``trust`` allows a class that is not one of wattlaw's; see ``load_model``. Raises UsageError
        for another kind of model, UntrustedError if its class is not trusted.
        """
        workload, model = load_model(path, trust)
        if not isinstance(workload, ForceField) or not isinstance(model, EnergyAndForces):
            raise UsageError(f"{path}: a model of {type(workload).__name__}, not a force field")
        return cls(model, workload.cutoff, workload.learnt.get("elements", ()))

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = _ase.all_changes
    ) -> None:
        """Fill ``results`` for ``atoms``.

        Raises UsageError for a periodic cell, for no atoms, for elements that the model was not
        trained on, and for positions that are not finite.
        """
        super().calculate(atoms, properties, system_changes)
        self._check()
        numbers = self.atoms.numbers.astype(np.uint8)
        positions = self.atoms.positions.astype(np.float32)
        one = Molecules(numbers, positions, np.array([len(numbers)]), np.zeros(1), self.cutoff)
        graph = batch_molecules([one[0]], self.cutoff)
        # double precision if the model has it: an NVE run adds up many small steps
        precision = next(self.model.parameters()).dtype
        exact = torch.from_numpy(self.atoms.positions.copy()).to(precision)
        energy, forces = self.model(graph.at(exact))
        self.results = {
            "energy": float(energy.detach()),
            "forces": forces.detach().double().numpy(),
        }

    def _check(self) -> None:
        if self.atoms.pbc.any():
            raise UsageError("the force field is for molecules without a cell; set atoms.pbc=False")
        if len(self.atoms) == 0:
            raise UsageError("the force field needs at least one atom")
        if not np.isfinite(self.atoms.positions).all():
            raise UsageError(
                "a position is not finite: the molecule has flown apart; try a shorter time step"
            )
        unknown = sorted(set(self.atoms.numbers.tolist()) - set(self.elements))
        if self.elements and unknown:
            raise UsageError(
                f"the force field was trained on {_symbols(self.elements)} and cannot predict "
                f"{_symbols(unknown)}; train it on data with these elements"
            )


def _symbols(numbers: Collection[int]) -> str:
    known = need("ase.data", _PURPOSE).chemical_symbols
    return ", ".join(known[number] for number in numbers)
