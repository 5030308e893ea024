"""A disk that fills up: the command continues, written data stay readable, losses are named."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wattlaw.devices.meter import TELEMETRY_COLUMNS
from wattlaw.measuring.files.host_files import read_telemetry

FILLS = """
import os, sys, time
time.sleep(1.3)
with open(sys.argv[1] + "/fill", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(512))
    except OSError:
        pass
time.sleep(1.5)
if sys.argv[2] == "frees":
    os.truncate(sys.argv[1] + "/fill", 0)
    time.sleep(1.3)
print("trained")
sys.exit(3)
"""

BLOCK = """
import sys, time, wattlaw
with wattlaw.measure(sys.argv[1] + "/run", name="block", hz=50) as m:
    for _ in range(2):
        time.sleep(1.2)
        m.step(samples=1)
        open(sys.argv[1] + "/fill", "ab", buffering=0).write(bytes(8192))
    with open(sys.argv[1] + "/fill", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    for i in range(50):
        m.step(samples=1)
    time.sleep(1.2)
print("saved", [n.name for n in m.result.warnings])
"""


def on_small_disk(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command with ``folder`` as a disk of 160 KiB, and copy the files left on it."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    ):
        pytest.skip("needs a name space of its own for mounts")
    script = 'mount -t tmpfs -o size=160k tmpfs "$1" && shift && "$@"; code=$?; cp -r "$0"/run "$0"/../kept; exit $code'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, str(folder), str(folder), *words],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    if "mount:" in done.stderr:
        pytest.skip("needs a name space of its own for mounts")
    return done


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    made.mkdir()
    return made


def measured(disk: Path, what: str, trace: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FILLS, str(disk), what]
    measure = [
        sys.executable,
        "-m",
        "wattlaw",
        "measure",
        "--hz",
        "50",
        "-o",
        str(disk / "run"),
        "--",
        *command,
    ]
    return on_small_disk(disk, ["env", f"WATTLAW_REPLAY={trace}", *measure])


def test_a_disk_that_fills_for_a_while_loses_no_row_and_the_summary_names_it(
    disk: Path, trace
) -> None:
    done = measured(disk, "frees", trace(200, 60))
    assert (done.returncode, done.stdout) == (3, "trained\n")
    (path,) = disk.parent.glob("kept/*/summary.json")
    summary = json.loads(path.read_text())
    assert "sampling_trouble" in {w["name"] for w in summary["warnings"]}
    (telemetry,) = disk.parent.glob("kept/*/attempt-1/telemetry-*.csv")
    times = read_telemetry(telemetry)["gpu:0"].column("power_w").times
    assert times[-1] - times[0] > 3.5
    assert max(b - a for a, b in itertools.pairwise(times)) < 1


def test_rows_that_were_never_written_are_counted_with_their_times(tmp_path: Path, trace) -> None:
    words = [
        sys.executable,
        "-m",
        "wattlaw",
        "measure",
        "--hz",
        "100",
        "-o",
        str(tmp_path / "run"),
        "--",
    ]
    command = ["sh", "-c", "sleep 2.5; echo trained; exit 3"]
    # no file may exceed 8 KiB, and a second of telemetry does
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; "$@"', "bash", *words, *command],
        capture_output=True, text=True, timeout=60, env={**os.environ, "WATTLAW_REPLAY": str(trace(200, 60))},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "trained\n")
    (path,) = tmp_path.glob("run/*/summary.json")
    found = [
        w["message"]
        for w in json.loads(path.read_text())["warnings"]
        if w["name"] == "sampling_trouble"
    ]
    assert any("would exceed the largest file allowed here" in text for text in found)
    (lost,) = [
        re.search(r"(\d+) rows, read (\S+) s to (\S+) s after the start, were never written", t)
        for t in found
    ]
    assert lost
    count, first, last = int(lost[1]), float(lost[2]), float(lost[3])
    assert count > 50
    assert 0 <= first < 2.4 < last
    (telemetry,) = tmp_path.glob("run/*/attempt-1/telemetry-*.csv")
    begin = json.loads(next(tmp_path.glob("run/*/attempt-1/host-*.json")).read_text())[
        "clock_start"
    ][0]
    rows = read_telemetry(telemetry)["gpu:0"].column("power_w").times
    assert rows[-1] - begin <= first + 0.11
    summary = json.loads(path.read_text())
    assert summary["quantities"]["gpu_energy_j"]["value"] is None


def test_a_disk_that_stays_full_stops_no_command_and_loses_no_written_row(
    disk: Path, trace
) -> None:
    done = measured(disk, "stays", trace(200, 60))
    assert (done.returncode, done.stdout) == (3, "trained\n")
    assert "warning: record_lost" in done.stderr
    assert "no space left" in done.stderr
    (telemetry,) = disk.parent.glob("kept/*/attempt-1/telemetry-*.csv")
    assert telemetry.read_text().startswith(",".join(TELEMETRY_COLUMNS))
    assert len(read_telemetry(telemetry)["gpu:0"].column("power_w")) > 10


def test_a_full_disk_at_the_end_of_a_block_does_not_end_the_program(disk: Path) -> None:
    done = on_small_disk(disk, [sys.executable, "-c", BLOCK, str(disk)])
    assert done.returncode == 0, done.stderr
    assert "record_lost" in done.stdout
    assert "no space left" in done.stderr
