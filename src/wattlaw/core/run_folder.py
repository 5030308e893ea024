"""The folders and files of runs, and how they are found.

ROOT/<sweep>/sweep.toml
ROOT/<sweep>/<trial>/attempt-<k>/setting.json, environment.json, host-<host>.json,
                                 steps-<rank>.csv, telemetry-<host>.csv, error.txt
ROOT/<sweep>/<trial>/summary.json      written last: the trial is done if and only if it is there
ROOT/<sweep>/index.parquet             one row a run, made by ``wattlaw runs compact``
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import RecordError
from wattlaw.core.files import explained, make_folder, why, write_whole
from wattlaw.core.run import Run, decode_run, encode_run

SUMMARY = "summary.json"
INDEX = "index.parquet"
SWEEP = "sweep.toml"

STEP_COLUMNS = (
    "step", "warmup", "start_s", "end_s", "samples", "loss",
    "data_s", "forward_s", "backward_s", "communication_s", "optimiser_s",
)  # fmt: skip
"""Columns of steps-<rank>.csv. Times in s; start and end on the host's monotonic clock."""


class Found(NamedTuple):
    """What a scan of folders found, in the order in which the folders sort.

    ``summaries`` of the trials that are done, folders of the ``unfinished`` ones, ``indexes``, and
    ``unreadable`` folders, each with one line that says why.
    """

    summaries: list[Path]
    unfinished: list[Path]
    indexes: list[Path]
    unreadable: list[tuple[Path, str]]


def new_attempt(trial: Path) -> Path:
    """Create and return the next attempt-<k> folder of a trial."""
    make_folder(trial)
    number = 1 + max((int(a.name[8:]) for a in attempts(trial)), default=0)
    while True:
        path = trial / f"attempt-{number}"
        with explained(path):
            try:
                path.mkdir()
                return path
            except FileExistsError:  # another runner took it between the look and the step
                number += 1


def attempts(trial: Path) -> list[Path]:
    """Return the attempt folders of a trial, oldest first."""
    found = [p for p in trial.glob("attempt-*") if p.name[8:].isdecimal()]
    return sorted(found, key=lambda p: int(p.name[8:]))


def write_run(trial: Path, run: Run) -> None:
    """Write a trial's summary; from then on it is done."""
    make_folder(trial)
    write_whole(trial / SUMMARY, encode_run(run))


def read_run(summary: Path) -> Run:
    """Read one summary.json; DamagedRunError, NewerFormatError or RecordError name it."""
    with explained(summary, "read"):
        data = summary.read_bytes()
    return decode_run(data, str(summary))


def scan(root: Path) -> Found:
    """Find the trials under ``root``: the folder of all runs, of one sweep, or of one trial.

    Raises RecordError if there is no such folder or it cannot be listed.
    """
    walked = walk(root)
    summaries = [Path(trial, SUMMARY) for trial in walked.stamps]
    indexes = [Path(folder, INDEX) for folder in walked.indexed]
    unreadable = [(Path(folder), reason) for folder, reason in walked.unreadable]
    return Found(summaries, [Path(trial) for trial in walked.unfinished], indexes, unreadable)


class Walked(NamedTuple):
    """What ``scan`` finds, in plain strings: for 100,000 trials that takes a third of the time.

    ``stamps`` has the folder of each trial that is done with its summary's time of change (ns) and
    length (bytes); ``indexed`` has the folders that hold an index.
    """

    stamps: dict[str, tuple[int, int]]
    unfinished: list[str]
    indexed: list[str]
    unreadable: list[tuple[str, str]]


_DEEPEST = 3
"""Trials are searched this many folders below, as runs/sweep/trial below a project's folder."""


def walk(root: Path) -> Walked:
    """Find the trials under ``root``, as ``scan`` does."""
    found = Walked({}, [], [], [])
    with explained(root, "read"):
        if not root.exists():
            raise RecordError(f"there is no folder {root}")
        trial = root.parent if root.is_file() else root
        if root.is_file() and root.name != SUMMARY:
            raise RecordError(f"{root} is a file; a folder of runs is needed")
        if not _stamped(str(trial), found):
            _walk(str(root), _DEEPEST, found)
    return found


def _stamped(trial: str, found: Walked) -> bool:
    # asking for the one file is much faster than listing the trial's folder
    try:
        stat = os.stat(f"{trial}/{SUMMARY}")
    except OSError:
        return False
    found.stamps[trial] = (stat.st_mtime_ns, stat.st_size)
    return True


def _walk(path: str, depth: int, found: Walked) -> None:
    below: list[str] = []
    begun = False
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("attempt-"):
                begun = True
            elif name == INDEX and depth:
                found.indexed.append(path)
            elif name[0] != "." and entry.is_dir():
                below.append(entry.path)
    if begun:
        found.unfinished.append(path)
    for folder in sorted(below) if depth and not begun else ():
        if _stamped(folder, found):
            continue
        try:
            _walk(folder, depth - 1, found)
        except OSError as error:
            found.unreadable.append((folder, why(error, Path(folder), "read")))
