"""QM9: 130,831 small molecules with properties from density functional theory.

The CSV files of the package qm9pack are found without importing it. A subset is read from blocks
spread over the files, so that a small run starts quickly and still sees molecules of every size.
Source: Ramakrishnan et al., Scientific Data 1, 140022 (2014).
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import DataError, MissingPartError
from wattlaw.core.plugins import how_to_install
from wattlaw.workloads.cache import Array, cached
from wattlaw.workloads.molecules.sources.energy_units import HARTREE_EV

ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
"""Elements of QM9 with their atomic numbers."""


class QM9Property(NamedTuple):
    """A target of QM9: column, factor to ``unit``, and whether it grows with the molecule."""

    column: str
    factor: float
    unit: str
    is_extensive: bool


PROPERTIES = {
    "mu": QM9Property("Dipole_debye", 1.0, "D", False),
    "alpha": QM9Property("Polarizability_bohr3", 1.0, "bohr³", True),
    "homo": QM9Property("HOMO_au", HARTREE_EV, "eV", False),
    "lumo": QM9Property("LUMO_au", HARTREE_EV, "eV", False),
    "gap": QM9Property("HOMO_LUMO_gap_au", HARTREE_EV, "eV", False),
    "r2": QM9Property("R2_bohr2", 1.0, "bohr²", True),
    "zpve": QM9Property("ZPVE_au", HARTREE_EV, "eV", True),
    "u0": QM9Property("InternalEnergy_0K_au", HARTREE_EV, "eV", True),
    "u": QM9Property("InternalEnergy_298K_au", HARTREE_EV, "eV", True),
    "h": QM9Property("Enthalphy_298K_au", HARTREE_EV, "eV", True),
    "g": QM9Property("GibbsFreeEnergy_298K_au", HARTREE_EV, "eV", True),
    "cv": QM9Property("Heatcapacity_Cv_cal_mol_K", 1.0, "cal/(mol K)", True),
}
"""Targets by their usual names; columns as the files spell them."""

_BLOCK = 128


class QM9Table(NamedTuple):
    """Molecules one after another, with their properties.

    numbers     (A,) uint8
    positions   (A, 3) float32, Å
    atoms       (M,) int64, atoms of each molecule
    properties  (M, 12) float64, in the units and the order of PROPERTIES
    """

    numbers: Array
    positions: Array
    atoms: Array
    properties: Array


def qm9_smiles(count: int | None = None) -> tuple[list[str], Array]:
    """Return SMILES and properties (M, 12) of the same molecules as ``qm9(count)``."""
    texts, properties = [], []
    for row in _rows(count):
        texts.append(row.values["SMILES"])
        properties.append(_properties(row.values))
    return texts, np.array(properties)


def qm9(count: int | None = None) -> QM9Table:
    """Return ``count`` molecules from blocks spread over the set, or all of it (which is cached).

    Raises MissingPartError if qm9pack is not installed, DataError if a file of it is damaged.
    """
    if count is not None:
        return _table(_rows(count))
    return QM9Table(**cached("qm9-1", lambda: _table(_rows(None))._asdict()))


class _Row(NamedTuple):
    where: str
    values: dict[str, str]


def _rows(count: int | None) -> Iterator[_Row]:
    files = _files()
    return _every(files) if count is None else _spread(files, count)


def _files() -> list[Path]:
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or spec.origin is None:
        raise MissingPartError(f"QM9 needs qm9pack: {how_to_install('qm9pack')}")
    files = [Path(spec.origin).parent / "data" / f"qm9_part{k}.csv" for k in (1, 2, 3)]
    for path in files:
        if not path.is_file():
            raise DataError(
                f"{path} is missing; reinstall it with `pip install --force-reinstall qm9pack`"
            )
    return files


def _every(files: Iterable[Path]) -> Iterator[_Row]:
    for path in files:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            names = next(reader)
            for values in reader:
                yield _row(f"{path}:{reader.line_num}", names, values)


def _spread(files: list[Path], count: int) -> Iterator[_Row]:
    """Yield blocks of rows that begin at evenly spaced bytes of all files."""
    sizes = [path.stat().st_size for path in files]
    blocks = -(-count // _BLOCK)
    for block in range(blocks):
        # the first twentieth is left out: its molecules are far smaller than most of QM9's
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
                raise DataError(f"{path} is truncated: {rows} more molecules should follow")
            values = next(csv.reader([line]))
            yield _row(f"{path}, {values[0] if values else 'empty line'}", names, values)


def _row(where: str, names: list[str], values: list[str]) -> _Row:
    if len(values) != len(names):
        raise DataError(
            f"{where}: {len(values)} columns, but {len(names)} names; the file is damaged"
        )
    return _Row(where, dict(zip(names, values, strict=True)))


def _properties(values: Mapping[str, str]) -> list[float]:
    return [float(values[known.column]) * known.factor for known in PROPERTIES.values()]


def _table(rows: Iterable[_Row]) -> QM9Table:
    numbers: list[int] = []
    atoms: list[int] = []
    positions: list[float] = []
    properties: list[list[float]] = []
    for where, values in rows:
        try:
            symbols = values["Elements"].strip("[]").replace("'", "").split(",")
            elements = [ELEMENTS[symbol] for symbol in symbols]
            # not JSON, because the files write "0." and "1."
            words = values["XYZ_Ang"].replace("[", "").replace("]", "").split(",")
            coordinates = [float(word) for word in words]
            properties.append(_properties(values))
        except (KeyError, ValueError) as error:
            raise DataError(f"{where}: not a molecule of QM9 ({error})") from None
        if len(coordinates) != 3 * len(elements):
            raise DataError(f"{where}: {len(elements)} elements but {len(coordinates)} coordinates")
        numbers += elements
        positions += coordinates
        atoms.append(len(elements))
    return QM9Table(
        np.array(numbers, np.uint8),
        np.array(positions, np.float32).reshape(-1, 3),
        np.array(atoms, np.int64),
        np.array(properties, np.float64),
    )
