"""SDF files (V2000 and V3000), read by RDKit, with the properties in a table beside them.

QM9's ``gdb9.sdf`` has its properties in ``gdb9.sdf.csv``, one row per molecule.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.core.reading import Note
from wattlaw.core.units import counted
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.energy_units import FileUnits
from wattlaw.workloads.molecules.sources.molecule_record import (
    MoleculeFile,
    MoleculeRecord,
    bad_record,
)
from wattlaw.workloads.molecules.sources.rdkit_log import RdkitLog, captured_rdkit_log
from wattlaw.workloads.molecules.sources.smiles import (
    RdkitMolecule,
    bonds_of_rdkit,
    rdkit_warnings,
)

_END = "$$$$"

_HARMLESS = "molecule is tagged as 2D, but at least one Z coordinate is not zero"
"""RDKit then reads the positions as they are."""


def is_sdf(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines is an SDF."""
    return any(_is_counts_line(line) for line in lines[:6])


def _is_counts_line(line: str) -> bool:
    return line.rstrip().endswith(("V2000", "V3000"))


def read_sdf(path: Path, lines: Sequence[str]) -> MoleculeFile:
    """Return the molecules of a file from its lines.

    Raises MissingPartError if RDKit is not installed, and DataError if the table beside the
    file is damaged or of another length.
    """
    notes: list[Note] = []
    table = path.with_name(path.name + ".csv")
    molecules = _molecules(path, lines, notes)
    if not table.is_file():
        return MoleculeFile("SDF", FileUnits(), molecules, notes)
    with_properties = _joined(path, molecules, _rows(table))
    units = FileUnits("hartree", is_stated=True)
    return MoleculeFile(f"SDF with {table.name}", units, with_properties, notes)


def _rows(table: Path) -> list[dict[str, float]]:
    """Return the numbers of each row of a table."""
    try:
        with open(table, newline="", encoding="utf-8", errors="replace") as file:
            return [_numbers_only(row) for row in csv.DictReader(file)]
    except csv.Error as error:
        raise DataError(f"{table}: not a table ({error})") from None


def _numbers_only(row: Mapping[str, object]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        try:
            numbers[name] = float(str(text))
        except ValueError:
            continue
    return numbers


def _joined(
    path: Path, molecules: Iterator[MoleculeRecord], rows: Sequence[Mapping[str, float]]
) -> Iterator[MoleculeRecord]:
    count = 0
    for count, molecule in enumerate(molecules, 1):
        if count > len(rows):
            raise DataError(
                f"{path}: molecule {count - 1} has no row in {path.name}.csv, which has {len(rows)}"
            )
        yield molecule._replace(values={**molecule.values, **rows[count - 1]})
    if count < len(rows):
        found, expected = counted(count, "molecule"), counted(len(rows), "row")
        raise DataError(f"{path}: it ends after {found}, but {path.name}.csv has {expected}")


def _molecules(path: Path, lines: Sequence[str], notes: list[Note]) -> Iterator[MoleculeRecord]:
    records, warnings = [], []
    with captured_rdkit_log() as log:
        for count, (begin, block) in enumerate(_blocks(lines)):
            record, warning = _molecule(f"line {begin + 1} (molecule {count})", block, log)
            records.append(record)
            if warning:
                warnings.append(f"{record.where}: {warning}")
    notes += rdkit_warnings(path, warnings)
    yield from records


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the first line and the lines of each molecule, without the line that ends it."""
    begin = 0
    for at, line in enumerate(lines):
        if line.startswith(_END):
            yield begin, lines[begin:at]
            begin = at + 1
    if any(line.strip() for line in lines[begin:]):
        yield begin, lines[begin:]


def _molecule(where: str, block: Sequence[str], log: RdkitLog) -> tuple[MoleculeRecord, str]:
    """Return a molecule, and RDKit's warning about it ("" for none)."""
    fault = _fault_of_block(block)
    if fault:
        return bad_record(where, fault), ""
    supplier = need("rdkit.Chem", "an SDF").SDMolSupplier()
    supplier.SetData("\n".join([*block, _END, ""]), sanitize=False, removeHs=False)
    molecule = supplier[0]
    messages = [message for message in log.take() if _HARMLESS not in message]
    if molecule is None:
        reason = messages[0] if messages else "RDKit cannot read it"
        return bad_record(where, f"not a valid SDF record: {reason}"), ""
    warning = ""
    if need("rdkit.Chem", "an SDF").SanitizeMol(molecule, catchErrors=True):
        warning = f"its bonds are kept as they are ({' '.join(log.take()) or 'not sanitised'})"
        molecule = supplier[0]
    bonds = bonds_of_rdkit(molecule)
    if len(bonds) and not bonds[:, 2].all():
        return bad_record(where, "a bond of unknown kind"), ""
    record = MoleculeRecord(
        where=where,
        numbers=np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.int64),
        positions=_positions(molecule),
        values=_fields(molecule),
        bonds=bonds,
    )
    return record, warning or " ".join(messages)


def _fault_of_block(block: Sequence[str]) -> str:
    """Return what RDKit would pass over: a second molecule in a block, or one cut off."""
    if len(block) < 4 or not _is_counts_line(block[3]):
        return "truncated: its fourth line does not end in V2000 or V3000"
    if any(_is_counts_line(line) for line in block[4:]):
        return "a second molecule begins before a line $$$$"
    if not any(line.startswith("M  END") for line in block[4:]):
        return "truncated: it has no line M  END"
    return ""


def _positions(molecule: RdkitMolecule) -> Array:
    if molecule.GetNumConformers() == 0:
        return np.zeros((molecule.GetNumAtoms(), 3))
    return np.array(molecule.GetConformer().GetPositions(), np.float64).reshape(-1, 3)


def _fields(molecule: RdkitMolecule) -> dict[str, float]:
    """Return the data fields that are numbers."""
    fields = molecule.GetPropsAsDict(includePrivate=False, includeComputed=False)
    return {name: float(value) for name, value in fields.items() if isinstance(value, int | float)}
