"""Finds the folder of a run's attempt, and reads the environments recorded in such folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.run import Run
from wattlaw.core.run_environment import Environment
from wattlaw.core.run_folder import attempts

MAX_READ = 24
"""Attempts whose environment or hosts are read; trials of a sweep share most of both."""


def attempt_of(folder: Path | None, run: Run) -> Path | None:
    """Return the folder of a run's own attempt; None if it is not under ``folder``."""
    if folder is None or run.source != "wattlaw":
        return None
    for trial in (folder / run.sweep / run.trial, folder / run.trial, folder):
        if trial.name != run.trial or not trial.is_dir():
            continue
        found = attempts(trial)
        for attempt in found:
            if attempt.name == f"attempt-{run.attempt}":
                return attempt
        return found[-1] if found else None
    return None


def some_attempts(folder: Path | None, runs: Sequence[Run]) -> Iterator[Path]:
    """Yield the attempts of about 24 runs, spread evenly over all."""
    step = max(1, len(runs) // MAX_READ)
    for run in runs[::step]:
        attempt = attempt_of(folder, run)
        if attempt:
            yield attempt


def environments(folder: Path | None, runs: Sequence[Run]) -> list[Environment]:
    """Return the distinct environments of some runs; unreadable ones are left out."""
    found: dict[bytes, Environment] = {}
    for attempt in some_attempts(folder, runs):
        environment = _read(attempt / "environment.json")
        if environment:
            same_clock = msgspec.structs.replace(environment, clock=(0.0, ""))
            found.setdefault(msgspec.json.encode(same_clock), environment)
    return list(found.values())


def _read(path: Path) -> Environment | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Environment)
    except (OSError, msgspec.MsgspecError):
        return None
