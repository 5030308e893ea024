"""The sampler process, its record, and the results from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from wattlaw.core.errors import DamagedRunError, UsageError
from wattlaw.devices.meter import TELEMETRY_COLUMNS, Sample
from wattlaw.measuring.files.host_files import (
    Host,
    TelemetryFile,
    boot_id,
    host_name,
    read_host,
    read_telemetry,
)
from wattlaw.measuring.files.rank_files import StepLog, read_steps
from wattlaw.measuring.reduce.summary import Summary, summarise
from wattlaw.measuring.sampling.host_sampler import SAMPLER_VARIABLE, sampler_mark
from wattlaw.measuring.sampling.sampler_process import start_sampler
from wattlaw.measuring.sampling.shared_sampler import running_sampler


def record(
    folder: Path, replay: Path | None, steps: int = 12, step_s: float = 0.1, hz: float = 20
) -> Summary:
    with start_sampler(folder, hz=hz, replay=str(replay or "")), StepLog(folder) as log:
        for i in range(steps):
            start = time.monotonic()
            time.sleep(step_s)
            log.append(
                i,
                i < 2,
                start,
                time.monotonic(),
                samples=32,
                loss=1 / (i + 1),
                forward_s=step_s / 2,
            )
    return summarise(folder, devices=1)


def wait_until(holds, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def test_a_job_that_used_less_than_a_tick_has_no_cpu_time_of_0(tmp_path: Path) -> None:
    (tmp_path / "host-a.json").write_bytes(msgspec.json.encode(Host(host="a", boot_id=boot_id())))
    file = TelemetryFile(tmp_path / "telemetry-a.csv")
    file.append(
        Sample(time_s=float(t), device="job", cpu_time_s=0.0, memory_used_bytes=0) for t in range(5)
    )
    file.close()
    found = summarise(tmp_path, between=(0.0, 4.0)).quantities
    for name in ("cpu_time_s", "memory_peak_bytes", "cpu_energy_j"):
        assert (found[name].value, found[name].status) == (None, "missing")
    assert "tick" in found["cpu_time_s"].how
    assert "running" in found["memory_peak_bytes"].how


def test_the_energy_of_a_known_device_is_found_by_counter_and_by_power(
    tmp_path: Path, trace
) -> None:
    found = record(tmp_path, trace(200, 30))
    elapsed = found.quantities["elapsed_s"].value
    energy = found.quantities["gpu_energy_j"]
    assert (energy.status, energy.how) == ("measured", "replay counter of gpu:0")
    assert energy.value == pytest.approx(200 * elapsed, rel=0.02)
    assert found.devices[0].sampled_energy_j == pytest.approx(200 * elapsed, rel=1e-6)
    assert found.quantities["gpu_max_power_w"].value == 200
    assert found.quantities["samples_per_s"].value == pytest.approx(320 / elapsed)
    assert found.quantities["step_time_s"].n == 10
    assert found.machine.device_type == "cuda"
    assert {n.name for n in found.warnings} <= {"unstable_steps"}


def test_without_an_energy_meter_the_cpu_energy_is_an_estimate_and_the_rest_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTLAW_CPU_WATTS_PER_CORE", "10")
    with start_sampler(tmp_path, meters=["procfs"]), StepLog(tmp_path) as log:
        for i in range(3):
            start = time.monotonic()
            while time.monotonic() < start + 0.2:
                continue
            log.append(i, False, start, time.monotonic())
    found = summarise(tmp_path)
    cpu, gpu = found.quantities["cpu_energy_j"], found.quantities["gpu_energy_j"]
    assert cpu.status == "estimated"
    assert cpu.value == pytest.approx(10 * found.quantities["cpu_time_s"].value)
    assert "10 W a busy core (from WATTLAW_CPU_WATTS_PER_CORE)" in cpu.how
    assert (gpu.value, gpu.status) == (None, "missing")
    assert {"no_energy_meter", "few_steps"} <= {n.name for n in found.warnings}


def test_the_record_names_host_clock_and_every_absent_meter(tmp_path: Path) -> None:
    with start_sampler(tmp_path) as sampler:
        sampler.edge()
    host = read_host(tmp_path / f"host-{host_name()}.json")
    assert host.clock_end is not None
    assert host.clock_end[0] > host.clock_start[0]
    assert host.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert all(p.devices or p.reason for p in host.probes)
    assert {"nvml", "rapl", "procfs"} <= {p.meter for p in host.probes}
    assert host.cores


def test_rows_reach_the_disk_within_a_second_or_so(tmp_path: Path) -> None:
    with start_sampler(tmp_path, meters=["procfs"]):
        path = tmp_path / f"telemetry-{host_name()}.csv"
        first = path.stat().st_size
        assert path.read_text().startswith(",".join(TELEMETRY_COLUMNS))
        wait_until(lambda: path.stat().st_size > first, 5)


def test_child_processes_see_a_running_sampler_until_it_ends(tmp_path: Path) -> None:
    assert running_sampler() is None
    with start_sampler(tmp_path, meters=["procfs"]):
        assert running_sampler() == tmp_path
    assert SAMPLER_VARIABLE not in os.environ


def test_a_sampler_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom wattlaw.measuring.sampling.sampler_process import start_sampler\n"
        "s = start_sampler(sys.argv[1], meters=['procfs'])\nprint(s.process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout
    sampler = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not Path(f"/proc/{sampler}").exists() or is_zombie(sampler))
    assert read_host(tmp_path / f"host-{host_name()}.json").clock_end is not None


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_killed_sampler_leaves_the_steps_and_a_named_warning(tmp_path: Path, trace) -> None:
    sampler = start_sampler(tmp_path, hz=20, replay=str(trace(100, 30)))
    with StepLog(tmp_path) as log:
        for i in range(10):
            start = time.monotonic()
            if i == 2:
                os.kill(sampler.process.pid, signal.SIGKILL)
            time.sleep(0.3)
            log.append(i, False, start, time.monotonic(), samples=1)
    sampler.stop()
    found = summarise(tmp_path)
    assert found.quantities["steps"].value == 10
    assert found.quantities["gpu_energy_j"].status == "missing"
    assert "sampler_lost" in {n.name for n in found.warnings}


def test_a_full_disk_loses_no_row_that_fits_in_memory(tmp_path: Path) -> None:
    file = TelemetryFile(Path("/dev/full"))
    file.append([Sample(time_s=1.0, device="gpu:0", power_w=100.0)])
    assert not file.flush()
    assert "no space left" in file.trouble
    os.close(file.file)
    file.file, file.path = -1, tmp_path / "telemetry-x.csv"
    file.append([Sample(time_s=2.0, device="gpu:0", power_w=110.0)])
    assert file.flush()
    file.close()
    assert list(read_telemetry(file.path)["gpu:0"].column("power_w").values) == [100, 110]


def test_a_half_written_last_row_is_left_out(tmp_path: Path) -> None:
    with StepLog(tmp_path) as log:
        log.append(0, False, 1.0, 2.0, samples=4)
        log.append(1, False, 2.0, 3.0, samples=4)
    path = tmp_path / "steps-0.csv"
    path.write_bytes(path.read_bytes()[:-9])
    assert [s.step for s in read_steps(path)] == [0]


def test_a_broken_row_in_the_middle_is_named_with_its_line(tmp_path: Path) -> None:
    with StepLog(tmp_path) as log:
        for i in range(3):
            log.append(i, False, float(i), i + 1.0)
    path = tmp_path / "steps-0.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], "garbage\n", *lines[2:]]))
    with pytest.raises(DamagedRunError, match=r"steps-0\.csv:3: 'garbage' is not a step"):
        read_steps(path)


@pytest.mark.parametrize("hz", [0, 0.05, 101, float("nan")])
def test_an_impossible_rate_is_refused(tmp_path: Path, hz: float) -> None:
    with pytest.raises(UsageError, match=r"between 0\.1 and 100"):
        start_sampler(tmp_path, hz=hz)


def test_windows_of_several_threads_each_get_their_answer(tmp_path: Path) -> None:
    with start_sampler(tmp_path, meters=["procfs"]) as sampler, ThreadPoolExecutor(4) as threads:
        assert all(threads.map(sampler._request, ["edge"] * 100))


def test_an_ended_sampler_is_not_reused_even_if_its_pid_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_sampler(tmp_path, meters=["procfs"]):
        assert running_sampler() == tmp_path
    monkeypatch.setenv(SAMPLER_VARIABLE, sampler_mark(os.getpid(), tmp_path))
    assert running_sampler() is None
