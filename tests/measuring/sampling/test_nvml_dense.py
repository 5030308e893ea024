"""Dense readings of a GPU through the fake driver."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

from tests.fake_nvml import FakeNvml, build

from wattlaw.measuring.files.host_files import TelemetryColumn, host_name, read_host, read_telemetry


def measured(fake: FakeNvml, folder: Path) -> tuple[TelemetryColumn, TelemetryColumn, Path]:
    """Measure 3 s with a load that jumps every 0.4 s; return power, counter and host file."""
    words = [
        sys.executable,
        "-m",
        "wattlaw",
        "measure",
        "-q",
        "-o",
        str(folder),
        "--",
        "sleep",
        "3",
    ]
    running = subprocess.Popen(words, env=fake.environment)
    load = 0
    while running.poll() is None:
        load = 1 - load
        fake.set(0, load=load)
        time.sleep(0.4)
    assert running.returncode == 0
    (attempt,) = folder.glob("*/attempt-1")
    series = read_telemetry(attempt / f"telemetry-{host_name()}.csv")["gpu:0"]
    return series.column("power_w"), series.column("energy_j"), attempt / f"host-{host_name()}.json"


def changes(column: TelemetryColumn) -> list[float]:
    """Return the time between the two readings around each change, s."""
    rows = itertools.pairwise(zip(column.times, column.values, strict=True))
    return [after[0] - before[0] for before, after in rows if abs(after[1] - before[1]) > 5]


def test_the_counter_is_pinned_and_its_update_period_found(tmp_path: Path) -> None:
    fake = FakeNvml(build(tmp_path / "lib"), tmp_path / "state", count=1)
    fake.set(0, update_s=0.05)
    _, energy, host = measured(fake, tmp_path / "runs")
    assert sum(gap < 0.015 for gap in changes(energy)) >= 3
    (gpu,) = (d for d in read_host(host).devices if d.boundary == "gpu")
    assert 0.04 < (gpu.update_s or 0) < 0.06


def test_without_a_counter_the_readings_around_each_jump_of_power_are_kept(tmp_path: Path) -> None:
    fake = FakeNvml(build(tmp_path / "lib"), tmp_path / "state", count=1)
    fake.set(0, has_counter=0)
    power, energy, _ = measured(fake, tmp_path / "runs")
    assert len(energy) == 0
    assert sum(gap < 0.05 for gap in changes(power)) >= 3
    assert len(power) < 3 * 10 * 3, "where it stays, the regular readings are enough"
