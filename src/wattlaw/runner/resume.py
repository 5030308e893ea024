"""Finds the checkpoint that a trial resumes from, and the attempts of one training."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from wattlaw.core.options import training_options
from wattlaw.core.run_folder import attempts
from wattlaw.core.setting import Setting
from wattlaw.runner.rank_spec import CHECKPOINT, read_rank_spec


def latest_checkpoint(trial: Path, setting: Setting) -> Path | None:
    """Return the checkpoint from which the next attempt resumes; None to start from scratch."""
    if setting.command or not training_options(setting)["checkpoint_every"]:
        return None
    for attempt in reversed(attempts(trial)):
        if found := _checkpoints(attempt):
            return found[-1]
    return None


def clear_checkpoints(trial: Path) -> None:
    """Delete the checkpoints of a finished trial, incomplete ones too."""
    for attempt in attempts(trial):
        for folder in [*_checkpoints(attempt), *attempt.glob(f".{CHECKPOINT}*")]:
            shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(attempt: Path) -> list[Path]:
    by_step = {}
    for path in attempt.glob(f"{CHECKPOINT}*"):
        number = path.name.removeprefix(CHECKPOINT)
        if number.isdecimal():
            by_step[int(number)] = path
    return [by_step[step] for step in sorted(by_step)]


def checkpoint_of(attempt: Path) -> tuple[str, int] | None:
    """Return the folder name of the attempt that an attempt resumed from, and its first step.

    None if it started from scratch. Raises DamagedRunError or RecordError.
    """
    spec = attempt / "spec.json"
    resume = read_rank_spec(spec).resume if spec.exists() else ""
    if not resume:
        return None
    checkpoint = Path(resume)
    return checkpoint.parent.name, int(checkpoint.name.removeprefix(CHECKPOINT))


def went_through(attempt: Path, known: Sequence[Path]) -> list[Path]:
    """Return the attempts of one training, from the one that started it to ``attempt``.

    Attempts in between that left no checkpoint are included: the training has cost them too.
    """
    first, names = attempt, {a.name: a for a in known}
    while (origin := checkpoint_of(first)) and origin[0] in names:
        first = names[origin[0]]
    return list(known[known.index(first) : known.index(attempt) + 1])
