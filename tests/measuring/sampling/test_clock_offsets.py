"""Clock offsets of several hosts, and telemetry joined with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from wattlaw.core.helper_process import helper_environment
from wattlaw.measuring.files.host_files import Host, boot_id, read_host
from wattlaw.measuring.reduce.summary import summarise
from wattlaw.measuring.sampling.clock_offsets import (
    CLOCK_FILE,
    ClockAddress,
    clock_served,
    compare_clock,
)
from wattlaw.measuring.sampling.sampler_process import SamplerSpec

SHIFT_S = 1000


def sampled(
    attempt: Path, name: str, trace: Path, before: list[str], seconds: float
) -> tuple[Host, float]:
    """Run the sampler of a named host for a while; return its files and its start time."""
    spec = SamplerSpec(
        folder=str(attempt), root_pid=os.getpid(), parent=0, hz=50, replay=str(trace)
    )
    path = attempt / f"spec-{name}.json"
    path.write_bytes(msgspec.json.encode(spec))
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "wattlaw.measuring.sampling.sampler_process", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**helper_environment(), "SLURMD_NODENAME": name},
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    began = time.monotonic()
    time.sleep(seconds)
    process.communicate(b"stop\n", timeout=30)
    return read_host(attempt / f"host-{name}.json"), began


def test_a_shifted_clock_is_measured_within_its_uncertainty(tmp_path: Path) -> None:
    with clock_served(tmp_path, lambda: time.monotonic() + 7.25):
        assert compare_clock(tmp_path) is None  # a host is not set against itself
        served = msgspec.json.decode((tmp_path / CLOCK_FILE).read_bytes(), type=ClockAddress)
        (tmp_path / CLOCK_FILE).write_bytes(
            msgspec.json.encode(msgspec.structs.replace(served, host="first"))
        )
        found = compare_clock(tmp_path)
    assert found is not None
    assert found.host == "first"
    assert abs(found.offset_s - 7.25) <= found.uncertainty_s < 0.05
    assert found.utc_offset_s + 7.25 == pytest.approx(time.time() - time.monotonic(), abs=0.05)
    assert compare_clock(tmp_path) is None  # nobody serves any more


def test_an_unrelated_server_at_the_same_address_is_ignored(tmp_path: Path) -> None:
    with clock_served(tmp_path):
        served = msgspec.json.decode((tmp_path / CLOCK_FILE).read_bytes(), type=ClockAddress)
        other = msgspec.structs.replace(served, host="first", secret="of another job")
        (tmp_path / CLOCK_FILE).write_bytes(msgspec.json.encode(other))
        assert compare_clock(tmp_path) is None


def test_two_samplers_with_different_clocks_measure_the_energy_of_the_same_window(
    tmp_path: Path, trace
) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and util-linux: a clock is shifted by a time namespace")
    shifted = ["unshare", "--time", "--monotonic", str(SHIFT_S), "--boottime", str(SHIFT_S)]
    played = trace(100, 60)
    with clock_served(tmp_path):
        host, start = sampled(tmp_path, "shifted", played, shifted, 2)
    assert len(host.against) == 2
    assert abs(host.against[0].offset_s + SHIFT_S) <= host.against[0].uncertainty_s < 0.05
    found = summarise(tmp_path, between=(start, start + 1.5))
    assert found.quantities["gpu_energy_j"].value == pytest.approx(150, rel=0.02)


def test_a_host_whose_utc_is_an_hour_off_is_joined_by_its_monotonic_clock(
    tmp_path: Path, trace
) -> None:
    with clock_served(tmp_path):
        served = msgspec.json.decode((tmp_path / CLOCK_FILE).read_bytes(), type=ClockAddress)
        (tmp_path / CLOCK_FILE).write_bytes(
            msgspec.json.encode(msgspec.structs.replace(served, host="first"))
        )
        host, start = sampled(tmp_path, "late", trace(100, 60), [], 2)
    monotonic, utc = host.clock_start
    wrong = msgspec.structs.replace(host, clock_start=(monotonic, utc + 3600))
    (tmp_path / "host-late.json").write_bytes(msgspec.json.encode(wrong))
    found = summarise(tmp_path, between=(start, start + 1.5))
    assert found.quantities["gpu_energy_j"].value == pytest.approx(150, rel=0.02)


def test_hosts_whose_clocks_were_not_compared_are_named(tmp_path: Path) -> None:
    for name, boot in (("a", boot_id()), ("b", "another boot")):
        host = Host(host=name, boot_id=boot, clock_start=(0.0, 1e9), clock_end=(10.0, 1e9 + 10))
        (tmp_path / f"host-{name}.json").write_bytes(msgspec.json.encode(host))
    notes = [
        n.message
        for n in summarise(tmp_path, between=(1, 2)).warnings
        if n.name == "clocks_not_compared"
    ]
    assert notes == [
        "b: its clock was not compared with the first host's; both are assumed to show the same UTC"
    ]
