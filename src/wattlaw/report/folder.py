"""What the report reads from the runs' folder beside the summaries: environments and telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.environment import Environment
from wattlaw.core.folder import attempts
from wattlaw.core.run import Run

MOST_ENVIRONMENTS = 24


def attempt_of(folder: Path | None, run: Run) -> Path | None:
    """Return the folder of a run's own attempt; None where it is not under ``folder``."""
    if folder is None or run.source != "wattlaw":
        return None
    for trial in (folder / run.sweep / run.trial, folder / run.trial, folder):
        if trial.name == run.trial and trial.is_dir():
            found = [p for p in attempts(trial) if p.name == f"attempt-{run.attempt}"] or attempts(trial)
            return found[-1] if found else None
    return None


def environments(folder: Path | None, runs: Sequence[Run]) -> list[Environment]:
    """Return the distinct environments of runs spread evenly over the sweep; unreadable ones are left out."""
    step = max(1, len(runs) // MOST_ENVIRONMENTS)
    found: dict[bytes, Environment] = {}
    for run in runs[::step]:
        attempt = attempt_of(folder, run)
        env = _read(attempt / "environment.json") if attempt else None
        if env:
            found.setdefault(msgspec.json.encode(msgspec.structs.replace(env, clock=(0.0, ""))), env)
    return list(found.values())


def _read(path: Path) -> Environment | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Environment)
    except (OSError, msgspec.MsgspecError):
        return None
