"""Arrays of molecules in an .npz: MD17, rMD17, sGDML, and QM9 with molecules one after another."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.sources.molecule_record import Record, Source

Array = np.ndarray[Any, Any]

_TRAJECTORIES = {
    "MD17": ("z", "R", "E", "F"),
    "rMD17": ("nuclear_charges", "coords", "energies", "forces"),
}
_UNITS = {"kcal/mol": "kcal/mol", "kcalmol": "kcal/mol", "ev": "eV", "hartree": "hartree", "ha": "hartree",
          "kj/mol": "kJ/mol", "mev": "meV"}  # fmt: skip


def read(path: Path) -> Source:
    """Return the geometries of a file. Raises DataError where it is none that is known."""
    arrays = _arrays(path)
    for kind, names in _TRAJECTORIES.items():
        if all(name in arrays for name in names):
            _check_numbers(path, arrays, names)
            unit = _unit(path, arrays)
            return Source(
                f".npz of {kind}",
                unit or "kcal/mol",
                _frames(path, *(arrays[n] for n in names)),
                bool(unit),
            )
    if all(name in arrays for name in ("R", "Z", "N")):
        _check_numbers(path, arrays, ("R", "Z", "N"))
        return Source(
            ".npz of molecules (R, Z, N)", _unit(path, arrays) or "eV", _molecules(path, arrays)
        )
    valid = "; ".join(
        [*(", ".join(names) for names in _TRAJECTORIES.values()), "R, Z, N and properties"]
    )
    raise DataError(
        f"{path}: its arrays are {', '.join(sorted(arrays)) or 'none'}; known are {valid}"
    )


def _arrays(path: Path) -> dict[str, Array]:
    try:
        # opened here, because numpy leaves a damaged file open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            # an array of objects, such as a note, is no data of ours
            return {name: data[name] for name in data.files if _is_plain(data, name)}
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise DataError(f"{path}: not a whole .npz ({error})") from None


def _is_plain(data: Any, name: str) -> bool:
    try:
        return isinstance(array := data[name], np.ndarray) and array.dtype.kind in "biufU"
    except ValueError as error:
        if "allow_pickle" in str(error):
            return False
        raise


def _check_numbers(path: Path, arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    for name in names:
        if arrays[name].dtype.kind == "U":
            raise DataError(f"{path}: its array {name} is text; numbers are asked for")


def _unit(path: Path, arrays: Mapping[str, Array]) -> str:
    """Return the unit of energy that sGDML's files name; "" where none is."""
    length = str(arrays.get("r_unit", "Ang"))
    if length.lower() not in ("ang", "angstrom", "å"):
        raise DataError(f"{path}: its unit of length is {length}; Å is asked for")
    named = str(arrays.get("e_unit", ""))
    if named and named.lower() not in _UNITS:
        raise DataError(
            f"{path}: its unit of energy is {named}; known are {', '.join(sorted(_UNITS))}"
        )
    return _UNITS.get(named.lower(), "")


def _frames(
    path: Path, numbers: Array, places: Array, energies: Array, forces: Array
) -> Iterator[Record]:
    energies = energies.reshape(-1)
    if places.ndim and forces.ndim and not len(places) == len(energies) == len(forces):
        raise DataError(
            f"{path}: {len(places)} geometries, {len(energies)} energies and {len(forces)} forces"
        )
    if places.ndim != 3 or places.shape[1:] != (numbers.size, 3) or forces.shape != places.shape:
        raise DataError(
            f"{path}: {numbers.size} elements, positions of shape {places.shape} and forces of shape {forces.shape}; "
            "(frames, atoms, 3) is asked for"
        )
    elements = _elements(numbers.reshape(-1))
    for k, (place, energy, force) in enumerate(zip(places, energies, forces, strict=True)):
        yield Record(f"frame {k}", elements, place.astype(np.float64), {"energy": float(energy)},
                     force.astype(np.float64))  # fmt: skip


def _molecules(path: Path, arrays: Mapping[str, Array]) -> Iterator[Record]:
    if arrays["R"].size % 3:
        raise DataError(f"{path}: positions of shape {arrays['R'].shape}; (atoms, 3) is asked for")
    sizes = _whole(arrays["N"].reshape(-1))
    numbers, places = arrays["Z"].reshape(-1), arrays["R"].reshape(-1, 3)
    if not len(numbers) == len(places) == sizes.sum() or (sizes < 0).any():
        raise DataError(
            f"{path}: {len(numbers)} elements and {len(places)} positions for {sizes.sum()} atoms"
        )
    elements = _elements(numbers)
    values = {name: a.reshape(-1).astype(float) for name, a in arrays.items()
              if a.size == len(sizes) and a.dtype.kind in "iuf" and name not in ("N", "id")}  # fmt: skip
    ends = np.cumsum(sizes)
    for k, (begin, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        mine = {name: float(a[k]) for name, a in values.items()}
        yield Record(
            f"molecule {k}", elements[begin:end], places[begin:end].astype(np.float64), mine
        )


def _elements(numbers: Array) -> Array:
    # 0 is no element; what does not fit must not become one by wrapping round
    whole = _whole(numbers)
    return np.where((whole > 0) & (whole < 255), whole, 255 * (whole != 0)).astype(np.uint8)


def _whole(numbers: Array) -> Array:
    """Return whole numbers; -1 for what is none, such as NaN."""
    if numbers.dtype.kind != "f":
        return numbers.astype(np.int64)
    wide = numbers.astype(np.float64)
    return np.where((np.abs(wide) < 2**31) & (wide == np.round(wide)), wide, -1).astype(np.int64)
