"""Faults around a sampler, and their effects."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import msgspec
import pytest
from tests.conftest import FULL

from wattlaw.core.polling import wait_until
from wattlaw.devices.meter import DeviceInfo, Probe, Sample, Scope
from wattlaw.measuring.files.host_files import Host, Jump, TelemetryFile, boot_id, clock_pair
from wattlaw.measuring.files.rank_files import StepLog
from wattlaw.measuring.reduce.summary import Summary, summarise
from wattlaw.measuring.sampling.host_sampler import HostSampler, MeterThread, next_turn
from wattlaw.measuring.sampling.sampler_process import start_sampler


def fabricated(folder: Path, *, rows_until_s: float = 100, jumps: tuple[Jump, ...] = ()) -> None:
    """Return a host with a GPU at 200 W until ``rows_until_s`` and steps from 10 s to 90 s."""
    gpu = DeviceInfo(id="gpu:0", boundary="gpu", meter="nvml", energy="counter", update_s=0.1)
    host = Host(host="h", boot_id=boot_id(), cores=4, clock_start=(0.0, 1e9), clock_end=(100.0, 1e9 + 100), jumps=jumps,
                probes=(Probe(meter="nvml", devices=(gpu,)),))  # fmt: skip
    (folder / "host-h.json").write_bytes(msgspec.json.encode(host))
    file = TelemetryFile(folder / "telemetry-h.csv")
    file.append(
        Sample(time_s=i / 10, device="gpu:0", power_w=200.0, energy_j=20.0 * i)
        for i in range(int(rows_until_s * 10))
    )
    file.append([Sample(time_s=i / 10, device="job", cpu_time_s=i / 20) for i in range(1001)])
    file.close()
    with StepLog(folder) as log:
        for i in range(80):
            log.append(i, False, 10.0 + i, 11.0 + i, samples=2)
    (folder / "rank-0.json").unlink()


def names(found: Summary) -> set[str]:
    return {n.name for n in found.warnings}


def test_a_steady_run_has_no_warning_and_the_energy_it_used(tmp_path: Path) -> None:
    fabricated(tmp_path)
    found = summarise(tmp_path, devices=1)
    assert found.quantities["gpu_energy_j"].value == pytest.approx(200 * 80)
    assert found.quantities["step_time_s"].value == pytest.approx(1)
    assert names(found) == set()


def test_a_jump_of_the_hosts_clock_is_named_and_changes_no_duration(tmp_path: Path) -> None:
    fabricated(tmp_path, jumps=(Jump(50.0, 3600.0),))
    found = summarise(tmp_path)
    assert names(found) == {"clock_jump"}
    assert found.quantities["elapsed_s"].value == pytest.approx(80)
    assert found.quantities["gpu_energy_j"].value == pytest.approx(200 * 80)


def test_a_device_that_stops_answering_has_no_energy_instead_of_part_of_it(tmp_path: Path) -> None:
    fabricated(tmp_path, rows_until_s=60)
    found = summarise(tmp_path)
    assert found.quantities["gpu_energy_j"].value is None
    assert "device_lost" in names(found)
    assert found.quantities["cpu_energy_j"].status == "estimated"


def test_fewer_cores_than_processes_is_a_warning(tmp_path: Path) -> None:
    fabricated(tmp_path)
    for rank in range(1, 5):
        (tmp_path / f"steps-{rank}.csv").write_bytes((tmp_path / "steps-0.csv").read_bytes())
    found = summarise(tmp_path, devices=6)
    assert names(found) == {"oversubscribed", "ranks_missing"}
    assert found.quantities["samples"].value == 5 * 160


def test_a_hundred_thousand_steps_and_a_million_rows_are_summarised_in_seconds(
    tmp_path: Path,
) -> None:
    fabricated(tmp_path)
    rows, steps = (1_000_000, 100_000) if FULL else (50_000, 5_000)
    file = TelemetryFile(tmp_path / "telemetry-h.csv")
    (tmp_path / "telemetry-h.csv").unlink()
    file.append(
        Sample(time_s=i / 100, device="gpu:0", power_w=200.0, energy_j=2.0 * i) for i in range(rows)
    )
    file.close()
    (tmp_path / "steps-0.csv").unlink()
    with StepLog(tmp_path) as log:
        for i in range(steps):
            log.append(
                i,
                False,
                10 + i * rows / 100 / steps / 2,
                10 + (i + 1) * rows / 100 / steps / 2,
                samples=1,
            )
    (tmp_path / "rank-0.json").unlink()
    found = summarise(tmp_path)
    assert found.quantities["gpu_energy_j"].value == pytest.approx(200 * rows / 200, rel=1e-6)


def test_a_hanging_meter_does_not_delay_others() -> None:
    sink: deque[Sample] = deque()
    free = threading.Event()

    def hang() -> list[Sample]:
        free.wait(30)
        return []

    hanging = MeterThread("hanging", hang, 0.01, sink)
    quick = MeterThread("quick", lambda: [Sample(time_s=time.monotonic(), device="q")], 0.01, sink)
    for lane in (hanging, quick):
        lane.start()
    assert wait_until(lambda: len(sink) >= 20, 60)
    assert hanging.turns == 1
    assert not hanging.read_now()
    for lane in (hanging, quick):
        lane.stop()
    free.set()
    assert hanging.join(5)
    assert quick.join(5)


def test_a_late_reading_does_not_delay_the_later_ones_and_missed_turns_are_skipped() -> None:
    due, missed = next_turn(10.0, 10.01, 0.1)
    assert (due, missed) == (pytest.approx(10.1), 0)
    due, missed = next_turn(due, 10.46, 0.1)
    assert (due, missed) == (pytest.approx(10.5), 3)


def test_a_slow_reading_skips_its_missed_turns() -> None:
    sink: deque[Sample] = deque()

    def read() -> list[Sample]:
        now = time.monotonic()
        if len(sink) == 3:
            time.sleep(0.35)
        return [Sample(time_s=now, device="d")]

    thread = MeterThread("d", read, 0.1, sink)
    start = time.monotonic()
    thread.start()
    assert wait_until(lambda: len(sink) >= 8, 60)
    thread.stop()
    thread.join(5)
    assert thread.skipped >= 3
    # readings are never early, even on a busy machine
    assert sink[-1].time_s - start >= 0.1 * (len(sink) - 1 + 3)


@pytest.mark.timeout(1800)
def test_repeated_starts_and_stops_leave_nothing_behind(tmp_path: Path) -> None:
    # in memory if possible, because each cycle waits for the disk twice
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as place:
        _start_and_stop(Path(place))


def _start_and_stop(tmp_path: Path) -> None:
    def now_open() -> tuple[int, int, set[str]]:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), set(children)

    scope = Scope(root_pid=os.getpid())
    before = now_open()
    for _ in range(10_000 if FULL else 50):
        sampler = HostSampler(tmp_path, scope, meters=("procfs",))
        sampler.start()
        sampler.stop()
    for _ in range(100 if FULL else 3):
        start_sampler(tmp_path, meters=["procfs"]).stop()
    assert now_open() == before
    assert sorted(p.name.partition("-")[0] for p in tmp_path.iterdir()) == ["host", "telemetry"]


def test_an_output_folder_that_is_a_file_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "wattlaw", "measure", "-o", str(tmp_path / "taken"), "--", "true"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"wattlaw: {tmp_path / 'taken'} is in the way: a folder is needed there\n"


def test_the_clock_pair_is_one_moment() -> None:
    before = time.monotonic(), time.time()
    monotonic, utc = clock_pair()
    after = time.monotonic(), time.time()
    assert before[0] <= monotonic <= after[0]
    assert before[1] <= utc <= after[1]


def test_the_clock_pair_is_the_most_exact_of_three_readings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic, utc = iter([0.0, 1.0, 10.0, 10.5, 20.0, 21.0]), iter([100.5, 110.25, 120.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(monotonic))
    monkeypatch.setattr(time, "time", lambda: next(utc))
    assert clock_pair() == (10.25, 110.25)


def test_the_sampler_notices_that_the_hosts_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = [0.0]

    def pair() -> tuple[float, float]:
        monotonic, utc = clock_pair()
        return monotonic, utc + shift[0]

    monkeypatch.setattr("wattlaw.measuring.sampling.host_sampler.clock_pair", pair)
    sampler = HostSampler(tmp_path, Scope(root_pid=os.getpid()), meters=("procfs",))
    sampler.start()
    shift[0] = -7200.0
    assert wait_until(lambda: sampler.host.jumps, 60)
    (jump,) = sampler.stop().jumps
    assert jump.by_s == pytest.approx(-7200, abs=0.05)
