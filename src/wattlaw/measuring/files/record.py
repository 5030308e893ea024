"""Run folders for what is measured outside a sweep: a code block, or any command."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from wattlaw import __version__
from wattlaw.core.errors import RecordError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.folder import new_attempt, write_run
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, to_json
from wattlaw.core.sweepfile import Trial
from wattlaw.measuring.reduce.summary import Summary

_MEMORY = "/dev/shm"


class Record(msgspec.Struct, frozen=True):
    """A trial's folder, its one attempt, the repeat number that its name holds, and what else is said of it."""

    trial: Path
    attempt: Path
    setting: Setting
    repeat: int
    labels: dict[str, str] = {}


def new_record(root: Path, setting: Setting, labels: dict[str, str] | None = None) -> Record:
    """Create the next repeat of a setting under ``root``, with what was asked and where it runs.

    Raises RecordError where the folder cannot be written.
    """
    from wattlaw.core.environment import (
        capture,
    )  # it takes time that a window without a record need not spend

    make_folder(root)
    repeat = 0
    while True:
        trial = root / Trial(setting, repeat).id
        with explained(trial):
            try:
                trial.mkdir()
                break
            except FileExistsError:
                repeat += 1
    attempt = new_attempt(trial)
    write_whole(attempt / "setting.json", to_json(setting))
    write_whole(attempt / "environment.json", msgspec.json.encode(capture()))
    return Record(trial, attempt, setting, repeat, labels or {})


def finish(record: Record, summary: Summary, error: str = "") -> Run:
    """Write and return the run: done, or failed with the text of its error.

    Where the disk refuses it the run is returned with the warning record_lost: what was measured has come to
    its end, and whoever waits for its exit code or its next line must not pay for a full disk.
    """
    run = run_of(record, summary, error)
    try:
        if error:
            write_whole(record.attempt / "error.txt", error.encode())
        write_run(record.trial, run)
    except RecordError as refused:
        print(f"wattlaw: {refused}", file=sys.stderr)
        return msgspec.structs.replace(
            run, warnings=(*run.warnings, Note("record_lost", str(refused)))
        )
    return run


def run_of(record: Record, summary: Summary, error: str = "") -> Run:
    """Return a summary as a run."""
    return Run(
        setting=record.setting,
        trial=record.trial.name,
        sweep=record.trial.absolute().parent.name,
        wattlaw=__version__,
        repeat=record.repeat,
        state="failed" if error else "done",
        started=summary.started,
        machine=summary.machine,
        labels=record.labels,
        quantities=summary.quantities,
        warnings=summary.warnings,
        error=error,
    )


def passing_place() -> str:
    """Return where a record that is not kept may lie; in memory where no disk takes a file."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return _MEMORY
