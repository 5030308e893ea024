"""A sweep on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.factory import make_run

from wattlaw.core.run_folder import write_run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Return the folder of a sweep of six runs: 1 and 2 devices, three repeats."""
    folder = tmp_path / "runs" / "demo"
    for devices in (1, 2):
        for repeat in range(3):
            run = make_run(devices, repeat, 0.1 / devices * (1 + 0.01 * repeat))
            write_run(folder / run.trial, run)
    return folder
