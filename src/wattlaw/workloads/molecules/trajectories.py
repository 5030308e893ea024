"""Molecules with energies and forces: MD17 and rMD17 (.npz), extended XYZ, or made here from a toy potential.

Energies are kept in eV and forces in eV/Å. An .npz of MD17 or rMD17 is in kcal/mol, as published; extended XYZ
is in eV, as its readers agree.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.qm9 import qm9

KCAL_EV = 0.04336410390059322
"""Electronvolts in a kcal/mol."""

CLOSEST = 0.2
"""Two atoms nearer than this, Å, are taken for one place given twice."""

_TABLE = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt "
    "Au Hg Tl Pb Bi Po At Rn"
)
SYMBOLS = _TABLE.split()
"""Elements by atomic number; 0 is none."""

Array = np.ndarray[Any, Any]


class Frame(NamedTuple):
    """One geometry: elements (N,) uint8, positions (N, 3) in Å, energy in eV, forces (N, 3) in eV/Å."""

    numbers: Array
    positions: Array
    energy: float
    forces: Array


def read_frames(path: Path, on_bad: str = "fail") -> tuple[list[Frame], int]:
    """Return the frames of a file and how many were left out.

    A frame without atoms, with an unknown element, a number that is not finite or two atoms in one place is bad.
    Raises DataError naming the file and the frame, unless ``on_bad`` is "skip".
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    frames = _npz(path) if path.suffix == ".npz" else _xyz(path)
    good, skipped = [], 0
    for index, frame in enumerate(frames):
        fault = fault_of(frame)
        if not fault:
            good.append(frame)
        elif on_bad == "skip":
            skipped += 1
        else:
            raise DataError(f"{path}, frame {index}: {fault}; leave such frames out with on_bad=skip")
    if not good:
        raise DataError(f"{path}: no usable frame in it")
    return good, skipped


def fault_of(frame: Frame) -> str:
    """Return what is wrong with a frame, "" for nothing."""
    if len(frame.numbers) == 0:
        return "no atoms"
    unknown = sorted({int(z) for z in frame.numbers if not 0 < z < len(SYMBOLS)})
    if unknown:
        return f"unknown element {unknown[0]}"
    if not (np.isfinite(frame.positions).all() and np.isfinite(frame.forces).all() and np.isfinite(frame.energy)):
        return "a number that is not finite"
    apart = np.linalg.norm(frame.positions[:, None] - frame.positions[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    if apart.min() < CLOSEST:
        first, second = (int(k) for k in np.unravel_index(apart.argmin(), apart.shape))
        return f"atoms {first} and {second} are in one place"
    return ""


def _npz(path: Path) -> list[Frame]:
    try:
        with np.load(path, allow_pickle=False) as data:
            # MD17's names, then rMD17's
            names = ("z", "R", "E", "F") if "R" in data else ("nuclear_charges", "coords", "energies", "forces")
            numbers, places, energies, forces = (data[name] for name in names)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an .npz of MD17 or rMD17 ({error})") from None
    energies = energies.reshape(-1) * KCAL_EV
    if not len(places) == len(energies) == len(forces):
        raise DataError(f"{path}: {len(places)} geometries, {len(energies)} energies and {len(forces)} forces")
    numbers = numbers.astype(np.uint8)
    return [
        Frame(numbers, place.astype(np.float32), float(energy), (force * KCAL_EV).astype(np.float32))
        for place, energy, force in zip(places, energies, forces, strict=True)
    ]


def _xyz(path: Path) -> list[Frame]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file (byte {error.start})") from None
    frames = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        try:
            count = int(lines[at])
            frames.append(_frame(lines[at + 1], lines[at + 2 : at + 2 + count], count))
        except (ValueError, IndexError, KeyError) as error:
            raise DataError(f"{path}:{at + 1}: no frame of extended XYZ can be read here ({error})") from None
        at += 2 + count
    return frames


def _frame(comment: str, lines: list[str], count: int) -> Frame:
    words = dict(w.split("=", 1) for w in comment.replace('"', "").split() if "=" in w)
    if len(lines) < count:
        raise ValueError(f"{count} atoms announced, {len(lines)} lines left")
    columns = _columns(words["Properties"])
    species = [line.split()[columns["species"]] for line in lines]
    table = {name: [[float(x) for x in line.split()[k : k + 3]] for line in lines] for name, k in columns.items()
             if name in ("pos", "forces", "force")}  # fmt: skip
    forces = table.get("forces") or table.get("force")
    if forces is None and "forces" not in columns and "force" not in columns:
        raise ValueError("no column forces")
    return Frame(
        np.array([SYMBOLS.index(s) if s in SYMBOLS else 0 for s in species], np.uint8),
        np.array(table["pos"], np.float32).reshape(-1, 3),
        float(words["energy"]),
        np.array(forces or [], np.float32).reshape(-1, 3),
    )


def _columns(properties: str) -> dict[str, int]:
    """Return where each property begins, from "species:S:1:pos:R:3:forces:R:3"."""
    parts = properties.split(":")
    found, at = {}, 0
    for name, width in zip(parts[::3], parts[2::3], strict=True):
        found[name] = at
        at += int(width)
    return found


def made(count: int, seed: int = 0) -> list[Frame]:
    """Return geometries of one molecule of QM9, each atom displaced, with a toy potential's energy and forces.

    Not chemistry: every pair is a spring, E = Σ ½·k·(d - d₀)² with k = 20·exp(-d₀/Å) eV/Å² and d₀ its distance
    in QM9. It has the layout of a trajectory and forces that are exact, for throughput and for tests.
    """
    table = qm9(1)
    rest = table.positions.astype(np.float64)
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
        frames.append(Frame(table.numbers, places.astype(np.float32), energy, forces.astype(np.float32)))
    return frames
