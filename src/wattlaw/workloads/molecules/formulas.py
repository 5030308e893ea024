"""Molecules as graphs of atoms and bonds, without places: QM9's own SMILES, or a table such as ZINC's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.molecules.bonds import (
    AROMATIC,
    Bonded,
    JoinedBonds,
    atom_features,
    bond_kinds,
)
from wattlaw.workloads.molecules.data import Joined, Molecule, Picked, rows_of, taken
from wattlaw.workloads.molecules.elements import NUMBERS, SYMBOLS
from wattlaw.workloads.molecules.smiles import ORDER_CODES, Atom, Formula, read_smiles

Array = np.ndarray[Any, Any]

ATOM_KINDS = ("C", "N", "O", "F", "S", "Cl", "Br", "I", "P", "B", "H")
"""Elements by their number in a graph; aromatic ones follow from len(ATOM_KINDS) on, others are OTHER."""

OTHER = 2 * len(ATOM_KINDS)
KINDS = OTHER + 1

HYDROGEN = 1
_ORDERS = {code: order for order, code in reversed(ORDER_CODES.items())}


class Formulas(Dataset[Bonded]):
    """Molecules of heavy atoms with a target (M,) each. Pairs are bonds, so every distance is 1 bond."""

    def __init__(self, formulas: Sequence[Formula], target: Array) -> None:
        self.target = torch.from_numpy(target.astype(np.float32))
        self.kinds = torch.tensor(
            [kind_of(f, k) for f in formulas for k in range(len(f.atoms))], dtype=torch.uint8
        )
        ends = np.array(
            [sorted((a, b)) for f in formulas for a, b, _ in f.bonds], np.int16
        ).reshape(-1, 2)
        self.first, self.second = (
            torch.from_numpy(ends[:, 0].copy()),
            torch.from_numpy(ends[:, 1].copy()),
        )
        self.bonds = torch.tensor(
            [ORDER_CODES[o] for f in formulas for *_, o in f.bonds], dtype=torch.uint8
        )
        self.features = torch.empty(len(self.kinds), 0)
        self.steps = torch.ones(len(self.bonds))
        self.atom_starts = np.cumsum([0, *(len(f.atoms) for f in formulas)])
        self.bond_starts = np.cumsum([0, *(len(f.bonds) for f in formulas)])

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> Bonded:
        atoms = slice(self.atom_starts[index], self.atom_starts[index + 1])
        bonds = slice(self.bond_starts[index], self.bond_starts[index + 1])
        kinds = self.kinds[atoms]
        ends = self.first[bonds], self.second[bonds]
        molecule = Molecule(
            kinds, torch.empty(len(kinds), 0), *ends, self.steps[bonds], self.target[index]
        )
        return Bonded(molecule, self.features[atoms], self.bonds[bonds])

    def __getitems__(self, indices: Sequence[int]) -> Picked:
        return Picked(self, indices)

    def joined(self, indices: Array) -> JoinedBonds:
        """Return some molecules (M,) one after another."""
        atoms, sizes = rows_of(self.atom_starts, indices)
        pairs, counts = rows_of(self.bond_starts, indices)
        first, second, steps = (
            taken(table, pairs) for table in (self.first, self.second, self.steps)
        )
        kinds, target = taken(self.kinds, atoms), taken(self.target, indices)
        whole = Molecule(kinds, torch.empty(len(atoms), 0), first, second, steps, target)
        return JoinedBonds(
            Joined(whole, sizes, counts), taken(self.features, atoms), taken(self.bonds, pairs)
        )


class BondedFormulas(Formulas):
    """The same with the features that ``bonds`` gives to atoms of a geometry; hydrogens are counted, not drawn."""

    def __init__(self, formulas: Sequence[Formula], target: Array) -> None:
        super().__init__(formulas, target)
        self.kinds = torch.tensor(
            [NUMBERS[a.symbol] for f in formulas for a in f.atoms], dtype=torch.uint8
        )
        owner = np.repeat(self.atom_starts[:-1], np.diff(self.bond_starts))
        ends = self.first.numpy() + owner, self.second.numpy() + owner
        hydrogens = np.array([h for f in formulas for h in f.hydrogens()])
        self.features = torch.from_numpy(
            atom_features(self.kinds.numpy(), *ends, self.bonds.numpy(), hydrogens)
        )


def kind_of(formula: Formula, atom: int) -> int:
    """Return the number of an atom's kind, below KINDS."""
    known = formula.atoms[atom]
    if known.symbol not in ATOM_KINDS:
        return OTHER
    return ATOM_KINDS.index(known.symbol) + len(ATOM_KINDS) * known.aromatic


def formula_of(numbers: Array, positions: Array, bonds: Array | None) -> Formula:
    """Return the heavy atoms of a geometry and their bonds, as its SMILES would have them.

    numbers (N,); positions (N, 3), Å. Bonds (K, 3) that are not given are estimated from distances. Hydrogen stays
    where there is nothing else.
    """
    if bonds is None:
        first, second = np.triu_indices(len(numbers), 1)
        apart = np.linalg.norm(positions[first] - positions[second], axis=1)
        kinds = bond_kinds(numbers[first], numbers[second], apart)
        bonds = np.stack([first, second, kinds], 1)[kinds > 0]
    heavy = (
        np.flatnonzero(numbers != HYDROGEN)
        if (numbers != HYDROGEN).any()
        else np.arange(len(numbers))
    )
    place = {int(atom): k for k, atom in enumerate(heavy)}
    kept = [
        (place[a], place[b], _ORDERS[kind])
        for a, b, kind in bonds.tolist()
        if a in place and b in place
    ]
    aromatic = {atom for *ends, order in kept if order == _ORDERS[AROMATIC] for atom in ends}
    atoms = tuple(
        Atom(SYMBOLS[int(numbers[a])], k in aromatic, 0, None) for k, a in enumerate(heavy)
    )
    return Formula(atoms, tuple(kept))


class TableRows(NamedTuple):
    """The molecules of a table, a number of each (M,), how many rows were left out, and why the first of these was."""

    formulas: list[Formula]
    values: Array
    skipped: int
    first_fault: str


def read_table(path: Path, column: str, on_bad: str = "fail") -> TableRows:
    """Return the molecules of a CSV file and the numbers of a column.

    The file names its columns; one is called "smiles", as in ZINC's tables (smiles, logP, qed, SAS).
    Raises DataError naming file and line, unless ``on_bad`` is "skip"; UnknownNameError for a missing column.
    """
    reader = csv.DictReader(io.StringIO(_table_text(path), newline=""))
    names = reader.fieldnames or []
    if "smiles" not in names:
        raise DataError(f"{path}: no column smiles; its first line is {','.join(names)[:80]!r}")
    if column not in names:
        raise UnknownNameError("column", column, [n for n in names if n != "smiles"])
    formulas, values, skipped, first = [], [], 0, ""
    for row in _rows(path, reader):
        try:
            formula, value = _row(row, column)
        except (DataError, ValueError) as error:
            if on_bad != "skip":
                raise DataError(
                    f"{path}:{reader.line_num}: {error}; leave such out with --on-bad skip"
                ) from None
            skipped, first = skipped + 1, first or f"line {reader.line_num}: {error}"
            continue
        formulas.append(formula)
        values.append(value)
    if not formulas:
        raise DataError(f"{path}: no usable molecule in it" + (f" ({first})" if first else ""))
    return TableRows(formulas, np.array(values), skipped, first)


class Looked(NamedTuple):
    """Molecules of a table, its other columns with how many numbers stand in each, and (line, fault) of bad rows."""

    formulas: list[Formula]
    columns: dict[str, int]
    faults: list[tuple[str, str]]


def read_table_rows(path: Path) -> Looked:
    """Return every molecule of a table, whichever column is to be learnt later."""
    reader = csv.DictReader(io.StringIO(_table_text(path), newline=""))
    columns = dict.fromkeys([n for n in reader.fieldnames or [] if n != "smiles"], 0)
    formulas, faults = [], []
    for row in _rows(path, reader):
        try:
            formulas.append(_formula(row))
        except (DataError, ValueError) as error:
            faults.append((f"line {reader.line_num}", str(error)))
            continue
        for name in columns:
            columns[name] += _is_number(row[name])
    return Looked(formulas, {name: n for name, n in columns.items() if n}, faults)


def _is_number(text: str | None) -> bool:
    try:
        return bool(np.isfinite(float(text or "nan")))
    except ValueError:
        return False


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a table ({error})") from None


def is_table(path: Path) -> bool:
    """Return whether a file's first line names a column smiles, as a table's does."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return b"smiles" in file.readline(4096).strip().lstrip(b"\xef\xbb\xbf").split(b",")


def table_column(path: Path, column: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of a column of a table. Raises DataError where it is none."""
    reader = csv.DictReader(io.StringIO(_table_text(path), newline=""))
    for row in _rows(path, reader):
        yield reader.line_num, (row[column] or "").strip()


def _table_text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a table in UTF-8 (byte {error.start}); a CSV file is asked for"
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: not a table (a zero character at {text.index(chr(0))})")
    return text


def _row(row: dict[str, Any], column: str) -> tuple[Formula, float]:
    if row[column] is None:
        raise ValueError(f"the line is cut off before {column}")
    value = float(row[column] or "nan")
    if not np.isfinite(value):
        raise ValueError(f"{column} is {row[column]!r}")
    return _formula(row), value


def _formula(row: dict[str, Any]) -> Formula:
    formula = read_smiles((row["smiles"] or "").strip())
    unknown = [atom.symbol for atom in formula.atoms if atom.symbol not in NUMBERS]
    if unknown:
        raise ValueError(f"unknown element {unknown[0]}")
    return formula


def degrees(formulas: Iterable[Formula]) -> Array:
    """Return how many atoms have 0, 1, 2, … bonds."""
    found = [
        np.bincount(np.array([e for b in f.bonds for e in b[:2]], int), minlength=len(f.atoms))
        for f in formulas
    ]
    return np.bincount(np.concatenate(found))
