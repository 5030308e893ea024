"""Molecules with energies and forces: the trajectory that comes along, a file, or a toy potential.

Energies are kept in eV and forces in eV/Å.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.sources.energy_units import KCAL_EV
from wattlaw.workloads.molecules.sources.molecule_files import Given, read_molecules
from wattlaw.workloads.molecules.sources.molecule_record import Record

ETHANOL = Path(__file__).with_name("ethanol-gfn2.npz")
"""1,200 geometries of ethanol at 500 K, every 20 fs, with energies and forces of GFN2-xTB, in rMD17's layout.

Made by ``wattlaw data trajectory CCO`` (see ``xtb``) and so under this project's licence.
"""

_ENERGIES = ("energy", "REF_energy", "dft_energy", "TotEnergy", "Energy", "u0", "U0")

Array = np.ndarray[Any, Any]


class Frame(NamedTuple):
    """One geometry: elements (N,) uint8, positions (N, 3) in Å, energy in eV, forces (N, 3) in eV/Å."""

    numbers: Array
    positions: Array
    energy: float
    forces: Array


def read_frames(
    path: Path, on_bad: str = "fail", energy_unit: str = ""
) -> tuple[list[Frame], Given]:
    """Return the frames of a file, and what was read of it. See ``read_molecules`` for units and errors.

    A frame without energy or forces, without atoms, with an unknown element, a number that is not finite or two atoms
    in one place is bad.
    """
    given = read_molecules(path, on_bad, energy_unit, _lack)
    return [_frame(record) for record in given.records], given


def _frame(record: Record) -> Frame:
    forces = record.forces
    assert forces is not None, "a record without forces was left out"
    name = _energy_name(record)
    return Frame(
        record.numbers,
        record.positions.astype(np.float32),
        record.values[name],
        forces.astype(np.float32),
    )


def _energy_name(record: Record) -> str:
    return next((name for name in _ENERGIES if name in record.values), "")


def _lack(record: Record) -> str:
    name = _energy_name(record)
    if not name:
        return f"no energy; its numbers are {', '.join(sorted(record.values)) or 'none'}"
    if not np.isfinite(record.values[name]):
        return f"{name} is not finite"
    return "" if record.forces is not None else "no forces"


def ethanol() -> list[Frame]:
    """Return the trajectory that comes along. Raises DataError where its file is broken."""
    try:
        with open(ETHANOL, "rb") as file, np.load(file, allow_pickle=False) as data:
            numbers, places = data["nuclear_charges"], data["coords"]
            energies, forces = (
                data["energies"] * KCAL_EV,
                (data["forces"] * KCAL_EV).astype(np.float32),
            )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{ETHANOL}: cannot be read ({error}); install wattlaw again") from None
    return [Frame(numbers, *parts) for parts in zip(places, energies.tolist(), forces, strict=True)]


def made(count: int, seed: int = 0) -> list[Frame]:
    """Return geometries of ethanol, each atom displaced, with a toy potential's energy and forces.

    Not chemistry: every pair is a spring, E = Σ ½·k·(d - d₀)² with k = 20·exp(-d₀/Å) eV/Å² and d₀ its distance
    in the first geometry of the trajectory. It has the layout of a trajectory and forces that are exact, for
    throughput and for tests.
    """
    first = ethanol()[0]
    rest = first.positions.astype(np.float64)
    i, j = np.triu_indices(len(rest), 1)
    length = np.linalg.norm(rest[i] - rest[j], axis=1)
    stiffness = 20.0 * np.exp(-length)
    draw = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        places = rest + draw.normal(0, 0.1, rest.shape)
        apart = places[i] - places[j]
        distance = np.linalg.norm(apart, axis=1)
        pull = (stiffness * (distance - length) / distance)[:, None] * apart
        forces = np.zeros_like(rest)
        np.add.at(forces, i, -pull)
        np.add.at(forces, j, pull)
        energy = float((0.5 * stiffness * (distance - length) ** 2).sum())
        frames.append(
            Frame(first.numbers, places.astype(np.float32), energy, forces.astype(np.float32))
        )
    return frames
