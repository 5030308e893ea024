"""Units of energy and length in files of molecules. wattlaw keeps energies in eV, lengths in Å."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.cache import Array

HARTREE_EV = 27.211386245988
"""Electronvolts in a hartree (CODATA 2018)."""

KCAL_EV = 0.04336410390059322
"""Electronvolts in a kcal/mol."""

BOHR_ANGSTROM = 0.529177210903
"""Ångströms in a bohr (CODATA 2018)."""

ENERGIES = {
    "eV": 1.0,
    "meV": 1e-3,
    "hartree": HARTREE_EV,
    "kcal/mol": KCAL_EV,
    "kJ/mol": KCAL_EV / 4.184,
}
"""Electronvolts in each unit of energy."""

_ENERGY_SPELLINGS = {unit.lower(): unit for unit in ENERGIES} | {
    "ha": "hartree",
    "kcalmol": "kcal/mol",
}
_LENGTHS = dict.fromkeys(("ang", "angstrom", "a", "å"), 1.0) | dict.fromkeys(
    ("bohr", "a0"), BOHR_ANGSTROM
)

_ENERGY_NAMES = (
    {"energy", "ref_energy", "dft_energy", "totenergy", "free_energy"}
    | {"homo", "lumo", "gap", "zpve"}
    | {"u0", "u", "h", "g", "u298", "h298", "g298"}
)
TOTAL_ENERGY_NAMES = ("energy", "u0", "energy_u0")
"""Names, in lower case, of the total energy of a molecule."""


class UnitScales(NamedTuple):
    """Factors that turn the numbers of a file into eV, Å and eV/Å.

    energy_unit  the name of the unit of energies
    by_name      factors of values whose unit is not ``energy_unit``
    """

    energy_unit: str
    energy: float
    length: float
    forces: float
    by_name: Mapping[str, float]

    def of_value(self, name: str) -> float:
        """Return the factor of a value: to eV for an energy, 1 for anything else."""
        if name in self.by_name:
            return self.by_name[name]
        return self.energy if is_energy(name) else 1.0


class FileUnits(NamedTuple):
    """The units of a file's numbers, as the file states them or as its kind implies.

    energy     unit of energies
    is_stated  whether the file itself states that unit
    length     unit of positions
    forces     unit of forces, such as "hartree/bohr"; "" for energy per length
    by_name    units of single values, if the file states them
    """

    energy: str = "eV"
    is_stated: bool = False
    length: str = "angstrom"
    forces: str = ""
    by_name: Mapping[str, str] = {}

    def scales(self, path: Path, energy_unit: str = "") -> UnitScales:
        """Return the factors to eV, Å and eV/Å.

        ``energy_unit`` overrides what the file states, also for its forces, which are then in
        that unit per Å. Raises UnknownNameError if it is not a unit of energy, and DataError
        if the file states a unit that is not known.
        """
        length = _length_factor(path, self.length)
        if energy_unit:
            energy = energy_factor(energy_unit)
            return UnitScales(energy_unit, energy, length, energy, {})
        unit = energy_spelling(self.energy)
        if not unit:
            raise DataError(
                f"{path}: its unit of energy is {self.energy}; known are {', '.join(ENERGIES)}"
            )
        energy = ENERGIES[unit]
        forces = _force_factor(path, self.forces) if self.forces else energy / length
        by_name = {name: ENERGIES[energy_spelling(text)] for name, text in self.by_name.items()}
        return UnitScales(unit, energy, length, forces, by_name)


def is_energy(name: str) -> bool:
    """Return whether a value of this name is an energy."""
    low = name.lower()
    return low in _ENERGY_NAMES or low.removeprefix("energy_") in _ENERGY_NAMES


def energy_spelling(text: str) -> str:
    """Return the usual spelling of a unit of energy, such as "hartree" for "Ha"; "" if unknown."""
    return _ENERGY_SPELLINGS.get(text.lower(), "")


def energy_factor(unit: str) -> float:
    """Return the electronvolts in a unit. Raises UnknownNameError."""
    if unit not in ENERGIES:
        raise UnknownNameError("unit of energy", unit, ENERGIES)
    return ENERGIES[unit]


def _length_factor(path: Path, unit: str) -> float:
    if unit.lower() not in _LENGTHS:
        raise DataError(f"{path}: its unit of length is {unit}; known are Ang and Bohr")
    return _LENGTHS[unit.lower()]


def _force_factor(path: Path, unit: str) -> float:
    energy, _, length = unit.rpartition("/")
    if not energy_spelling(energy) or length.lower() not in _LENGTHS:
        raise DataError(
            f"{path}: its unit of forces is {unit}; known are a unit of energy "
            f"({', '.join(ENERGIES)}) per Ang or Bohr, such as eV/Ang"
        )
    return ENERGIES[energy_spelling(energy)] / _LENGTHS[length.lower()]


def doubt_about_unit(numbers: Array, energy_ev: float, unit: str) -> str:
    """Return why an energy is not in the unit in which it was read; "" if it may be.

    numbers (N,), the atomic numbers of one molecule. The total energy of an atom is about
    -½·Z^2.4 hartree, to a tenth. Energies of valence electrons, or relative to a reference,
    resemble no unit and pass.
    """
    expected_ev = -0.5 * float((numbers.astype(float) ** 2.4).sum()) * HARTREE_EV
    ratio = energy_ev / expected_ev
    if ratio <= 0 or not math.isfinite(ratio) or abs(math.log(ratio)) < math.log(1.5):
        return ""
    value = energy_ev / ENERGIES[unit]
    for other, factor in ENERGIES.items():
        if abs(math.log(value * factor / expected_ev)) < math.log(1.25):
            return (
                f"an energy of {value:.6g} would be a total energy in {other}, but was read as "
                f"{unit}; set energy_unit={other} (or energy_unit={unit} if it is {unit})"
            )
    return ""
