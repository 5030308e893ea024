"""A device of known power for the meter "replay", and a fake driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fake_nvml import FakeNvml, build


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the trace of a device of constant power."""

    def write(power_w: float, seconds: float, update_s: float = 0.01) -> Path:
        path = tmp_path / "trace.csv"
        rows = ["time_s,device,power_w,energy_j"]
        for i in range(round(seconds / update_s) + 1):
            rows.append(f"{i * update_s:.6f},gpu:0,{power_w},{power_w * i * update_s}")
        path.write_text("\n".join(rows) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the fake driver once."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake(library: Path, tmp_path: Path) -> FakeNvml:
    """Two fake GPUs, idle."""
    return FakeNvml(library, tmp_path / "state")
