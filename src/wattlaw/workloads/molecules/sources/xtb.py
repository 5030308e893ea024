"""Trajectories with energies and forces, made by GFN2-xTB with tblite.

GFN2-xTB: Bannwarth et al., JCTC 15, 1652 (2019). A molecule moves at a temperature by Langevin
dynamics (the BAOAB scheme of Leimkuhler and Matthews, 2013). At a fixed interval its geometry is
kept with the energy and the gradient of the method.
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
from wattlaw.workloads.cache import Array, folder
from wattlaw.workloads.molecules.sources.energy_units import BOHR_ANGSTROM, HARTREE_EV, KCAL_EV
from wattlaw.workloads.molecules.sources.molecule_files import read_molecules
from wattlaw.workloads.molecules.sources.qm9 import qm9, qm9_smiles

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant, eV/K (CODATA 2018)."""

ACCELERATION = 9.648533212e-3
"""Å/fs² that a force of 1 eV/Å gives to 1 atomic mass unit (CODATA 2018)."""

FRICTION = 0.01
"""Friction of the bath, 1/fs (our choice): velocities decorrelate in about 0.1 ps."""

_PURPOSE = "a trajectory of GFN2-xTB"


class TrajectoryPlan(NamedTuple):
    """How a trajectory is made.

    frames         geometries to keep
    temperature_k  of the bath, K
    step_fs        time step, fs
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

    @property
    def is_possible(self) -> bool:
        """Whether the numbers of frames and steps, the temperature and the step are in range."""
        counts = self.frames >= 1 and self.every >= 1 and self.settle >= 0
        return counts and self.temperature_k > 0 and 0 < self.step_fs < 5


class Trajectory(NamedTuple):
    """Elements (N,), and of each frame (M) the positions (M, N, 3) in Å, the energy (M,) in eV and
    the forces (M, N, 3) in eV/Å.
    """

    numbers: Array
    positions: Array
    energies: Array
    forces: Array


def make_trajectory_file(
    molecule: str,
    plan: TrajectoryPlan,
    path: Path | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Path:
    """Return the file of a trajectory: a new one at ``path``, or the one in the cache.

    Raises UsageError and the errors of ``trajectory``.
    """
    numbers, positions = starting_geometry(molecule)
    if path is None:
        start = f"{numbers.tolist()} {np.round(positions, 6).tolist()} {tuple(plan)}"
        digest = hashlib.sha256(start.encode()).hexdigest()[:16]
        path = folder() / f"trajectory-{digest}.npz"
        if path.is_file():
            return path
    write_rmd17(path, trajectory(numbers, positions, plan, on_frame))
    return path


def starting_geometry(molecule: str) -> tuple[Array, Array]:
    """Return elements (N,) and positions (N, 3) in Å of a molecule.

    ``molecule`` is a SMILES as QM9 has it, or a file, whose first geometry is used. Raises
    UsageError if it is neither.
    """
    if Path(molecule).is_file():
        first = read_molecules(Path(molecule), on_bad="skip").records[0]
        return first.numbers, first.positions
    texts, _ = qm9_smiles()
    if molecule not in texts:
        raise UsageError(
            f"{molecule!r} is neither a file nor a SMILES of QM9, as it is written there, such as "
            "CCO for ethanol"
        )
    table, which = qm9(), texts.index(molecule)
    end = int(table.atoms[: which + 1].sum())
    begin = end - int(table.atoms[which])
    return table.numbers[begin:end], table.positions[begin:end].astype(np.float64)


def trajectory(
    numbers: Array,
    positions: Array,
    plan: TrajectoryPlan,
    on_frame: Callable[[int], None] | None = None,
) -> Trajectory:
    """Return a trajectory that begins at a geometry (N, 3) in Å.

    ``on_frame`` is called with the number of kept frames after each. The same seed gives the same
    frames on the same machine; on another, rounding leads to different ones. Raises
    MissingPartError without tblite or ase, SettingError for a plan out of range, DataError if
    the method finds no energy.
    """
    if not plan.is_possible:
        raise SettingError(
            f"no trajectory can be made of {plan}; frames, every and temperature_k must be "
            "positive, settle at least 0, and step_fs between 0 and 5"
        )
    frames = []
    for frame in _langevin(numbers, positions, plan):
        frames.append(frame)
        if on_frame:
            on_frame(len(frames))
    parts = [np.array(part) for part in zip(*frames, strict=True)]
    return Trajectory(numbers, *parts)


def energy_and_forces(numbers: Array, positions: Array) -> tuple[float, Array]:
    """Return the energy, eV, and forces (N, 3), eV/Å, by GFN2-xTB of a geometry (N, 3) in Å."""
    return _GFN2(numbers, positions)(positions)


def write_rmd17(path: Path, made: Trajectory) -> None:
    """Write a trajectory in the layout of rMD17: an .npz in Å, kcal/mol and kcal/mol/Å."""
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


class _GFN2:
    """GFN2-xTB of one molecule; each calculation starts from the charges of the last."""

    def __init__(self, numbers: Array, positions: Array) -> None:
        interface = need("tblite.interface", _PURPOSE)
        self.error = need("tblite.exceptions", _PURPOSE).TBLiteRuntimeError
        in_bohr = positions / BOHR_ANGSTROM
        self.calculator = interface.Calculator("GFN2-xTB", numbers.astype(int), in_bohr)
        self.calculator.set("verbosity", 0)
        self.last: Any = None

    def __call__(self, positions: Array) -> tuple[float, Array]:
        try:
            self.calculator.update(positions=positions / BOHR_ANGSTROM)
            self.last = self.calculator.singlepoint(self.last)
        except self.error as error:
            raise DataError(f"GFN2-xTB finds no energy for this geometry ({error})") from None
        gradient = np.array(self.last.get("gradient")) * (HARTREE_EV / BOHR_ANGSTROM)
        return float(self.last.get("energy")) * HARTREE_EV, -gradient


def _langevin(
    numbers: Array, positions: Array, plan: TrajectoryPlan
) -> Iterator[tuple[Array, float, Array]]:
    """Yield positions, energy and forces of the frames to keep."""
    masses = need("ase.data", _PURPOSE).atomic_masses[numbers.astype(int)][:, None]
    method, generator = _GFN2(numbers, positions), np.random.default_rng(plan.seed)
    thermal = np.sqrt(BOLTZMANN_EV * plan.temperature_k * ACCELERATION / masses)
    velocities = thermal * generator.standard_normal(positions.shape)
    positions = positions.astype(float)
    keep = np.exp(-FRICTION * plan.step_fs)
    half_step = 0.5 * plan.step_fs
    energy, forces = method(positions)
    for step in range(1, plan.settle + plan.frames * plan.every + 1):
        velocities = velocities + half_step * ACCELERATION * forces / masses
        positions = positions + half_step * velocities
        noise = thermal * generator.standard_normal(positions.shape)
        velocities = keep * velocities + np.sqrt(1 - keep * keep) * noise
        positions = positions + half_step * velocities
        energy, forces = method(positions)
        velocities = velocities + half_step * ACCELERATION * forces / masses
        if step > plan.settle and (step - plan.settle) % plan.every == 0:
            # the bath may push the molecule away; where it is does not matter
            yield positions - (masses * positions).sum(0) / masses.sum(), energy, forces
