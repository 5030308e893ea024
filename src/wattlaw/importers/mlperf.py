"""MLPerf Training: the published folder or archive of logs and system files, or a table of runs."""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from wattlaw.core.csv_table import decode
from wattlaw.core.errors import DataError, SettingError
from wattlaw.core.reading import Note, Reading, missing
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.importers.importer import (
    Imported,
    Importer,
    columns_of,
    files_in,
    head_of,
    number,
    positive,
    read_rows,
)
from wattlaw.importers.mlperf_power import window_energy
from wattlaw.importers.mlperf_result import TrainingResult, parse_log, samples_trained

NAMES = {"mlperf": "Mlperf"}

_LOG = re.compile(r"result_(\d+)\.txt$")
_POWER = re.compile(r"power/result_(\d+)/(node|sw)_(\d+)\.txt$")
_ROUND = re.compile(r"v\d+\.\d+")
_SCALINGS = ("strong", "weak")
_NODES = "number_of_nodes"
_ENDINGS = (".txt", ".json")
_LARGEST_MEMBER_BYTES = 1 << 30
_LONGEST_FAULT = 120
_BROKEN = (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)

_TABLE_COUNTS = ("nodes", "accelerators_per_node", "run_seconds")
_TABLE = ("round", "submitter", "benchmark", "accelerator", "status", *_TABLE_COUNTS)
_PROGRESS_COLUMNS = {
    "samples_count": ("stop_samples_count", "last_eval_samples_count"),
    "epoch_num": ("last_eval_epoch", "stop_epoch"),
}

System = dict[str, object]


@dataclass(frozen=True)
class Mlperf(Importer):
    """Reads a folder of results, an archive (tar, zip), one log, or a CSV table of runs.

    ``round`` is the round of the results, such as "v4.1"; by default it is read from the path.
    """

    summary: ClassVar[str] = "results of a round: folder, archive or table of runs"

    round: str = ""

    def recognises(self, path: Path) -> bool:
        if path.is_dir():
            return any(path.rglob("result_*.txt"))
        if path.suffix == ".csv":
            return set(_TABLE) <= columns_of(path)
        return _ROUND.search(path.name) is not None or ":::MLLOG" in head_of(path)

    def read(self, path: Path) -> Imported:
        found = Imported()
        if path.suffix == ".csv":
            _read_table(path, found)
            return found
        files = dict(_files(path, found))
        named = _ROUND.findall(path.name) or _ROUND.findall(str(path.resolve()))
        edition = self.round or next(iter(named), "")
        systems = _systems(files, found)
        logs = [name for name in files if _LOG.search(name) and "/power/" not in name]
        for name in sorted(logs):
            try:
                found.runs.append(_run_of_log(name, files, systems, edition, found))
            except (DataError, SettingError) as error:
                found.skip(name, str(error))
        return found


def _files(path: Path, found: Imported) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for ending in _ENDINGS:
            for file in files_in(path, f"*{ending}", found):
                yield file.relative_to(path).as_posix(), file.read_bytes()
    elif path.suffix == ".zip":
        yield from _members_of_zip(path, found)
    elif ".tar" in path.suffixes or path.suffix in (".tgz", ".txz"):
        yield from _members_of_tar(path, found)
    else:
        yield path.name, path.read_bytes()


def _members_of_tar(path: Path, found: Imported) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                is_small = member.size < _LARGEST_MEMBER_BYTES
                if member.isfile() and member.name.endswith(_ENDINGS) and is_small:
                    file = archive.extractfile(member)
                    yield member.name.removeprefix("./"), file.read() if file else b""
    except (tarfile.TarError, OverflowError, *_BROKEN) as error:
        found.skip(path, f"the archive is damaged: {_first_line(error)}")


def _members_of_zip(path: Path, found: Imported) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                is_small = info.file_size < _LARGEST_MEMBER_BYTES
                if info.filename.endswith(_ENDINGS) and is_small:
                    yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *_BROKEN) as error:
        found.skip(path, f"the archive is damaged: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:_LONGEST_FAULT] or type(error).__name__


def _systems(files: dict[str, bytes], found: Imported) -> dict[str, System]:
    """Return the system files by the names under which logs refer to them."""
    systems: dict[str, System] = {}
    for name in sorted(files):
        if not name.endswith(".json") or "systems/" not in name:
            continue
        try:
            system = json.loads(decode(files[name]))
        except (ValueError, RecursionError) as error:
            found.skip(name, f"the file is not JSON: {error}", getattr(error, "lineno", 0))
            continue
        if isinstance(system, dict):
            systems[PurePosixPath(name).stem] = system
            systems.setdefault(str(system.get("system_name")), system)
    return systems


def _run_of_log(
    name: str, files: dict[str, bytes], systems: dict[str, System], edition: str, found: Imported
) -> Run:
    """Return the run of a log; its path is SUBMITTER/results/SYSTEM/BENCHMARK/result_N.txt.

    In HPC rounds a folder "strong" or "weak" lies between SYSTEM and BENCHMARK.

    Raises DataError if the log has no window of time or no system file, SettingError if
    the counts of devices are impossible.
    """
    log = parse_log(decode(files[name]), name, found)
    parts = PurePosixPath(name).parts
    scaling = parts[-3] if len(parts) >= 3 else ""
    if scaling in _SCALINGS:
        parts = (*parts[:-3], *parts[-2:])
    if log.start_ms is None:
        raise DataError("the log has no run_start")
    if log.stop_ms is None:
        raise DataError("the log has no run_stop")
    if log.stop_ms <= log.start_ms:
        raise DataError("run_stop is not after run_start")
    logged_platform = str(log.values.get("submission_platform", ""))
    submitter = str(log.values.get("submission_org", ""))
    platform = logged_platform
    if len(parts) >= 3:
        platform = parts[-3]
    if len(parts) >= 5:
        submitter = parts[-5]
    system = systems.get(platform) or systems.get(logged_platform)
    if system is None:
        raise DataError(f"there is no system file for {platform!r}")
    nodes = number(system.get(_NODES))
    per_node = number(system.get("accelerators_per_node"))
    if not nodes or not per_node or nodes < 1 or per_node < 1:
        raise DataError(
            "number_of_nodes and accelerators_per_node of the system file are not both counts"
        )
    if scaling == "weak":
        nodes = _nodes_of_instance(name, files, int(nodes), number(log.values.get(_NODES)))
    benchmark = str(log.values.get("submission_benchmark") or parts[-2:][0])
    result = TrainingResult(
        benchmark=benchmark,
        nodes=int(nodes),
        accelerators_per_node=int(per_node),
        global_batch=number(log.values.get("global_batch_size")),
        seconds=(log.stop_ms - log.start_ms) / 1e3,
        samples=samples_trained(benchmark, log.progress, log.values, edition),
        throughputs=log.throughputs,
        status=log.status,
        edition=edition,
        submitter=submitter,
        accelerator=str(system.get("accelerator_model_name", "")),
    )
    energy, notes = _energy(name, files, (log.start_ms / 1e3, log.stop_ms / 1e3))
    trial = str(PurePosixPath(name).with_suffix("")).replace("/", "-")
    return result.run(trial, _number_of(name), energy, notes)


def _nodes_of_instance(
    name: str, files: dict[str, bytes], nodes: int, logged_nodes: float | None
) -> int:
    """Return the nodes of one of the instances of a weak-scaling result, which share a system.

    They are those that the log counts, else the system's divided by the number of logs.
    Raises DataError if neither gives a whole number.
    """
    if logged_nodes and 1 <= logged_nodes < nodes:
        return int(logged_nodes)
    folder = PurePosixPath(name).parent
    logs = [n for n in files if PurePosixPath(n).parent == folder and _LOG.search(n)]
    if nodes % len(logs):
        raise DataError(
            f"{counted(len(logs), 'instance')} share {counted(nodes, 'node')}; "
            "the log does not count the nodes of its instance (number_of_nodes)"
        )
    return nodes // len(logs)


def _energy(
    log: str, files: dict[str, bytes], window: tuple[float, float]
) -> tuple[Reading, tuple[Note, ...]]:
    folder = PurePosixPath(log).parent
    power = {}
    for name, data in files.items():
        match = _POWER.search(name)
        if (
            match
            and int(match[1]) == _number_of(log)
            and PurePosixPath(name).is_relative_to(folder)
        ):
            power[f"{match[2]}_{match[3]}"] = decode(data)
    if not power:
        return missing("no node power was published"), ()
    try:
        return window_energy(power, window)
    except DataError as error:
        return missing(str(error)), (Note("power_log", str(error)),)


def _number_of(log: str) -> int:
    match = _LOG.search(log)
    return int(match[1]) if match else 0


def _read_table(path: Path, found: Imported) -> None:
    """Read a table with one row for each run, as made from the logs of whole rounds."""
    for line, row in read_rows(path, _TABLE, found):
        bad = [column for column in _TABLE_COUNTS if positive(row[column]) is None]
        if bad:
            found.skip(path, f"{row[bad[0]]!r} is not a positive number", line, bad[0])
            continue
        try:
            found.runs.append(_result_of_row(row).run(f"{row['round']}-{line}"))
        except SettingError as error:
            found.skip(path, str(error), line)


def _result_of_row(row: dict[str, str]) -> TrainingResult:
    progress = {}
    for unit, columns in _PROGRESS_COLUMNS.items():
        values = [number(row.get(column)) for column in columns]
        first = next((value for value in values if value), None)
        if first:
            progress[unit] = first
    throughputs = [positive(row.get("logged_throughput"))]
    return TrainingResult(
        benchmark=row["benchmark"],
        nodes=int(float(row["nodes"])),
        accelerators_per_node=int(float(row["accelerators_per_node"])),
        global_batch=number(row.get("global_batch_size")),
        seconds=positive(row["run_seconds"]) or 0.0,
        samples=samples_trained(row["benchmark"], progress, row, row["round"]),
        throughputs=list(filter(None, throughputs)),
        status=row["status"] or "not stated",
        edition=row["round"],
        submitter=row["submitter"],
        accelerator=row["accelerator"],
    )
