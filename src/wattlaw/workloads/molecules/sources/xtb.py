"""Trajectories with energies and forces, made here by GFN2-xTB (Bannwarth et al., JCTC 15, 1652 (2019)) with tblite.

A molecule moves at a temperature by Langevin's equation (the BAOAB scheme of Leimkuhler and Matthews, 2013), and
every so often its geometry is kept with the method's own energy and gradient.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError, SettingError, UsageError
from wattlaw.core.files import make_folder
from wattlaw.core.plugins import need
from wattlaw.workloads.cache import folder
from wattlaw.workloads.molecules.sources.elements import MASSES
from wattlaw.workloads.molecules.sources.energy_units import BOHR_ANGSTROM, HARTREE_EV, KCAL_EV
from wattlaw.workloads.molecules.sources.molecule_files import read_molecules
from wattlaw.workloads.molecules.sources.qm9 import qm9, qm9_smiles

Array = np.ndarray[Any, Any]

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant, eV/K (CODATA 2018)."""

ACCELERATION = 9.648533212e-3
"""Å/fs² that a force of 1 eV/Å gives to 1 atomic mass unit (CODATA 2018)."""

FRICTION = 0.01
"""Friction of the bath, 1/fs (our choice): what a molecule was doing is forgotten in about 0.1 ps."""


class Plan(NamedTuple):
    """How a trajectory is made.

    frames         geometries that are kept
    temperature_k  of the bath, K
    step_fs        one step of the motion, fs
    every          steps from one kept geometry to the next
    settle         steps before the first
    seed           of the bath's noise
    """

    frames: int = 1200
    temperature_k: float = 500.0
    step_fs: float = 0.5
    every: int = 40
    settle: int = 2000
    seed: int = 0


class Trajectory(NamedTuple):
    """Elements (N,), and of each frame (M) positions (M, N, 3) in Å, energy (M,) in eV, forces (M, N, 3) in eV/Å."""

    numbers: Array
    positions: Array
    energies: Array
    forces: Array


def made_once(
    molecule: str, plan: Plan, path: Path | None = None, tick: Callable[[int], None] | None = None
) -> Path:
    """Return the file of a trajectory, which is made where it is not there yet: at ``path``, or in the cache."""
    numbers, positions = starting_geometry(molecule)
    told = f"{numbers.tolist()} {np.round(positions, 6).tolist()} {tuple(plan)}"
    where = path or folder() / f"trajectory-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
    if path is not None or not where.is_file():
        write_rmd17(where, trajectory(numbers, positions, plan, tick))
    return where


def starting_geometry(molecule: str) -> tuple[Array, Array]:
    """Return elements (N,) and positions (N, 3) in Å of a molecule: a SMILES as it stands in QM9, or the first
    geometry of a file. Raises UsageError where it is neither.
    """
    if Path(molecule).is_file():
        first = read_molecules(Path(molecule), on_bad="skip").records[0]
        return first.numbers, first.positions
    texts, _ = qm9_smiles()
    if molecule not in texts:
        raise UsageError(
            f"{molecule!r} is no file and no SMILES of QM9 as it is written there, such as CCO for ethanol"
        )
    table, which = qm9(), texts.index(molecule)
    end = int(table.atoms[: which + 1].sum())
    begin = end - int(table.atoms[which])
    return table.numbers[begin:end], table.positions[begin:end].astype(np.float64)


def trajectory(
    numbers: Array, positions: Array, plan: Plan, tick: Callable[[int], None] | None = None
) -> Trajectory:
    """Return a trajectory that begins at a geometry (N, 3) in Å; ``tick`` hears of every kept frame.

    The same seed gives the same frames on the same machine; elsewhere rounding soon leads to others.
    Raises MissingPartError without tblite, SettingError for a plan that cannot be, DataError where the method finds
    no energy.
    """
    if (
        plan.frames < 1
        or plan.every < 1
        or plan.settle < 0
        or not (plan.temperature_k > 0 < plan.step_fs < 5)
    ):
        raise SettingError(
            f"no trajectory can be made of {plan}; frames, every and temperature_k must be positive"
        )
    kept = []
    for frame in _moved(numbers, positions, plan):
        kept.append(frame)
        if tick:
            tick(len(kept))
    places, energies, forces = (np.array(part) for part in zip(*kept, strict=True))
    return Trajectory(numbers, places, energies, forces)


def labels(numbers: Array, positions: Array) -> tuple[float, Array]:
    """Return GFN2-xTB's energy, eV, and forces (N, 3), eV/Å, of one geometry (N, 3) in Å."""
    return _Method(numbers, positions)(positions)


def write_rmd17(path: Path, made: Trajectory) -> None:
    """Write a trajectory as rMD17 has it: an .npz in Å, kcal/mol and kcal/mol/Å."""
    make_folder(path.parent)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(
        beside,
        nuclear_charges=made.numbers.astype(np.uint8),
        coords=made.positions.astype(np.float32),
        energies=made.energies / KCAL_EV,
        forces=(made.forces / KCAL_EV).astype(np.float32),
    )
    os.replace(beside, path)


class _Method:
    """GFN2-xTB of one molecule; each calculation starts from the last one's charges."""

    def __init__(self, numbers: Array, positions: Array) -> None:
        self.interface = need("tblite.interface", "a trajectory of GFN2-xTB")
        self.known = need("tblite.exceptions", "a trajectory of GFN2-xTB")
        self.calculator = self.interface.Calculator(
            "GFN2-xTB", numbers.astype(int), positions / BOHR_ANGSTROM
        )
        self.calculator.set("verbosity", 0)
        self.last: Any = None

    def __call__(self, positions: Array) -> tuple[float, Array]:
        try:
            self.calculator.update(positions=positions / BOHR_ANGSTROM)
            self.last = self.calculator.singlepoint(self.last)
        except self.known.TBLiteRuntimeError as error:
            raise DataError(f"GFN2-xTB finds no energy for this geometry ({error})") from None
        slope = np.array(self.last.get("gradient"))
        return float(self.last.get("energy")) * HARTREE_EV, -slope * (HARTREE_EV / BOHR_ANGSTROM)


def _moved(numbers: Array, positions: Array, plan: Plan) -> Iterator[tuple[Array, float, Array]]:
    mass = np.array([MASSES[z] for z in numbers])[:, None]
    method, draw = _Method(numbers, positions), np.random.default_rng(plan.seed)
    thermal = np.sqrt(BOLTZMANN_EV * plan.temperature_k * ACCELERATION / mass)
    places, speed = positions.astype(float), thermal * draw.standard_normal(positions.shape)
    keep = np.exp(-FRICTION * plan.step_fs)
    energy, forces = method(places)
    for step in range(1, plan.settle + plan.frames * plan.every + 1):
        speed = speed + 0.5 * plan.step_fs * ACCELERATION * forces / mass
        places = places + 0.5 * plan.step_fs * speed
        speed = keep * speed + np.sqrt(1 - keep * keep) * thermal * draw.standard_normal(
            places.shape
        )
        places = places + 0.5 * plan.step_fs * speed
        energy, forces = method(places)
        speed = speed + 0.5 * plan.step_fs * ACCELERATION * forces / mass
        if step > plan.settle and (step - plan.settle) % plan.every == 0:
            # the bath may push the molecule away; where it is does not matter
            yield places - (mass * places).sum(0) / mass.sum(), energy, forces
