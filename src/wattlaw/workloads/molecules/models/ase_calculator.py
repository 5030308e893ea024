"""A trained force field as a calculator of ASE: energies in eV, forces in eV/Å, for molecules without a cell."""

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
from wattlaw.workloads.molecules.sources.elements import SYMBOLS
from wattlaw.workloads.saved import load_model

_ase: Any = need("ase.calculators.calculator", "the calculator")
_Base: Any = _ase.Calculator


class ForceFieldCalculator(_Base):  # type: ignore[misc]
    """``atoms.calc = ForceFieldCalculator.load("model.safetensors")``.

    Energies are relative to the mean of the geometries that the model was trained on.
    """

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(
        self, model: EnergyAndForces, cutoff: float, elements: Collection[int] = ()
    ) -> None:
        """``elements`` are the atomic numbers that the model learnt; without them any is taken."""
        super().__init__()
        self.model, self.cutoff, self.elements = model.eval(), cutoff, elements

    @classmethod
    def load(cls, path: str | Path, trust: bool | type[Workload] = False) -> ForceFieldCalculator:
        """Return the calculator of a saved force field, or of a trial that saved one.

        ``trust`` allows a class that is not one of wattlaw's; see ``load_model``. Raises UsageError
        for another kind of model, UntrustedError where its class is not trusted.
        """
        workload, model = load_model(path, trust)
        if not isinstance(workload, ForceField) or not isinstance(model, EnergyAndForces):
            raise UsageError(f"{path}: no force field but {type(workload).__name__}")
        return cls(model, workload.cutoff, workload.learnt.get("elements", ()))

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = _ase.all_changes
    ) -> None:
        """Fill ``results`` for ``atoms``, as ASE asks.

        Raises UsageError for what is no molecule, has elements that were not learnt, or positions that are not finite.
        """
        super().calculate(atoms, properties, system_changes)
        if self.atoms.pbc.any():
            raise UsageError("the force field knows molecules alone; set atoms.pbc to False")
        if len(self.atoms) == 0:
            raise UsageError("the force field was asked for the energy of no atoms")
        if not np.isfinite(self.atoms.positions).all():
            raise UsageError(
                "a position is not finite: the molecule has flown apart; a shorter time step may help"
            )
        numbers = self.atoms.numbers.astype(np.uint8)
        strange = sorted(set(numbers.tolist()) - set(self.elements)) if self.elements else []
        if strange:
            known, not_known = (", ".join(map(_symbol, some)) for some in (self.elements, strange))
            raise UsageError(
                f"the force field learnt {known} alone and knows nothing of {not_known}; train it on them"
            )
        places = self.atoms.positions.astype(np.float32)
        one = Molecules(numbers, places, np.array([len(numbers)]), np.zeros(1), self.cutoff)
        graph = batch_molecules([one[0]], self.cutoff)
        # double precision where the model has it: an NVE run adds up many small steps
        precision = next(self.model.parameters()).dtype
        exact = torch.from_numpy(self.atoms.positions.copy()).to(precision)
        graph = graph.at(exact)
        energy, forces = self.model(graph)
        self.results = {
            "energy": float(energy.detach()),
            "forces": forces.detach().double().numpy(),
        }


def _symbol(number: int) -> str:
    return SYMBOLS[number] if number < len(SYMBOLS) else f"element {number}"
