"""Units of energies in files of molecules. Inside wattlaw an energy is in eV and a length in Å."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wattlaw.core.errors import DataError, UnknownNameError

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
"""Units of energy by name, in eV. Forces are in the same unit for each Å."""


def energy_factor(unit: str) -> float:
    """Return the electronvolts of a unit. Raises UnknownNameError."""
    if unit not in ENERGIES:
        raise UnknownNameError("unit of energy", unit, ENERGIES)
    return ENERGIES[unit]


def check_unit(where: str, numbers: np.ndarray[Any, Any], energy_ev: float, unit: str) -> None:
    """Raise DataError where an energy, taken to be in ``unit``, is plainly a total energy in another.

    numbers (N,) of one molecule. The total energy of an atom is about -½·Z^2.4 hartree, to a tenth; a calculation
    without inner electrons, or energies relative to something, resemble no unit and are left as they are.
    """
    expected = -0.5 * float((numbers.astype(float) ** 2.4).sum()) * HARTREE_EV
    ratio = energy_ev / expected
    if ratio <= 0 or not math.isfinite(ratio) or abs(math.log(ratio)) < math.log(1.5):
        return
    for other, factor in ENERGIES.items():
        if abs(math.log(ratio / ENERGIES[unit] * factor)) < math.log(1.25):
            raise DataError(
                f"{where}: an energy of {energy_ev / ENERGIES[unit]:.6g} would be a total energy in {other}, but was "
                f"taken to be in {unit}; say energy_unit={other} (or energy_unit={unit} if it is that)"
            )
