"""Opens a file of molecules by what it holds, whatever its name is."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.sources import ase_databases, npz, sdf, xyz
from wattlaw.workloads.molecules.sources.energy_units import check_unit, energy_factor
from wattlaw.workloads.molecules.sources.molecule_record import Record, Source, fault_of

KINDS = "extended XYZ, QM9's raw XYZ (a file, folder or archive), SDF, .npz of MD17, rMD17 or QM9, or a database of ASE"
_ENERGIES = {"energy", "ref_energy", "dft_energy", "totenergy", "free_energy", "homo", "lumo", "gap", "zpve", "u0", "u",
             "h", "g", "u298", "h298", "g298"}  # fmt: skip
_PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
}
_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


class Given(NamedTuple):
    """What a file held: its kind, the unit that its energies had, its good records (energies in eV, forces in
    eV/Å), how many were left out, and why the first of these was.
    """

    kind: str
    unit: str
    records: list[Record]
    skipped: int
    first_fault: str


def read_molecules(
    path: Path,
    on_bad: str = "fail",
    energy_unit: str = "",
    wanted: Callable[[Record], str] = lambda record: "",
) -> Given:
    """Return the molecules of a file. ``wanted`` names what a record lacks for the purpose, "" for nothing.

    ``energy_unit`` is that of the file's energies; "" for the one that its kind has by custom. Raises DataError naming
    the file and the record where one is bad, unless ``on_bad`` is "skip"; and where no record is good.
    """
    source = opened(path)
    unit = energy_unit or source.energy_unit
    factor = energy_factor(unit)
    good: list[Record] = []
    skipped, first = 0, ""
    for raw in source.records:
        record = _in_ev(raw, factor)
        fault = fault_of(record) or wanted(record)
        if fault and on_bad != "skip":
            raise DataError(f"{path}, {record.where}: {fault}; leave such out with --on-bad skip")
        if fault:
            skipped, first = skipped + 1, first or f"{record.where}: {fault}"
            continue
        if not good and not energy_unit and not source.stated:
            _check_unit(path, record, unit)
        good.append(record)
    if not good:
        raise DataError(f"{path}: no usable molecule in it" + (f" ({first})" if first else ""))
    return Given(source.kind, unit, good, skipped, first)


def _in_ev(record: Record, factor: float) -> Record:
    values = {n: v * factor if is_energy(n) else v for n, v in record.values.items()}
    return record._replace(
        values=values, forces=None if record.forces is None else record.forces * factor
    )


def is_energy(name: str) -> bool:
    """Return whether a number of this name is an energy, in the file's unit."""
    return name.lower() in _ENERGIES or name.lower().removeprefix("energy_") in _ENERGIES


def _check_unit(path: Path, record: Record, unit: str) -> None:
    energy = next(
        (v for n, v in record.values.items() if n.lower() in ("energy", "u0", "energy_u0")), None
    )
    if energy is not None:
        check_unit(f"{path}, {record.where}", record.numbers, energy, unit)


def opened(path: Path) -> Source:
    """Return a file's kind and records. Raises DataError where there is none or it is of another kind."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise DataError(f"{path}: the file is empty")
    if head.startswith(b"PK"):
        return npz.read(path)
    if head.startswith(ase_databases.MAGIC):
        return ase_databases.read(path)
    data = _unpacked(path)
    if data[257:262] == b"ustar":
        return _archive(path)
    return _text(path, data)


def _unpacked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        for magic, unpack in _PACKED.items():
            if data.startswith(magic):
                return unpack(data)
    except _READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read to its end ({error})") from None
    except ValueError as error:
        raise DataError(f"{path}: a damaged archive ({error})") from None
    return data


def _text(path: Path, data: bytes) -> Source:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: no text (byte {error.start}) and no data that are known; known are {KINDS}"
        ) from None
    lines = text.splitlines()
    begin = next((k for k, line in enumerate(lines) if line.strip()), len(lines))
    if ase_databases.recognises_json(text):
        return ase_databases.read_json(path, text)
    if sdf.recognises(lines):
        return sdf.read(path, lines)
    if xyz.recognises(lines[begin:]):
        return xyz.read(path, lines)
    first = lines[begin][:60] if begin < len(lines) else ""
    if "smiles" in first.split(","):
        raise DataError(
            f"{path}: a table of SMILES, which has no geometries; pna, nnconv and chemgpt learn from one"
        )
    raise DataError(
        f"{path}: not a file of molecules that is known; it begins with {first!r}. Known are {KINDS}"
    )


def _folder(path: Path) -> Source:
    files = sorted(path.glob("*.xyz"))
    if not files:
        raise DataError(f"{path}: a folder without .xyz files; known are {KINDS}")
    return _joined(((f.name, f.read_bytes()) for f in files), path)


def _archive(path: Path) -> Source:
    def members() -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name.endswith(".xyz") else None
                    if file is not None:
                        yield Path(member.name).name, file.read()
        except _READ_ERRORS as error:
            raise DataError(f"{path}: cannot be read to its end ({error})") from None

    return _joined(members(), path)


def _joined(files: Iterator[tuple[str, bytes]], path: Path) -> Source:
    """Return the records of many small files as one source; the first says what they are."""
    first = next(files, None)
    if first is None:
        raise DataError(f"{path}: no .xyz file in it; known are {KINDS}")
    kind = _text(path / first[0], first[1])

    def records() -> Iterator[Record]:
        for name, data in itertools.chain([first], files):
            for record in _text(path / name, data).records:
                yield record._replace(where=f"{name}, {record.where}")

    return kind._replace(kind=f"files of {kind.kind}", records=records())


class Ragged(NamedTuple):
    """Molecules one after another: numbers (A,) uint8, positions (A, 3) float32 in Å, atoms (M,) of each."""

    numbers: np.ndarray[Any, Any]
    positions: np.ndarray[Any, Any]
    atoms: np.ndarray[Any, Any]


def ragged(records: list[Record]) -> Ragged:
    """Return molecules as arrays."""
    return Ragged(
        np.concatenate([r.numbers for r in records]).astype(np.uint8),
        np.concatenate([r.positions for r in records]).astype(np.float32),
        np.array([len(r.numbers) for r in records], np.int64),
    )
