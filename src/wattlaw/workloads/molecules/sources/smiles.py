"""SMILES, read by RDKit: atoms, bonds, aromaticity and hydrogens are RDKit's answers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.core.reading import Note
from wattlaw.core.units import counted
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.rdkit_log import RdkitLog, captured_rdkit_log

RdkitMolecule = Any
"""A molecule of RDKit, which has no types."""

SINGLE, DOUBLE, TRIPLE, AROMATIC = 1, 2, 3, 4
"""Kinds of bonds; 0: not bonded."""


class MolecularGraph(NamedTuple):
    """Atoms and bonds of a molecule without positions.

    numbers    atomic numbers (N,) uint8; hydrogens are atoms only if they have no other atom
    aromatic   (N,) bool
    hydrogens  (N,) how many hydrogens each atom carries that are not atoms of the graph
    bonds      (K, 3): two atoms, the first before the second, and the kind of the bond
    """

    numbers: Array
    aromatic: Array
    hydrogens: Array
    bonds: Array


@functools.cache
def bond_kinds_of_rdkit() -> Mapping[object, int]:
    """Return our kind of each of RDKit's types of bonds."""
    types = need("rdkit.Chem", "SMILES and SDF").BondType
    return {
        types.SINGLE: SINGLE,
        types.DATIVE: SINGLE,
        types.DOUBLE: DOUBLE,
        types.TRIPLE: TRIPLE,
        types.QUADRUPLE: TRIPLE,
        types.AROMATIC: AROMATIC,
    }


class SmilesReader:
    """Reads SMILES while RDKit's log is captured, see ``smiles_reader``.

    warnings  warnings of RDKit, with the SMILES
    """

    def __init__(self, log: RdkitLog) -> None:
        self.chem = need("rdkit.Chem", "SMILES")
        self.log = log
        self.warnings: list[str] = []

    def read(self, text: str) -> MolecularGraph:
        """Return the molecule of a SMILES. Raises DataError with RDKit's reason."""
        molecule = self.chem.MolFromSmiles(text)
        messages = self.log.take()
        if molecule is None:
            reason = messages[0] if messages else "RDKit cannot read it"
            raise DataError(f"SMILES {text!r}: {reason}")
        if messages:
            self.warnings.append(f"SMILES {text!r}: {messages[0]}")
        atoms = list(molecule.GetAtoms())
        numbers = [atom.GetAtomicNum() for atom in atoms]
        if not numbers:
            raise DataError(f"SMILES {text!r}: no atoms")
        if 0 in numbers:
            symbol = atoms[numbers.index(0)].GetSymbol()
            raise DataError(f"SMILES {text!r}: unknown element {symbol}")
        return MolecularGraph(
            numbers=np.array(numbers, np.uint8),
            aromatic=np.array([atom.GetIsAromatic() for atom in atoms]),
            hydrogens=np.array([atom.GetTotalNumHs() for atom in atoms]),
            bonds=bonds_of_rdkit(molecule),
        )

    def notes(self, source: Path | str) -> list[Note]:
        """Return the note that RDKit warned about molecules of ``source``; none if it did not."""
        return rdkit_warnings(source, self.warnings)


@contextlib.contextmanager
def smiles_reader() -> Iterator[SmilesReader]:
    """Give a reader of SMILES. Raises MissingPartError if RDKit is not installed."""
    with captured_rdkit_log() as log:
        yield SmilesReader(log)


def read_smiles(*texts: str) -> list[MolecularGraph]:
    """Return the molecules of some SMILES. Raises DataError for the first that cannot be read."""
    with smiles_reader() as reader:
        return [reader.read(text) for text in texts]


def rdkit_warnings(source: Path | str, warnings: Sequence[str]) -> list[Note]:
    """Return the note that RDKit warned about some molecules; none if it did not."""
    if not warnings:
        return []
    found = counted(len(warnings), "molecule")
    message = f"{source}: RDKit warns about {found}; the first: {warnings[0]}"
    return [Note("molecule_warnings", message)]


def bonds_of_rdkit(molecule: RdkitMolecule) -> Array:
    """Return the bonds (K, 3) of a molecule of RDKit, the lower atom first; kind 0 if unknown."""
    kinds = bond_kinds_of_rdkit()
    bonds = []
    for bond in molecule.GetBonds():
        ends = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bonds.append((*ends, kinds.get(bond.GetBondType(), 0)))
    return np.array(bonds, np.int64).reshape(-1, 3)
