"""What a file of molecules holds, and every record of it that cannot be used."""

from __future__ import annotations

import collections
from pathlib import Path

import msgspec

from wattlaw.workloads.molecules.sources.elements import SYMBOLS
from wattlaw.workloads.molecules.sources.molecule_files import opened
from wattlaw.workloads.molecules.sources.molecule_record import fault_of
from wattlaw.workloads.molecules.sources.smiles_table import is_table, read_table_rows


class Fault(msgspec.Struct, frozen=True):
    """A record that cannot be used, and why."""

    record: str
    fault: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds.

    kind          what it was recognised as
    molecules     that can be used
    least_atoms, most_atoms   of one of them
    elements      by symbol, how many atoms of each
    numbers       names of the numbers that molecules bring, and how many bring each
    energy_unit   of its energies, "" where it brings none
    forces, bonds how many molecules bring them
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
    faults: list[Fault]


def check_file(path: Path) -> Held:
    """Read a file to its end. Raises DataError where it cannot be read at all."""
    if is_table(path):
        return _table(path)
    source = opened(path)
    faults: list[Fault] = []
    sizes: list[int] = []
    elements: collections.Counter[int] = collections.Counter()
    numbers: collections.Counter[str] = collections.Counter()
    forces = bonds = 0
    for record in source.records:
        if fault := fault_of(record):
            faults.append(Fault(record.where, fault))
            continue
        sizes.append(len(record.numbers))
        elements.update(record.numbers.tolist())
        numbers.update(record.values.keys())
        forces += record.forces is not None
        bonds += record.bonds is not None
    return Held(
        kind=source.kind,
        molecules=len(sizes),
        least_atoms=min(sizes, default=0),
        most_atoms=max(sizes, default=0),
        elements={SYMBOLS[z]: n for z, n in sorted(elements.items())},
        numbers=dict(numbers),
        energy_unit=source.energy_unit,
        forces=forces,
        bonds=bonds,
        faults=faults,
    )


def _table(path: Path) -> Held:
    found = read_table_rows(path)
    symbols = collections.Counter(
        atom.symbol for formula in found.formulas for atom in formula.atoms
    )
    sizes = [len(formula.atoms) for formula in found.formulas]
    return Held(
        kind="table of SMILES (heavy atoms are counted)",
        molecules=len(sizes),
        least_atoms=min(sizes, default=0),
        most_atoms=max(sizes, default=0),
        elements=dict(sorted(symbols.items())),
        numbers=found.columns,
        energy_unit="",
        forces=0,
        bonds=len(sizes),
        faults=[Fault(*fault) for fault in found.faults],
    )
