"""What a file of molecules holds, and every record of it that cannot be used."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.workloads.molecules.sources.energy_units import is_energy
from wattlaw.workloads.molecules.sources.molecule_files import (
    in_ev_and_angstrom,
    open_molecules,
    unit_doubt,
)
from wattlaw.workloads.molecules.sources.molecule_lines import (
    is_selfies,
    line_converter,
    numbered_lines,
)
from wattlaw.workloads.molecules.sources.molecule_record import fault_of
from wattlaw.workloads.molecules.sources.smiles import MolecularGraph, smiles_reader
from wattlaw.workloads.molecules.sources.smiles_table import is_table, read_table

_SAMPLED_LINES = 20
"""A text is a list of molecules if most of so many first lines are."""


class RecordFault(msgspec.Struct, frozen=True):
    """A record that cannot be used, and why."""

    record: str
    fault: str


class FileContents(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds.

    kind          its kind, in words
    molecules     how many can be used
    least_atoms, most_atoms   of one of them
    elements      atoms of each element, by symbol
    numbers       molecules that bring each number, by the number's name
    energy_unit   of its energies; "" if it has none, or if they are clearly in another unit
                  than its kind implies
    forces, bonds molecules that bring them
    faults        records that cannot be used
    """

    kind: str
    molecules: int
    least_atoms: int
    most_atoms: int
    elements: dict[str, int]
    numbers: dict[str, int]
    energy_unit: str
    forces: int
    bonds: int
    faults: list[RecordFault]


def check_file(path: Path, energy_unit: str = "") -> FileContents:
    """Read a file to its end. ``energy_unit`` is as in ``read_molecules``.

    Raises DataError if the file cannot be read at all.
    """
    if is_table(path):
        table = read_table(path)
        faults = [RecordFault(*fault) for fault in table.faults]
        kind = "table of SMILES (only heavy atoms are counted)"
        return _graph_contents(kind, table.molecules, table.columns, faults)
    try:
        file = open_molecules(path)
    except DataError:
        if _is_list(path):
            return _list_contents(path)
        raise
    scales = file.units.scales(path, energy_unit)
    faults = []
    sizes: list[int] = []
    elements: collections.Counter[int] = collections.Counter()
    numbers: collections.Counter[str] = collections.Counter()
    forces = bonds = 0
    doubt = ""
    for raw in file.records:
        record = in_ev_and_angstrom(raw, scales)
        fault = fault_of(record)
        if fault:
            faults.append(RecordFault(record.where, fault))
            continue
        if not sizes and not energy_unit:
            doubt = unit_doubt(file, record, scales)
        if doubt and not sizes:
            faults.append(RecordFault(record.where, doubt))
        sizes.append(len(record.numbers))
        elements.update(record.numbers.tolist())
        numbers.update(record.values.keys())
        forces += record.forces is not None
        bonds += record.bonds is not None
    has_energies = forces > 0 or any(map(is_energy, numbers))
    return FileContents(
        kind=file.kind,
        molecules=len(sizes),
        least_atoms=min(sizes, default=0),
        most_atoms=max(sizes, default=0),
        elements=_by_symbol(elements),
        numbers=dict(numbers),
        energy_unit=scales.energy_unit if has_energies and not doubt else "",
        forces=forces,
        bonds=bonds,
        faults=faults,
    )


def _by_symbol(elements: collections.Counter[int]) -> dict[str, int]:
    symbols = need("ase.data", "a file of molecules").chemical_symbols
    return {symbols[number]: count for number, count in sorted(elements.items())}


def _graph_contents(
    kind: str,
    molecules: Iterable[MolecularGraph],
    numbers: dict[str, int],
    faults: list[RecordFault],
) -> FileContents:
    """Return the contents of a file of molecules without positions."""
    found = [molecule.numbers for molecule in molecules]
    sizes = [len(numbers) for numbers in found]
    atoms = np.concatenate(found) if found else np.zeros(0, int)
    return FileContents(
        kind=kind,
        molecules=len(sizes),
        least_atoms=min(sizes, default=0),
        most_atoms=max(sizes, default=0),
        elements=_by_symbol(collections.Counter(atoms.tolist())),
        numbers=numbers,
        energy_unit="",
        forces=0,
        bonds=len(sizes),
        faults=faults,
    )


def _is_list(path: Path) -> bool:
    """Return whether most of the first lines of a file are SMILES or SELFIES."""
    try:
        texts = numbered_lines(path).texts[:_SAMPLED_LINES]
    except DataError:
        return False
    if is_selfies(texts):
        return True
    good = 0
    with smiles_reader() as reader:
        for text in texts:
            try:
                reader.read(text)
                good += 1
            except DataError:
                continue
    return 2 * good > len(texts)


def _list_contents(path: Path) -> FileContents:
    """Return the contents of a list of SMILES or SELFIES, one a line, as chemgpt reads it."""
    found = numbered_lines(path)
    from_selfies = is_selfies(found.texts)
    molecules, faults = [], []
    with smiles_reader() as reader:
        to_smiles = line_converter(reader, "smiles", from_selfies)
        to_selfies = line_converter(reader, "selfies", from_selfies)
        for number, text in zip(found.numbers, found.texts, strict=True):
            try:
                to_selfies(text)
                molecules.append(reader.read(to_smiles(text)))
            except DataError as error:
                faults.append(RecordFault(f"line {number}", str(error)))
    notation = "SELFIES" if from_selfies else "SMILES"
    return _graph_contents(
        f"list of {notation} (only heavy atoms are counted)", molecules, {}, faults
    )
