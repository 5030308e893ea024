"""MLPerf Training results: the published folder or archive of logs and system files, or a table of runs.

Time runs from run_start to run_stop on a log's time stamps, samples are what was trained until then, and the rate is
one over the other. The throughput that submitters log has no common unit, so it is only compared.
"""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from wattlaw.core.errors import DataError, SettingError
from wattlaw.core.reading import Note, Reading, missing
from wattlaw.core.run import Run
from wattlaw.importers.imported import Imported, decoded, files_in, number
from wattlaw.importers.mlperf_log import Log, parse
from wattlaw.importers.mlperf_power import window_energy
from wattlaw.importers.mlperf_run import made_run, quantities, throughput_note
from wattlaw.importers.mlperf_samples import samples_trained
from wattlaw.importers.mlperf_table import read_runs

NAMES = {"mlperf": "read"}

_LOG = re.compile(r"result_(\d+)\.txt$")
_POWER = re.compile(r"power/result_(\d+)/(node|sw)_(\d+)\.txt$")
_ROUND = re.compile(r"v\d+\.\d+")
_LARGEST = 1 << 30
_LONGEST_FAULT = 120
_BROKEN = (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)


def read(path: Path, round: str = "") -> Imported:
    """Read a results folder, an archive (tar, zip), one log, or a CSV of runs."""
    if path.suffix == ".csv":
        return read_runs(path)
    found = Imported()
    files = dict(_files(path, found))
    named = _ROUND.search(path.name) or _ROUND.search(str(path.resolve()))
    edition = round or (named[0] if named else "")
    systems = _systems(files, found)
    for name in sorted(n for n in files if _LOG.search(n) and "/power/" not in n):
        _read_log(name, files, systems, edition, found)
    return found


def _files(path: Path, found: Imported) -> Iterator[tuple[str, bytes]]:
    wanted = (".txt", ".json")
    if path.is_dir():
        for ending in wanted:
            for file in files_in(path, f"*{ending}", found):
                yield file.relative_to(path).as_posix(), file.read_bytes()
    elif path.suffix == ".zip":
        yield from _zipped(path, wanted, found)
    elif ".tar" in path.suffixes or path.suffix in (".tgz", ".txz"):
        yield from _tarred(path, wanted, found)
    else:
        yield path.name, path.read_bytes()


def _tarred(path: Path, wanted: tuple[str, ...], found: Imported) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(wanted) and member.size < _LARGEST:
                    file = archive.extractfile(member)
                    yield member.name.removeprefix("./"), file.read() if file else b""
    except (tarfile.TarError, OverflowError, *_BROKEN) as error:
        found.skip(str(path), f"the archive is damaged: {_first_line(error)}")


def _zipped(path: Path, wanted: tuple[str, ...], found: Imported) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(wanted) and info.file_size < _LARGEST:
                    yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *_BROKEN) as error:
        found.skip(str(path), f"the archive is damaged: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:_LONGEST_FAULT] or type(error).__name__


def _systems(files: dict[str, bytes], found: Imported) -> dict[str, dict[str, Any]]:
    systems = {}
    for name in sorted(n for n in files if n.endswith(".json") and "systems/" in n):
        try:
            system = json.loads(decoded(files[name]))
        except (ValueError, RecursionError) as error:
            found.skip(name, f"no JSON: {error}", getattr(error, "lineno", 0))
            continue
        if isinstance(system, dict):
            systems[PurePosixPath(name).stem] = system
            systems.setdefault(str(system.get("system_name")), system)
    return systems


def _read_log(
    name: str,
    files: dict[str, bytes],
    systems: dict[str, dict[str, Any]],
    edition: str,
    found: Imported,
) -> None:
    log = parse(decoded(files[name]), name, found)
    parts = PurePosixPath(name).parts
    platform = parts[-3] if len(parts) >= 3 else str(log.values.get("submission_platform", ""))
    system = systems.get(platform) or systems.get(str(log.values.get("submission_platform", "")))
    fault = _fault(log, system, platform)
    if fault:
        found.skip(name, fault)
        return
    try:
        run = _run(name, log, system or {}, edition, files)
    except SettingError as error:
        found.skip(name, str(error))
        return
    found.runs.append(run)


def _fault(log: Log, system: dict[str, Any] | None, platform: str) -> str:
    if log.start_ms is None or log.stop_ms is None:
        return f"the log has no run_{'start' if log.start_ms is None else 'stop'}"
    if log.stop_ms <= log.start_ms:
        return "run_stop is not after run_start"
    if system is None:
        return f"there is no system file for {platform!r}"
    return ""


def _run(name: str, log: Log, system: dict[str, Any], edition: str, files: dict[str, bytes]) -> Run:
    nodes, each = number(system.get("number_of_nodes")), number(system.get("accelerators_per_node"))
    if not nodes or not each or nodes < 1 or each < 1:
        raise SettingError(
            "number_of_nodes or accelerators_per_node is no count in the system file"
        )
    window = ((log.start_ms or 0.0) / 1e3, (log.stop_ms or 0.0) / 1e3)
    benchmark = str(log.values.get("submission_benchmark") or PurePosixPath(name).parts[-2:][0])
    trained = samples_trained(benchmark, log.progress, log.values, edition)
    readings, notes = quantities(
        window[1] - window[0], trained, number(log.values.get("global_batch_size"))
    )
    energy, energy_notes = _energy(name, files, window)
    readings["node_energy_j"] = energy
    notes += energy_notes + throughput_note(readings, log.throughputs, int(nodes * each))
    parts = PurePosixPath(name).parts
    repeat = int((_LOG.search(name) or ["", "0"])[1])
    return made_run(
        benchmark, int(nodes), int(each), number(log.values.get("global_batch_size")), readings,
        trial=str(PurePosixPath(name).with_suffix("")).replace("/", "-"), repeat=repeat,
        submitter=parts[-5] if len(parts) >= 5 else str(log.values.get("submission_org", "")), edition=edition,
        accelerator=str(system.get("accelerator_model_name", "")), notes=tuple(notes),
        state="done" if log.status in ("", "success") else "failed", status=log.status,
    )  # fmt: skip


def _energy(
    name: str, files: dict[str, bytes], window: tuple[float, float]
) -> tuple[Reading, list[Note]]:
    folder = PurePosixPath(name).parent
    number_of_run = (_LOG.search(name) or ["", ""])[1]
    logs = {
        f"{m[2]}_{m[3]}": decoded(data)
        for file, data in files.items()
        if (m := _POWER.search(file))
        and m[1] == number_of_run
        and PurePosixPath(file).parts[: len(folder.parts)] == folder.parts
    }
    if not logs:
        return missing("no node power was published"), []
    try:
        return window_energy(logs, window)
    except DataError as error:
        return missing(str(error)), [Note("power_log", str(error))]
