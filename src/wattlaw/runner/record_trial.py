"""What a trial's record says of its training as a whole: metrics, target, earlier attempts."""

from __future__ import annotations

from pathlib import Path

from wattlaw.core.folder import attempts
from wattlaw.core.reading import Note, Reading
from wattlaw.core.setting import Setting
from wattlaw.measuring.reduce.training import (
    metric_quantities,
    resumed_quantities,
    target_quantities,
)
from wattlaw.runner.resume import checkpoint_of, went_through


def learning(attempt: Path, setting: Setting) -> tuple[dict[str, Reading], list[Note]]:
    """Return quantities and warnings of an attempt's training; nothing where it was neither evaluated nor resumed.

    Raises DamagedRunError or RecordError naming the file.
    """
    found, notes = metric_quantities(attempt), list[Note]()
    chain = went_through(attempt, attempts(attempt.parent))
    if setting.stop.target:
        of_target, told = target_quantities(chain, setting.stop.target)
        found, notes = {**found, **of_target}, notes + told
    if origin := checkpoint_of(attempt):
        of_all, told = resumed_quantities(chain, origin[1])
        found, notes = {**found, **of_all}, notes + told
    return found, notes
