"""Arrays of molecules in an .npz: MD17, rMD17, sGDML, and QM9 with molecules one after another."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.energy_units import FileUnits
from wattlaw.workloads.molecules.sources.molecule_record import (
    MoleculeFile,
    MoleculeRecord,
    as_element_array,
)

_TRAJECTORIES = {
    "MD17": ("z", "R", "E", "F"),
    "rMD17": ("nuclear_charges", "coords", "energies", "forces"),
}
_MOLECULES = ("R", "Z", "N")
_READ_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


def read_npz(path: Path) -> MoleculeFile:
    """Return the geometries of a file. Raises DataError if its arrays are in no known layout."""
    arrays = _load(path)
    for kind, names in _TRAJECTORIES.items():
        if all(name in arrays for name in names):
            _check_numeric(path, arrays, names)
            frames = _frames(path, *(arrays[name] for name in names))
            return MoleculeFile(f".npz of {kind}", _units(arrays, "kcal/mol"), frames, [])
    if all(name in arrays for name in _MOLECULES):
        _check_numeric(path, arrays, _MOLECULES)
        units = _units(arrays, "eV")
        return MoleculeFile(".npz of molecules (R, Z, N)", units, _molecules(path, arrays), [])
    found = ", ".join(sorted(arrays)) or "none"
    known = "; ".join(", ".join(names) for names in _TRAJECTORIES.values())
    raise DataError(f"{path}: its arrays are {found}; known are {known}; R, Z, N and properties")


def _load(path: Path) -> dict[str, Array]:
    try:
        # opened here, because numpy leaves a damaged file open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {}
            for name in data.files:
                array = _plain_array(data, name)
                if array is not None:
                    arrays[name] = array
            return arrays
    except _READ_ERRORS as error:
        raise DataError(f"{path}: not a complete .npz file ({error})") from None


def _plain_array(data: Mapping[str, object], name: str) -> Array | None:
    """Return an array of numbers or text; None for anything else, such as pickled objects."""
    try:
        array = data[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            return None
        raise
    return array if isinstance(array, np.ndarray) and array.dtype.kind in "biufU" else None


def _check_numeric(path: Path, arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    for name in names:
        if arrays[name].dtype.kind == "U":
            raise DataError(f"{path}: its array {name} is text; it must be numbers")


def _units(arrays: Mapping[str, Array], usual: str) -> FileUnits:
    """Return the units that sGDML's files state; ``usual`` for the energy if none is stated."""
    stated = str(arrays.get("e_unit", ""))
    length = str(arrays.get("r_unit", "Ang"))
    return FileUnits(stated or usual, is_stated=bool(stated), length=length)


def _frames(
    path: Path, numbers: Array, positions: Array, energies: Array, forces: Array
) -> Iterator[MoleculeRecord]:
    energies = energies.reshape(-1)
    if positions.ndim and forces.ndim and not len(positions) == len(energies) == len(forces):
        raise DataError(
            f"{path}: {len(positions)} geometries, {len(energies)} energies and "
            f"{len(forces)} forces; their numbers must be equal"
        )
    expected = (len(energies), numbers.size, 3)
    if positions.shape != expected or forces.shape != expected:
        raise DataError(
            f"{path}: {numbers.size} elements, positions of shape {positions.shape} and forces "
            f"of shape {forces.shape}; both must be (frames, atoms, 3)"
        )
    elements = as_element_array(numbers.reshape(-1))
    for k, energy in enumerate(energies):
        yield MoleculeRecord(
            where=f"frame {k}",
            numbers=elements,
            positions=positions[k].astype(np.float64),
            values={"energy": float(energy)},
            forces=forces[k].astype(np.float64),
        )


def _molecules(path: Path, arrays: Mapping[str, Array]) -> Iterator[MoleculeRecord]:
    if arrays["R"].size % 3:
        raise DataError(f"{path}: positions of shape {arrays['R'].shape}; must be (atoms, 3)")
    sizes = as_element_array(arrays["N"].reshape(-1))
    numbers = as_element_array(arrays["Z"].reshape(-1))
    positions = arrays["R"].reshape(-1, 3)
    if not len(numbers) == len(positions) == sizes.sum() or (sizes < 0).any():
        raise DataError(
            f"{path}: {len(numbers)} elements and {len(positions)} positions for "
            f"{sizes.sum()} atoms; their numbers must be equal"
        )
    values = {
        name: array.reshape(-1).astype(float)
        for name, array in arrays.items()
        if array.size == len(sizes) and array.dtype.kind in "iuf" and name not in ("N", "id")
    }
    ends = np.cumsum(sizes)
    for k, (begin, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        yield MoleculeRecord(
            where=f"molecule {k}",
            numbers=numbers[begin:end],
            positions=positions[begin:end].astype(np.float64),
            values={name: float(column[k]) for name, column in values.items()},
        )
