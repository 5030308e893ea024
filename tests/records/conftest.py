"""Runs to write into folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlaw.core.folder import write_run
from wattlaw.core.reading import Note, Reading, estimated, missing, spread
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting, Stop
from wattlaw.core.sweepfile import Trial


def make_run(devices: int = 1, repeat: int = 0, step_s: float = 0.1, **changes: object) -> Run:
    """A run as the runner writes it; ``changes`` replace fields of the run."""
    setting = changes.pop("setting", None) or Setting(
        "schnet", preset="tiny", devices_per_node=devices, batch_per_device=32, stop=Stop(steps=30)
    )
    fields = {
        "sweep": "demo",
        "wattlaw": "0.1.0",
        "started": "2026-11-23T05:06:41.123Z",
        "machine": Machine("cpu", "Xeon", 1, 2, "Xeon"),
        "quantities": {
            "step_time_s": spread(
                [step_s * f for f in (0.97, 0.99, 1.0, 1.01, 1.04)], "steps of all ranks"
            ),
            "samples_per_s": Reading(32 * devices / step_s, "measured", "", 300.0, 330.0, 5),
            "samples": Reading(960.0),
            "elapsed_s": Reading(30 * step_s),
            "cpu_energy_j": estimated(65.0, "linear CPU power model"),
            "gpu_energy_j": missing("no GPU on this machine"),
        },
        "warnings": (Note("oversubscribed", "2 processes on 1 core"),) if devices > 1 else (),
        **changes,
    }
    return Run(setting=setting, trial=Trial(setting, repeat).id, repeat=repeat, **fields)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """The folder of a sweep of six runs: devices 1 and 2, three repeats."""
    folder = tmp_path / "runs" / "demo"
    for devices in (1, 2):
        for repeat in range(3):
            run = make_run(devices, repeat, 0.1 / devices * (1 + 0.01 * repeat))
            write_run(folder / run.trial, run)
    return folder
