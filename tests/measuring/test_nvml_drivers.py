"""Unusual drivers, bindings and machines, on a fake driver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from tests.fake_nvml import FakeNvml

from wattlaw.devices.nvml_devices import NvmlHandle

WATTLAW = [sys.executable, "-m", "wattlaw"]


def measure(fake: FakeNvml, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [*WATTLAW, "measure", "-q", "--json", *words, "--", "sleep", "0.5"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**fake.environment, **more}
    )


def gpus(done: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    assert done.returncode == 0, done.stderr
    return {i["device"]: i for i in json.loads(done.stdout)["items"] if i["boundary"] == "gpu"}


def names(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {w["name"] for w in json.loads(done.stdout)["warnings"]}


def test_a_limit_stays_on_a_driver_that_resets_it_without_users(fake: FakeNvml) -> None:
    fake.set(0, load=1, is_persistent=0)
    done = measure(fake, "--gpus", "0", "--power-cap-w", "200")
    assert gpus(done)["gpu:0"]["max_power_w"] == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_limits_are_restored_on_a_driver_that_fails_every_third_call(
    fake: FakeNvml, calls: int
) -> None:
    script = (
        "import sys\nfrom wattlaw.measuring.limits.limits import limited\n"
        "with limited({'power_cap_w': 200}, [0]):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", script]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=fake.environment
    ) as held:
        assert held.stdout
        assert held.stdout.readline() == b"held\n"
        fake.set(0, fail_every=3, calls=calls)
        held.kill()  # so that the guard alone puts it back
    until = time.monotonic() + 30
    while fake.get(0, "limit_w") != 380:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_gpu_that_this_user_may_not_open_is_not_counted_by_number(fake: FakeNvml) -> None:
    fake.set(0, is_hidden=1)
    done = measure(fake, CUDA_VISIBLE_DEVICES="0")
    assert {d: i["uuid"] for d, i in gpus(done).items()} == {"gpu:1": fake.uuid(1)}
    assert list(gpus(measure(fake))) == ["gpu:1"]


def test_indices_of_different_gpus_have_a_warning_unless_their_order_is_set(fake: FakeNvml) -> None:
    fake.set(1, kind=1)
    assert "gpu_order_unknown" in names(measure(fake, CUDA_VISIBLE_DEVICES="1"))
    refused = measure(fake, "--power-cap-w", "200", CUDA_VISIBLE_DEVICES="1")
    assert refused.returncode == 1
    assert "no limit is set: CUDA_VISIBLE_DEVICES=1 names GPUs by number" in refused.stderr
    assert (fake.get(0, "sets"), fake.get(1, "sets")) == (0, 0)
    for sure in ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, {"CUDA_VISIBLE_DEVICES": fake.uuid(1)}):
        done = measure(fake, "--power-cap-w", "200", **{"CUDA_VISIBLE_DEVICES": "1", **sure})
        assert list(gpus(done)) == ["gpu:1"]
        assert "gpu_order_unknown" not in names(done)


def test_an_older_pynvml_refuses_one_call_without_a_crash() -> None:
    class NVMLError(Exception):
        value = 0

    older = ModuleType("pynvml")
    older.__file__ = "/somewhere/pynvml/__init__.py"
    older.NVMLError = NVMLError  # type: ignore[attr-defined]
    older.nvmlDeviceGetMemoryInfo = lambda handle: "read"  # type: ignore[attr-defined]
    handle = NvmlHandle(older, object())
    assert handle.ask("GetMemoryInfo", 2) is None
    assert (
        handle.failed
        == "the module pynvml (/somewhere/pynvml/__init__.py) is older than nvidia-ml-py 12"
    )
    assert handle.ask("GetMemoryInfo") == "read"


def test_a_gpu_whose_name_is_not_utf8_is_measured_under_another_name(fake: FakeNvml) -> None:
    fake.set(0, kind=-1)
    found = gpus(measure(fake, "--gpus", "0"))
    assert found["gpu:0"]["energy_j"] > 0
    done = subprocess.run(
        [*WATTLAW, "doctor", "--json"], capture_output=True, text=True, env=fake.environment
    )
    assert "gpu:0: GetName failed: UnicodeDecodeError" in done.stdout


def test_a_command_runs_beside_another_file_named_pynvml(fake: FakeNvml, tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("import absent_library\n")
    done = measure(fake, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    reason = json.loads(done.stdout)["overall"]["quantities"]["gpu_energy_j"]["how"]
    assert "pynvml.py) cannot be used: ModuleNotFoundError" in reason
