"""Molecules with energies and forces: the packaged trajectory, a file, or a toy potential.

Energies are in eV, forces in eV/Å.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.energy_units import KCAL_EV
from wattlaw.workloads.molecules.sources.molecule_files import LoadedMolecules, read_molecules
from wattlaw.workloads.molecules.sources.molecule_record import MoleculeRecord

ETHANOL = Path(__file__).with_name("ethanol-gfn2.npz")
"""1,200 geometries of ethanol at 500 K, every 20 fs, with energies and forces of GFN2-xTB, in the
layout of rMD17. Made by ``wattlaw data trajectory CCO`` (see ``xtb``); under this project's
licence.
"""

_ENERGIES = ("energy", "REF_energy", "dft_energy", "TotEnergy", "Energy", "u0", "U0")


class Frame(NamedTuple):
    """One geometry: elements (N,) uint8, positions (N, 3) in Å, energy in eV, forces (N, 3) in
    eV/Å.
    """

    numbers: Array
    positions: Array
    energy: float
    forces: Array


def read_frames(
    path: Path, on_bad: str = "fail", energy_unit: str = ""
) -> tuple[list[Frame], LoadedMolecules]:
    """Return the frames of a file, and what was read of it. See ``read_molecules`` for errors.

    A frame without an energy or forces cannot be used.
    """
    loaded = read_molecules(path, on_bad, energy_unit, _lacks)
    return [_frame(record) for record in loaded.records], loaded


def _frame(record: MoleculeRecord) -> Frame:
    forces = record.forces
    assert forces is not None, "a record without forces was skipped"
    return Frame(
        record.numbers.astype(np.uint8),
        record.positions.astype(np.float32),
        record.values[_energy_name(record)],
        forces.astype(np.float32),
    )


def _energy_name(record: MoleculeRecord) -> str:
    return next((name for name in _ENERGIES if name in record.values), "")


def _lacks(record: MoleculeRecord) -> str:
    name = _energy_name(record)
    if not name:
        return f"no energy; its numbers are {', '.join(sorted(record.values)) or 'none'}"
    if not np.isfinite(record.values[name]):
        return f"{name} is not finite"
    return "" if record.forces is not None else "no forces"


def ethanol() -> list[Frame]:
    """Return the packaged trajectory. Raises DataError if its file is damaged."""
    try:
        with open(ETHANOL, "rb") as file, np.load(file, allow_pickle=False) as data:
            numbers, positions = data["nuclear_charges"], data["coords"]
            energies = data["energies"] * KCAL_EV
            forces = (data["forces"] * KCAL_EV).astype(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{ETHANOL}: cannot be read ({error}); reinstall wattlaw") from None
    frames = zip(positions, energies.tolist(), forces, strict=True)
    return [Frame(numbers, *parts) for parts in frames]


def toy_frames(count: int, seed: int = 0) -> list[Frame]:
    """Return displaced geometries of ethanol with energies and forces of a toy potential.

    Not chemistry: every pair is a spring, E = Σ ½·k·(d - d₀)² with k = 20·exp(-d₀/Å) eV/Å² and d₀
    its distance in the first geometry of the trajectory. The layout is that of a trajectory and the
    forces are exact, for throughput and for tests.
    """
    first = ethanol()[0]
    rest = first.positions.astype(np.float64)
    i, j = np.triu_indices(len(rest), 1)
    length = np.linalg.norm(rest[i] - rest[j], axis=1)
    stiffness = 20.0 * np.exp(-length)
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        positions = rest + generator.normal(0, 0.1, rest.shape)
        vectors = positions[i] - positions[j]
        distances = np.linalg.norm(vectors, axis=1)
        pull = (stiffness * (distances - length) / distances)[:, None] * vectors
        forces = np.zeros_like(rest)
        np.add.at(forces, i, -pull)
        np.add.at(forces, j, pull)
        energy = float((0.5 * stiffness * (distances - length) ** 2).sum())
        as_stored = positions.astype(np.float32), energy, forces.astype(np.float32)
        frames.append(Frame(first.numbers, *as_stored))
    return frames
