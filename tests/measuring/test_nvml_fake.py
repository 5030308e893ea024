"""Meters and controls on a fake driver that behaves like real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fake_nvml import FakeNvml, build

import wattlaw
from wattlaw.measuring.limits.limit_state import state_folder

CAPPED = """
import signal, sys, time
from wattlaw.measuring.limits.limits import limited
# a shell that runs the tests in the background ignores SIGINT
signal.signal(signal.SIGINT, signal.default_int_handler)
with limited({"power_cap_w": float(sys.argv[1])}, [0]) as limits:
    print(limits[0].previous, limits[0].now, flush=True)
    sys.stdin.read()
"""

MEASURE = [sys.executable, "-m", "wattlaw", "measure", "-q"]


@pytest.fixture
def capped(fake: FakeNvml) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Start a process that keeps GPU 0 at a power cap until its input closes."""
    started = []

    def start(watts: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CAPPED, str(watts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=fake.environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> list[float]:
    assert process.stdout
    return [float(word) for word in process.stdout.readline().split()]


def end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


def wait_for(fake: FakeNvml, watts: float) -> None:
    until = time.monotonic() + 20
    while fake.get(0, "limit_w") != watts:
        assert time.monotonic() < until, f"the cap stayed at {fake.get(0, 'limit_w')}"
        time.sleep(0.02)


def guards(fake: FakeNvml) -> list[int]:
    """Return the guards of these devices only, because other tests may run in parallel."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_guard = b"wattlaw.measuring.limits.guard" in path.read_bytes()
            if (
                is_guard
                and fake.environment["FAKE_NVML_STATE"].encode()
                in path.with_name("environ").read_bytes()
            ):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def measure(fake: FakeNvml, *words: str, **more: str) -> dict:
    done = subprocess.run(
        [*MEASURE, "--json", *words],
        capture_output=True, text=True, timeout=60, check=True, env={**fake.environment, **more},
    )  # fmt: skip
    return json.loads(done.stdout)


def gpu(result: dict, device: str = "gpu:0") -> dict:
    return next(i for i in result["items"] if i["device"] == device)


def names(result: dict) -> set[str]:
    return {w["name"] for w in result["warnings"]}


def test_energy_comes_from_the_counter_and_agrees_with_the_truth(fake: FakeNvml) -> None:
    fake.set(0, load=1)
    start = fake.joules(0)
    began = time.monotonic()
    result = measure(fake, "--", "sleep", "2")
    power = (fake.joules(0) - start) / (time.monotonic() - began)
    item = gpu(result)
    assert item["reason"] == "nvml counter"
    assert item["mean_power_w"] == pytest.approx(power, rel=0.03)
    assert item["energy_j"] == pytest.approx(power * result["overall"]["elapsed_s"], rel=0.03)
    assert gpu(result, "gpu:1")["mean_power_w"] == pytest.approx(60, rel=0.03)
    assert item["sm_clock_mhz"] == pytest.approx(1500 * (320 / 340) ** 0.5, rel=0.01)


def test_only_the_jobs_own_devices_are_read(fake: FakeNvml) -> None:
    result = measure(fake, "--", "sleep", "0.2", CUDA_VISIBLE_DEVICES=fake.uuid(1))
    assert [i["uuid"] for i in result["items"] if i["boundary"] == "gpu"] == [fake.uuid(1)]


def test_an_old_driver_without_counter_or_field_values_gives_sampled_power(tmp_path: Path) -> None:
    old = FakeNvml(build(tmp_path / "old", is_old=True), tmp_path / "state", count=1)
    old.set(0, load=0.5)
    item = gpu(measure(old, "--hz", "20", "--", "sleep", "1"))
    assert item["reason"] == "nvml sampled power"
    assert item["mean_power_w"] == pytest.approx(60 + 0.5 * 340, rel=0.02)


def test_calls_that_fail_now_and_then_leave_gaps_but_no_wrong_energy(fake: FakeNvml) -> None:
    fake.set(0, load=0.5, fail_every=5)
    item = gpu(measure(fake, "--hz", "50", "--", "sleep", "1.5"))
    assert item["mean_power_w"] == pytest.approx(230, rel=0.05)


def test_a_device_lost_during_a_run_has_no_energy_and_is_named(
    fake: FakeNvml, tmp_path: Path
) -> None:
    words = [*MEASURE, "--to", str(tmp_path / "cost.json"), "--", "sh", "-c", "echo on; sleep 7"]
    job = subprocess.Popen(words, stdout=subprocess.PIPE, env=fake.environment, text=True)
    assert job.stdout
    job.stdout.readline()
    time.sleep(1)
    fake.set(0, lost_at=time.monotonic())
    job.communicate(timeout=60)
    result = json.loads((tmp_path / "cost.json").read_text())
    assert gpu(result)["energy_j"] is None
    assert gpu(result, "gpu:1")["energy_j"] is not None
    assert result["overall"]["quantities"]["gpu_energy_j"]["status"] == "missing"
    assert "device_lost" in names(result)


def test_a_counter_that_decreases_is_noticed(fake: FakeNvml, tmp_path: Path) -> None:
    fake.set(0, load=1, counter_shift_j=100_000)
    job = subprocess.Popen(
        [*MEASURE, "--hz", "100", "--to", str(tmp_path / "cost.json"), "--", "sh", "-c", "echo ready; sleep 2.5"],
        stdout=subprocess.PIPE, env=fake.environment, text=True,
    )  # fmt: skip
    assert job.stdout
    job.stdout.readline()
    time.sleep(1)
    fake.set(0, counter_shift_j=0)
    job.communicate(timeout=30)
    result = json.loads((tmp_path / "cost.json").read_text())
    assert "counter_went_back" in names(result)
    assert gpu(result)["mean_power_w"] == pytest.approx(380, rel=0.05)


def test_throttling_and_other_processes_on_the_device_have_warnings(fake: FakeNvml) -> None:
    fake.set(0, throttle=0x40, other_pid=1)
    assert {"throttled", "other_process_on_device"} <= names(measure(fake, "--", "sleep", "0.5"))


def test_a_cap_is_read_back_and_the_original_is_restored(fake: FakeNvml, capped) -> None:
    process = capped(200)
    assert first_line(process) == [380, 200]
    assert fake.get(0, "limit_w") == 200
    end(process)
    assert fake.get(0, "limit_w") == 380


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_no_cap_behind(
    fake: FakeNvml, capped, number: signal.Signals
) -> None:
    process = capped(150)
    first_line(process)
    process.send_signal(number)
    process.wait(20)
    wait_for(fake, 380)


def test_with_two_processes_on_a_device_the_first_original_value_is_restored(
    fake: FakeNvml, capped
) -> None:
    first, second = capped(200), None
    assert first_line(first) == [380, 200]
    second = capped(150)
    assert first_line(second) == [380, 150]
    end(first)
    assert fake.get(0, "limit_w") == 150
    end(second)
    assert fake.get(0, "limit_w") == 380


def test_a_process_that_still_runs_gets_its_cap_back(fake: FakeNvml, capped) -> None:
    first = capped(200)
    first_line(first)
    second = capped(150)
    first_line(second)
    second.kill()
    wait_for(fake, 200)
    end(first)
    assert fake.get(0, "limit_w") == 380


def test_a_cap_of_a_running_process_replaces_that_of_a_killed_one(
    fake: FakeNvml, tmp_path: Path
) -> None:
    script = """
import os, subprocess, sys
from wattlaw.measuring.limits.guard import open_control
from wattlaw.measuring.limits.limit_state import restore_limit, take_limit
killed = subprocess.Popen(["true"])
killed.wait()
with open_control("power_cap_w") as control:
    device = control.devices(["0"])[0]
    for watts, token, guard in ((300, "first", os.getpid()), (200, "second", os.getpid()), (150, "killed", killed.pid)):
        take_limit(control, "power_cap_w", device, watts, token, guard)
    for token in ("first", "second"):
        restore_limit(control, "power_cap_w", device, token)
        print(control.read(device))
"""
    here = {**fake.environment, "WATTLAW_STATE": str(tmp_path)}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=here, timeout=60)
    assert done.stdout.split() == ["200.0", "380.0"]


def test_jobs_with_separate_temporary_folders_share_their_limit_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATTLAW_STATE", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/job-7")
    assert state_folder() == Path("/tmp/wattlaw-limits-1000")


def test_the_limits_of_a_guard_that_is_killed_alone_are_restored(fake: FakeNvml, capped) -> None:
    process = capped(200)
    first_line(process)
    (guard,) = guards(fake)
    os.kill(guard, signal.SIGKILL)
    end(process)
    assert fake.get(0, "limit_w") == 380


def test_a_limit_left_by_a_killed_guard_is_restored_by_the_next(fake: FakeNvml, capped) -> None:
    process = capped(200)
    first_line(process)
    (guard,) = guards(fake)
    os.kill(guard, signal.SIGKILL)
    process.kill()
    process.wait(20)
    assert fake.get(0, "limit_w") == 200
    second = capped(250)
    assert first_line(second) == [380, 250]
    end(second)
    assert fake.get(0, "limit_w") == 380


def test_a_value_out_of_range_is_refused_with_the_range_and_nothing_is_set(
    fake: FakeNvml, capped
) -> None:
    process = capped(900)
    _, errors = process.communicate(timeout=30)
    assert f"power_cap_w is 900 W; {fake.uuid(0)} allows 100 to 400 W" in errors
    assert fake.get(0, "sets") == 0


def test_a_refused_permission_names_the_ways_to_get_it(fake: FakeNvml, capped) -> None:
    fake.set(0, may_set=0)
    process = capped(200)
    _, errors = process.communicate(timeout=30)
    assert "is not permitted to this user; root may (`sudo nvidia-smi -i 0 -pl 200`" in errors
    assert "Slurm prolog" in errors
    assert not list((Path(fake.environment["WATTLAW_STATE"])).glob("*.json"))


def test_a_device_that_ignores_a_cap_is_an_error(fake: FakeNvml, capped) -> None:
    fake.set(0, ignores_sets=1)
    _, errors = capped(200).communicate(timeout=30)
    assert "was set to 200 W, but it reads back 380 W" in errors


def test_clock_limits_are_set_and_removed(fake: FakeNvml) -> None:
    script = (
        "from wattlaw.measuring.limits.limits import limited\n"
        "with limited({'sm_clock_mhz': 900, 'memory_clock_mhz': 800}) as limits:\n    input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, env=fake.environment
    )
    until = time.monotonic() + 20
    while fake.get(1, "memory_lock") != 800:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert [fake.get(i, "sm_lock") for i in (0, 1)] == [900, 900]
    process.communicate(b"\n", timeout=30)
    assert [fake.get(i, n) for i in (0, 1) for n in ("sm_lock", "memory_lock")] == [0, 0, 0, 0]


def test_a_measured_command_runs_under_its_cap_which_is_recorded(
    fake: FakeNvml, tmp_path: Path
) -> None:
    fake.set(0, load=1)
    result = measure(
        fake,
        "-o",
        str(tmp_path / "runs"),
        "--gpus",
        "0",
        "--power-cap-w",
        "200",
        "--",
        "sleep",
        "1",
    )
    assert gpu(result)["mean_power_w"] == pytest.approx(200, rel=0.03)
    assert fake.get(0, "limit_w") == 380
    (run,) = wattlaw.load_runs(tmp_path / "runs")
    assert run.setting.power_cap_w == 200
    (limit,) = json.loads(next((tmp_path / "runs").glob("*/attempt-1/limits-*.json")).read_text())
    assert (limit["asked"], limit["now"], limit["previous"]) == (200, 200, 380)


def test_a_signal_to_a_task_that_holds_limits_reaches_the_command(
    fake: FakeNvml,
) -> None:
    # if Slurm tracks processes by control group, it signals only the task, which is the guard
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [*MEASURE, "-q", "--gpus", "0", "--power-cap-w", "200", "--", "sh", "-c", script],
        stdout=subprocess.PIPE, text=True, start_new_session=True, env={**fake.environment, **step},
    ) as task:  # fmt: skip
        assert task.stdout
        assert task.stdout.readline() == "ready\n"
        assert fake.get(0, "limit_w") == 200
        task.terminate()
        assert task.stdout.read() == "caught\n"
        assert task.wait(30) == 5
    assert fake.get(0, "limit_w") == 380


def test_doctor_shows_the_ranges_and_limits_left_by_a_killed_guard(fake: FakeNvml, capped) -> None:
    process = capped(200)
    first_line(process)
    for pid in guards(fake):
        os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait(20)
    words = [sys.executable, "-m", "wattlaw", "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=fake.environment)
    items = {i["what"]: i for i in json.loads(done.stdout)["items"]}
    assert items["control power_cap_w"]["how"].startswith("100 to 400 W")
    assert "before it was 380" in items["abandoned limit: power_cap_w"]["how"]
    done = subprocess.run(
        [*words, "--put-back"], capture_output=True, text=True, check=True, env=fake.environment
    )
    assert "abandoned limit" not in done.stdout
    assert fake.get(0, "limit_w") == 380


def test_without_a_requested_limit_nothing_is_changed(fake: FakeNvml) -> None:
    script = "from wattlaw.measuring.limits.limits import limited\nwith limited({'power_cap_w': None}) as l: assert l == []"
    subprocess.run([sys.executable, "-c", script], check=True, env=fake.environment)
    assert fake.get(0, "calls") == 0


RIVAL = """
import time
from wattlaw.devices.meter import DeviceInfo, Meter, Probe, Sample

class Rival(Meter):
    boundaries = ("gpu",)

    def probe(self):
        uuid = "GPU-fa4e0000-0000-0000-0000-000000000000"
        gpu = DeviceInfo(id="gpu:rival", boundary="gpu", uuid=uuid, energy="power")
        return Probe(meter="rival", devices=(gpu,))

    def read(self):
        return [Sample(time_s=time.monotonic(), device="gpu:rival", power_w=1000.0)]
"""


def test_a_gpu_that_another_packages_meter_sees_too_is_counted_once(
    fake: FakeNvml, tmp_path: Path
) -> None:
    info = tmp_path / "site" / "rival-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wattlaw.meters]\nrival = rival:Rival\n")
    (info.parent / "rival.py").write_text(RIVAL)
    source = str(Path(wattlaw.__file__).parents[1])
    path = os.pathsep.join([str(info.parent), source])
    measured = measure(fake, "--", "sleep", "0.5", PYTHONPATH=path)
    gpus = [item["device"] for item in measured["items"] if item["boundary"] == "gpu"]
    assert gpus == ["gpu:0", "gpu:1"]
    words = [sys.executable, "-m", "wattlaw", "doctor", "--json"]
    environment = {**fake.environment, "PYTHONPATH": path}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    reasons = [item["how"] for item in json.loads(done.stdout)["items"]]
    assert "gpu:rival is read by nvml" in reasons
