"""What the report reads from the runs' folder beside the summaries: environments and telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.environment import Environment
from wattlaw.core.errors import DamagedRunError
from wattlaw.core.folder import attempts
from wattlaw.core.run import Run
from wattlaw.measuring.files.host_files import Host, read_host

MOST_ENVIRONMENTS = 24


def attempt_of(folder: Path | None, run: Run) -> Path | None:
    """Return the folder of a run's own attempt; None where it is not under ``folder``."""
    if folder is None or run.source != "wattlaw":
        return None
    for trial in (folder / run.sweep / run.trial, folder / run.trial, folder):
        if trial.name == run.trial and trial.is_dir():
            found = [p for p in attempts(trial) if p.name == f"attempt-{run.attempt}"] or attempts(
                trial
            )
            return found[-1] if found else None
    return None


def environments(folder: Path | None, runs: Sequence[Run]) -> list[Environment]:
    """Return the distinct environments of runs spread evenly over the sweep; unreadable ones are left out."""
    found: dict[bytes, Environment] = {}
    for attempt in _some_attempts(folder, runs):
        env = _read(attempt / "environment.json")
        if env:
            found.setdefault(
                msgspec.json.encode(msgspec.structs.replace(env, clock=(0.0, ""))), env
            )
    return list(found.values())


def hosts(folder: Path | None, runs: Sequence[Run]) -> list[Host]:
    """Return the distinct hosts and their meters, of runs spread as above; unreadable ones are left out."""
    found: dict[bytes, Host] = {}
    for attempt in _some_attempts(folder, runs):
        for path in sorted(attempt.glob("host-*.json")):
            try:
                host = read_host(path)
            except (OSError, DamagedRunError):
                continue
            found.setdefault(msgspec.json.encode((host.host, host.probes)), host)
    return list(found.values())


def _some_attempts(folder: Path | None, runs: Sequence[Run]) -> list[Path]:
    step = max(1, len(runs) // MOST_ENVIRONMENTS)
    return [a for run in runs[::step] if (a := attempt_of(folder, run))]


def _read(path: Path) -> Environment | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Environment)
    except (OSError, msgspec.MsgspecError):
        return None
