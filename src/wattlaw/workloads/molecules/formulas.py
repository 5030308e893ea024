"""Molecules as graphs of atoms and bonds, without places: QM9's own SMILES, or a table such as ZINC's."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.molecules.bonds import Bonded
from wattlaw.workloads.molecules.data import Molecule
from wattlaw.workloads.molecules.smiles import Formula, read_smiles

Array = np.ndarray[Any, Any]

ATOM_KINDS = ("C", "N", "O", "F", "S", "Cl", "Br", "I", "P", "B", "H")
"""Elements by their number in a graph; aromatic ones follow from len(ATOM_KINDS) on, others are OTHER."""

OTHER = 2 * len(ATOM_KINDS)
KINDS = OTHER + 1
_BOND_KINDS = {1.0: 1, 2.0: 2, 3.0: 3, 1.5: 4}


class Formulas(Dataset[Bonded]):
    """Molecules of heavy atoms with a target (M,) each. Pairs are bonds, so every distance is 1 bond."""

    def __init__(self, formulas: Sequence[Formula], target: Array) -> None:
        self.target = torch.from_numpy(target.astype(np.float32))
        self.kinds = torch.tensor([kind_of(f, k) for f in formulas for k in range(len(f.atoms))], dtype=torch.uint8)
        ends = np.array([sorted((a, b)) for f in formulas for a, b, _ in f.bonds], np.int16).reshape(-1, 2)
        self.first, self.second = torch.from_numpy(ends[:, 0].copy()), torch.from_numpy(ends[:, 1].copy())
        self.bonds = torch.tensor([_BOND_KINDS.get(o, 1) for f in formulas for *_, o in f.bonds], dtype=torch.uint8)
        self.atom_starts = [0, *np.cumsum([len(f.atoms) for f in formulas]).tolist()]
        self.bond_starts = [0, *np.cumsum([len(f.bonds) for f in formulas]).tolist()]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> Bonded:
        atoms = slice(self.atom_starts[index], self.atom_starts[index + 1])
        bonds = slice(self.bond_starts[index], self.bond_starts[index + 1])
        kinds = self.kinds[atoms]
        steps = torch.ones(len(self.bonds[bonds]))
        molecule = Molecule(
            kinds, torch.empty(len(kinds), 0), self.first[bonds], self.second[bonds], steps, self.target[index]
        )
        return Bonded(molecule, torch.empty(len(kinds), 0), self.bonds[bonds])


def kind_of(formula: Formula, atom: int) -> int:
    """Return the number of an atom's kind, below KINDS."""
    known = formula.atoms[atom]
    if known.symbol not in ATOM_KINDS:
        return OTHER
    return ATOM_KINDS.index(known.symbol) + len(ATOM_KINDS) * known.aromatic


def read_table(path: Path, column: str, on_bad: str = "fail") -> tuple[list[Formula], Array, int]:
    """Return the molecules of a CSV file, the numbers of a column, and how many rows were left out.

    The file names its columns; one is called "smiles", as in ZINC's tables (smiles, logP, qed, SAS).
    Raises DataError naming file and line, unless ``on_bad`` is "skip"; UnknownNameError for a missing column.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    formulas, values, skipped = [], [], 0
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        if "smiles" not in names:
            raise DataError(f"{path}: no column smiles; its first line is {','.join(names)[:80]!r}")
        if column not in names:
            raise UnknownNameError("column", column, [n for n in names if n != "smiles"])
        for row in reader:
            try:
                formula, value = _row(row, column)
            except (DataError, ValueError) as error:
                if on_bad != "skip":
                    raise DataError(f"{path}:{reader.line_num}: {error}; leave such out with on_bad=skip") from None
                skipped += 1
                continue
            formulas.append(formula)
            values.append(value)
    if not formulas:
        raise DataError(f"{path}: no usable molecule in it")
    return formulas, np.array(values), skipped


def _row(row: dict[str, Any], column: str) -> tuple[Formula, float]:
    value = float(row[column] or "nan")
    if not np.isfinite(value):
        raise ValueError(f"{column} is {row[column]!r}")
    return read_smiles((row["smiles"] or "").strip()), value


def degrees(formulas: Iterable[Formula]) -> Array:
    """Return how many atoms have 0, 1, 2, … bonds."""
    found = [np.bincount(np.array([e for b in f.bonds for e in b[:2]], int), minlength=len(f.atoms)) for f in formulas]
    return np.bincount(np.concatenate(found))
