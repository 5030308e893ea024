"""Where a trial goes on that was stopped: the checkpoints of its earlier attempts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from wattlaw.core.folder import attempts
from wattlaw.core.options import training_options
from wattlaw.core.setting import Setting
from wattlaw.runner.spec import CHECKPOINT, read_spec


def latest_checkpoint(trial: Path, setting: Setting) -> Path | None:
    """Return the checkpoint from which a trial's next attempt goes on; None where it begins anew."""
    if setting.command or not training_options(setting)["checkpoint_every"]:
        return None
    for attempt in reversed(attempts(trial)):
        if found := _checkpoints(attempt):
            return found[-1]
    return None


def clear_checkpoints(trial: Path) -> None:
    """Delete the checkpoints of a trial that is done; half-written ones too."""
    for attempt in attempts(trial):
        for place in [*_checkpoints(attempt), *attempt.glob(f".{CHECKPOINT}*")]:
            shutil.rmtree(place, ignore_errors=True)


def _checkpoints(attempt: Path) -> list[Path]:
    found = [
        p for p in attempt.glob(f"{CHECKPOINT}*") if p.name.removeprefix(CHECKPOINT).isdecimal()
    ]
    return sorted(found, key=lambda p: int(p.name.removeprefix(CHECKPOINT)))


def checkpoint_of(attempt: Path) -> tuple[str, int] | None:
    """Return the attempt that an attempt goes on from, by its folder's name, and its first step; None if it is anew."""
    spec = attempt / "spec.json"
    resume = read_spec(spec).resume if spec.exists() else ""
    return (
        (Path(resume).parent.name, int(Path(resume).name.removeprefix(CHECKPOINT)))
        if resume
        else None
    )


def went_through(attempt: Path, known: Sequence[Path]) -> list[Path]:
    """Return the attempts that a training went through: from the one that began it to ``attempt``.

    Attempts in between that left no checkpoint belong to it: they were its cost, too.
    """
    first, names = attempt, {a.name: a for a in known}
    while (origin := checkpoint_of(first)) and origin[0] in names:
        first = names[origin[0]]
    return list(known[known.index(first) : known.index(attempt) + 1])
