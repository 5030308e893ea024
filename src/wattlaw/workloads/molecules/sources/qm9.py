"""QM9: 130,831 small molecules with properties from density functional theory, from the package qm9pack.

The package's CSV files are found without importing it. A part of the set is read from blocks spread over
the files, so that a small run starts quickly and still sees molecules of every size.
Source: Ramakrishnan et al., Scientific Data 1, 140022 (2014).
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError, MissingPartError
from wattlaw.core.plugins import how_to_install
from wattlaw.workloads.cache import cached
from wattlaw.workloads.molecules.sources.energy_units import HARTREE_EV

ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
"""Elements of QM9 with their atomic numbers."""


class Property(NamedTuple):
    """A target of QM9: its column, the factor to ``unit``, and whether it grows with the molecule."""

    column: str
    factor: float
    unit: str
    extensive: bool


PROPERTIES = {
    "mu": Property("Dipole_debye", 1.0, "D", False),
    "alpha": Property("Polarizability_bohr3", 1.0, "bohr³", True),
    "homo": Property("HOMO_au", HARTREE_EV, "eV", False),
    "lumo": Property("LUMO_au", HARTREE_EV, "eV", False),
    "gap": Property("HOMO_LUMO_gap_au", HARTREE_EV, "eV", False),
    "r2": Property("R2_bohr2", 1.0, "bohr²", True),
    "zpve": Property("ZPVE_au", HARTREE_EV, "eV", True),
    "u0": Property("InternalEnergy_0K_au", HARTREE_EV, "eV", True),
    "u": Property("InternalEnergy_298K_au", HARTREE_EV, "eV", True),
    "h": Property("Enthalphy_298K_au", HARTREE_EV, "eV", True),
    "g": Property("GibbsFreeEnergy_298K_au", HARTREE_EV, "eV", True),
    "cv": Property("Heatcapacity_Cv_cal_mol_K", 1.0, "cal/(mol K)", True),
}
"""Targets by the names that the field uses; the columns are spelt as the files spell them."""

_BLOCK = 128


class Table(NamedTuple):
    """Molecules one after another: atoms (A), and per molecule (M) its atom count and properties.

    numbers (A,) uint8; positions (A, 3) float32 in Å; atoms (M,) int64; properties (M, 12) float64 in the
    units of PROPERTIES and its order.
    """

    numbers: np.ndarray[Any, Any]
    positions: np.ndarray[Any, Any]
    atoms: np.ndarray[Any, Any]
    properties: np.ndarray[Any, Any]


def qm9_smiles(count: int | None = None) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return SMILES and properties (M, 12) of ``count`` molecules from blocks spread over the set, or of all."""
    files = _files()
    texts, properties = [], []
    for _, row in _every(files) if count is None else _spread(files, count):
        texts.append(row["SMILES"])
        properties.append([float(row[p.column]) * p.factor for p in PROPERTIES.values()])
    return texts, np.array(properties)


def qm9(count: int | None = None) -> Table:
    """Return ``count`` molecules from blocks spread over the set, or all of it (then kept in a cache file).

    Raises MissingPartError where qm9pack is not installed, DataError where a file of it is broken.
    """
    files = _files()
    if count is not None:
        return _table(_spread(files, count))
    return Table(**cached("qm9-1", lambda: _table(_every(files))._asdict()))


def _files() -> list[Path]:
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or spec.origin is None:
        raise MissingPartError(f"QM9 needs qm9pack: {how_to_install('qm9pack')}")
    files = [Path(spec.origin).parent / "data" / f"qm9_part{k}.csv" for k in (1, 2, 3)]
    for path in files:
        if not path.is_file():
            raise DataError(
                f"{path} is missing; install it again with `pip install --force-reinstall qm9pack`"
            )
    return files


class _Row(NamedTuple):
    where: str
    values: dict[str, str]


def _every(files: Iterable[Path]) -> Iterator[_Row]:
    for path in files:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            names = next(reader)
            for values in reader:
                yield _row(path, reader.line_num, names, values)


def _spread(files: list[Path], count: int) -> Iterator[_Row]:
    """Yield blocks of rows that begin at evenly spaced bytes of the files taken as one."""
    sizes = [path.stat().st_size for path in files]
    blocks = -(-count // _BLOCK)
    for block in range(blocks):
        # the first twentieth is left out: its molecules are far smaller than QM9's usual ones
        start = int(sum(sizes) * (0.05 + 0.94 * block / blocks))
        which = 0
        while start >= sizes[which]:
            start -= sizes[which]
            which += 1
        yield from _block(files[which], start, min(_BLOCK, count - block * _BLOCK))


def _block(path: Path, start: int, rows: int) -> Iterator[_Row]:
    with open(path, "rb") as file:
        names = next(csv.reader([file.readline().decode()]))
        file.seek(start)
        file.readline()
        for _ in range(rows):
            line = file.readline().decode()
            if not line:
                raise DataError(
                    f"{path} is truncated: it ends where {rows} more molecules should follow"
                )
            yield _row(path, 0, names, next(csv.reader([line])))


def _row(path: Path, line: int, names: list[str], values: list[str]) -> _Row:
    where = f"{path}:{line}" if line else f"{path}, {values[0] if values else 'empty line'}"
    if len(values) != len(names):
        raise DataError(
            f"{where}: {len(values)} columns where {len(names)} are named; the file is damaged"
        )
    return _Row(where, dict(zip(names, values, strict=True)))


def _table(rows: Iterable[_Row]) -> Table:
    numbers: list[int] = []
    atoms: list[int] = []
    positions: list[float] = []
    properties: list[list[float]] = []
    for where, row in rows:
        try:
            elements = [
                ELEMENTS[e] for e in row["Elements"].strip("[]").replace("'", "").split(",")
            ]
            # split by hand: the files write "0." and "1.", which JSON refuses
            places = [float(x) for x in row["XYZ_Ang"].replace("[", "").replace("]", "").split(",")]
            properties.append([float(row[p.column]) * p.factor for p in PROPERTIES.values()])
        except (KeyError, ValueError) as error:
            raise DataError(f"{where}: no molecule of QM9 can be read here ({error})") from None
        if len(places) != 3 * len(elements):
            raise DataError(f"{where}: {len(elements)} elements but {len(places)} coordinates")
        numbers += elements
        positions += places
        atoms.append(len(elements))
    return Table(
        np.array(numbers, np.uint8),
        np.array(positions, np.float32).reshape(-1, 3),
        np.array(atoms, np.int64),
        np.array(properties, np.float64),
    )
