"""Reads a molecule file; its format is recognised by its content, whatever its name."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.core.reading import Note
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources import ase_databases
from wattlaw.workloads.molecules.sources.energy_units import (
    TOTAL_ENERGY_NAMES,
    UnitScales,
    doubt_about_unit,
)
from wattlaw.workloads.molecules.sources.molecule_record import (
    MoleculeFile,
    MoleculeRecord,
    bad_record,
    fault_of,
)
from wattlaw.workloads.molecules.sources.npz import read_npz
from wattlaw.workloads.molecules.sources.sdf import is_sdf, read_sdf
from wattlaw.workloads.molecules.sources.xyz import is_xyz, read_xyz

KINDS = (
    "extended XYZ, QM9's raw XYZ (a file, folder or archive), SDF, .npz of MD17, rMD17 or QM9, "
    "or an ASE database"
)
_UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
}
_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


class LoadedMolecules(NamedTuple):
    """What a file holds.

    kind, energy_unit  of the file
    records            that can be used: positions in Å, energies in eV, forces in eV/Å
    skipped            how many records were skipped; ``first_fault`` is why the first of these was
    notes              warnings for the user
    """

    kind: str
    energy_unit: str
    records: list[MoleculeRecord]
    skipped: int
    first_fault: str
    notes: Sequence[Note]


def read_molecules(
    path: Path,
    on_bad: str = "fail",
    energy_unit: str = "",
    lacks: Callable[[MoleculeRecord], str] = lambda record: "",
) -> LoadedMolecules:
    """Return the molecules of a file.

    ``energy_unit`` is the unit of the file's energies, "" for the one that the file states or its
    kind implies. ``lacks`` names what a record lacks for its purpose, "" for nothing. Raises
    DataError with the file and the record if one cannot be used, unless ``on_bad`` is "skip";
    if no record can be used; and if an energy is clearly in another unit.
    """
    file = open_molecules(path)
    scales = file.units.scales(path, energy_unit)
    good: list[MoleculeRecord] = []
    skipped, first = 0, ""
    for raw in file.records:
        record = in_ev_and_angstrom(raw, scales)
        fault = fault_of(record) or lacks(record)
        if fault:
            if on_bad != "skip":
                raise DataError(
                    f"{path}, {record.where}: {fault}; skip such records with --on-bad skip"
                )
            skipped, first = skipped + 1, first or f"{record.where}: {fault}"
            continue
        if not good and not energy_unit:
            doubt = unit_doubt(file, record, scales)
            if doubt:
                raise DataError(f"{path}, {record.where}: {doubt}")
        good.append(record)
    if not good:
        reason = f" ({first})" if first else ""
        raise DataError(f"{path}: no usable molecule in it{reason}")
    return LoadedMolecules(file.kind, scales.energy_unit, good, skipped, first, file.notes)


def in_ev_and_angstrom(record: MoleculeRecord, scales: UnitScales) -> MoleculeRecord:
    """Return a record with its positions in Å, its energies in eV and its forces in eV/Å."""
    values = {name: value * scales.of_value(name) for name, value in record.values.items()}
    forces = record.forces
    return record._replace(
        values=values,
        positions=record.positions * scales.length,
        forces=None if forces is None else forces * scales.forces,
    )


def unit_doubt(file: MoleculeFile, record: MoleculeRecord, scales: UnitScales) -> str:
    """Return why a record's energy is not in the unit in which it was read; "" if it may be.

    A unit that the file states is not doubted.
    """
    if file.units.is_stated:
        return ""
    energies = [
        value for name, value in record.values.items() if name.lower() in TOTAL_ENERGY_NAMES
    ]
    if not energies:
        return ""
    return doubt_about_unit(record.numbers, energies[0], scales.energy_unit)


def open_molecules(path: Path) -> MoleculeFile:
    """Return a file's kind, units and records. Raises DataError if its kind is not known."""
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise DataError(f"{path}: the file is empty")
    if head.startswith(b"PK"):
        return read_npz(path)
    if head.startswith(ase_databases.SQLITE_MAGIC):
        return ase_databases.read_database(path)
    data = _unpacked(path)
    if data[257:262] == b"ustar":
        return _open_archive(path)
    return _open_text(path, data)


def _unpacked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        for magic, unpack in _UNPACK.items():
            if data.startswith(magic):
                return unpack(data)
    except _READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read to its end ({error})") from None
    except ValueError as error:
        raise DataError(f"{path}: a damaged archive ({error})") from None
    return data


def _open_text(path: Path, data: bytes) -> MoleculeFile:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: neither text (byte {error.start}) nor a known format; known are {KINDS}"
        ) from None
    lines = text.splitlines()
    begin = next((k for k, line in enumerate(lines) if line.strip()), len(lines))
    if ase_databases.is_json_database(text):
        return ase_databases.read_json_database(path, text)
    if is_sdf(lines):
        return read_sdf(path, lines)
    if is_xyz(lines[begin:]):
        return read_xyz(path, lines)
    first = lines[begin][:60] if begin < len(lines) else ""
    if "smiles" in first.split(","):
        raise DataError(
            f"{path}: a table of SMILES has no geometries; train pna, nnconv or chemgpt on it"
        )
    raise DataError(
        f"{path}: not a known format of molecule files; it begins with {first!r}. Known are {KINDS}"
    )


def _open_folder(path: Path) -> MoleculeFile:
    files = sorted(path.glob("*.xyz"))
    if not files:
        raise DataError(f"{path}: a folder without .xyz files; known are {KINDS}")
    return _join_files(((file.name, file.read_bytes()) for file in files), path)


def _open_archive(path: Path) -> MoleculeFile:
    def members() -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name.endswith(".xyz") else None
                    if file is not None:
                        yield Path(member.name).name, file.read()
        except _READ_ERRORS as error:
            raise DataError(f"{path}: cannot be read to its end ({error})") from None

    return _join_files(members(), path)


def _join_files(files: Iterator[tuple[str, bytes]], path: Path) -> MoleculeFile:
    """Return the records of many small files as one; the first that can be read sets the kind."""
    unusable: list[MoleculeRecord] = []
    for name, data in files:
        try:
            first = _open_text(path / name, data)
        except DataError as error:
            unusable.append(_bad_file(path / name, error))
            continue
        rest = (records for item in files for records in _records_of(path, *item))
        records = itertools.chain(unusable, _records_of(path, name, data), rest)
        return first._replace(kind=f"files of {first.kind}", records=records)
    if unusable:
        raise DataError(f"{path}, {unusable[0].where}: {unusable[0].fault}")
    raise DataError(f"{path}: no .xyz file in it; known are {KINDS}")


def _records_of(path: Path, name: str, data: bytes) -> Iterator[MoleculeRecord]:
    try:
        for record in _open_text(path / name, data).records:
            yield record._replace(where=f"{name}, {record.where}")
    except DataError as error:
        yield _bad_file(path / name, error)


def _bad_file(path: Path, error: DataError) -> MoleculeRecord:
    """Return a file of many that cannot be read, as a record, so that it can be skipped."""
    fault = str(error).removeprefix(str(path)).lstrip(":, ")
    return bad_record(path.name, fault)


class MoleculeArrays(NamedTuple):
    """Molecules one after another: numbers (A,) uint8, positions (A, 3) float32 in Å, and the
    number of atoms of each molecule (M,) int64.
    """

    numbers: Array
    positions: Array
    atoms: Array


def as_arrays(records: Sequence[MoleculeRecord]) -> MoleculeArrays:
    """Return molecules as arrays."""
    return MoleculeArrays(
        np.concatenate([record.numbers for record in records]).astype(np.uint8),
        np.concatenate([record.positions for record in records]).astype(np.float32),
        np.array([len(record.numbers) for record in records], np.int64),
    )
