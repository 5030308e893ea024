"""A device whose truth is known, for the meter "replay", and a fake driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fake_nvml import FakeNvml, build


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[float, float], Path]:
    """Write a device of constant power, renewed every 10 ms, and return its file: trace(power_w, seconds)."""

    def write(power_w: float, seconds: float) -> Path:
        path = tmp_path / "trace.csv"
        rows = [
            f"{i / 100},gpu:0,{power_w},{power_w * i / 100}" for i in range(int(seconds * 100) + 1)
        ]
        path.write_text("\n".join(["time_s,device,power_w,energy_j", *rows]) + "\n")
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
