"""Thousands of synthetic runs of thirty quantities, half of them missing as without a GPU."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

from wattlaw.core.quantities import all_quantities
from wattlaw.core.reading import Note, Reading, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.run_folder import write_run
from wattlaw.core.sweepfile import Trial

NAMES = [n for n in all_quantities() if "per_sample" not in n][:30]


def make(sweep: Path, planned: Sequence[Trial]) -> None:
    """Write the folders of finished trials, as the runner does."""
    draw = random.Random(0)
    # waiting for the disk after every file would take minutes
    flush, os.fsync = os.fsync, lambda number: None
    try:
        for trial in planned:
            (sweep / trial.id / "attempt-1").mkdir(parents=True)
            write_run(sweep / trial.id, run_of(trial, sweep.name, draw))
    finally:
        os.fsync = flush


def run_of(trial: Trial, sweep: str, draw: random.Random) -> Run:
    """Return a run of a trial with random values."""
    none = missing("no NVIDIA driver on this machine; see wattlaw doctor")
    quantities = {}
    for number, name in enumerate(NAMES):
        if number % 2:
            quantities[name] = none
        else:
            value, low, high = draw.random(), draw.random(), draw.random()
            quantities[name] = Reading(value, "measured", "steps of all ranks", low, high, 100)
    return Run(
        setting=trial.setting,
        trial=trial.id,
        sweep=sweep,
        repeat=trial.repeat,
        started="2026-11-23T05:06:41.123Z",
        machine=Machine("cpu", "Xeon", 1, 2, "Xeon"),
        quantities=quantities | {"trial_s": Reading(10 + draw.random())},
        warnings=(Note("oversubscribed", "2 processes on 1 core"),),
    )
