"""Power caps swept over a command, on the fake NVML: set, read back, recorded, restored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.fake_nvml import FakeNvml, build
from tests.runner.conftest import SRC, wattlaw
from wattlaw.measuring.files.host_files import host_name

SWEEP = """
name = "caps"
repeats = 1
[setting]
command = "python -c 'import time; time.sleep({seconds})' {{devices}}"
[over]
devices = [1, 2]
power_cap_w = [{caps}]
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def gpus(library, tmp_path):
    fake = FakeNvml(library, tmp_path / "state")
    fake.environment["PYTHONPATH"] = str(SRC)
    return fake


def sweep_file(tmp_path, seconds, caps):
    path = tmp_path / "caps.toml"
    path.write_text(SWEEP.format(seconds=seconds, caps=caps))
    return str(path)


def test_a_uuid_in_cuda_visible_devices_selects_only_that_gpu(gpus):
    script = "from wattlaw.runner.node_devices import here; print(here().gpus)"
    first, second = "Fake GPU (no hardware)", "Fake GPU 1 (no hardware)"
    gpus.set(1, kind=1)
    for visible, names in (
        (gpus.uuid(1), (second,)),
        (f"{gpus.uuid(1)},0", (second, first)),
        ("GPU-none,0", ()),
        ("1,7,0", (second,)),
    ):
        environment = {**gpus.environment, "CUDA_VISIBLE_DEVICES": visible}
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(names)


def test_a_sweep_over_caps_sets_each_reads_it_back_and_restores_the_original(gpus, tmp_path):
    done = wattlaw(
        "sweep",
        "start",
        sweep_file(tmp_path, 0.3, "150, 250"),
        "-o",
        str(tmp_path),
        "--json",
        env=gpus.environment,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["items"]
    assert len(runs) == 4
    for run in runs:
        limits = json.loads(
            (
                tmp_path / "caps" / run["trial"] / "attempt-1" / f"limits-{host_name()}.json"
            ).read_text()
        )
        assert len(limits) == run["setting"].get("devices_per_node", 1)
        assert {(limit["now"], limit["previous"]) for limit in limits} == {
            (run["setting"]["power_cap_w"], 380.0)
        }
    assert [gpus.get(i, "limit_w") for i in (0, 1)] == [380, 380]


def test_a_cap_out_of_range_fails_its_trials_only(gpus, tmp_path):
    done = wattlaw(
        "sweep",
        "start",
        sweep_file(tmp_path, 0.1, "20, 250"),
        "-o",
        str(tmp_path),
        env=gpus.environment,
    )
    assert done.returncode == 1
    assert "2 of 4 trials failed" in done.stderr
    assert "allows 100 to 400 W" in done.stderr


def test_a_refused_permission_is_recorded_with_the_ways_to_get_it(gpus, tmp_path):
    gpus.set(0, may_set=0)
    gpus.set(1, may_set=0)
    done = wattlaw(
        "sweep",
        "start",
        sweep_file(tmp_path, 0.1, "250"),
        "-o",
        str(tmp_path),
        env=gpus.environment,
    )
    assert done.returncode == 1
    assert "sudo" in done.stderr
    assert [gpus.get(i, "limit_w") for i in (0, 1)] == [380, 380]


def test_a_killed_sweep_restores_every_cap(gpus, tmp_path):
    words = [
        sys.executable,
        "-m",
        "wattlaw",
        "sweep",
        "start",
        sweep_file(tmp_path, 40, "150"),
        "-o",
        str(tmp_path),
    ]
    runner = subprocess.Popen(
        words, env=gpus.environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + 30
    while gpus.get(0, "limit_w") != 150:
        assert time.monotonic() < until, "the cap was never set"
        time.sleep(0.02)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    while [gpus.get(i, "limit_w") for i in (0, 1)] != [380, 380]:
        assert time.monotonic() < until, "the cap was never put back"
        time.sleep(0.02)
