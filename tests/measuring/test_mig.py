"""MIG instances on a fake driver: names, no shared energy, no limits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.fake_nvml import FakeNvml

WATTLAW = [sys.executable, "-m", "wattlaw"]


@pytest.fixture(autouse=True)
def load(fake: FakeNvml) -> None:
    fake.set(0, load=1)


def measure(fake: FakeNvml, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [*WATTLAW, "measure", "-q", "--json", *words, "--", "sleep", "0.3"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**fake.environment, **more}
    )


def result(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def gpus(found: dict) -> dict[str, dict]:
    return {i["device"]: i for i in found["items"] if i["boundary"] == "gpu"}


def gpu_energy(found: dict) -> dict:
    return found["overall"]["quantities"]["gpu_energy_j"]


@pytest.mark.parametrize(
    ("is_old_driver", "is_old_name"), [(False, False), (False, True), (True, True)]
)
def test_an_instance_is_selected_by_every_name_that_its_driver_accepts(
    fake: FakeNvml, is_old_driver: bool, is_old_name: bool
) -> None:
    uuids = fake.cut(0, 3, 3)
    fake.set(0, is_before_r470=is_old_driver)
    old = f"MIG-{fake.uuid(0)}/2/0"
    found = result(measure(fake, CUDA_VISIBLE_DEVICES=old if is_old_name else uuids[1]))
    (item,) = gpus(found).values()
    assert (item["device"], item["name"]) == ("gpu:0/mig:1", "Fake GPU (no hardware) MIG 3g.30gb")
    assert item["uuid"] == (old if is_old_driver else uuids[1])
    assert item["memory_peak_bytes"] == 2 * 2**30


def test_an_instance_is_named_after_its_gpu_and_has_no_energy(fake: FakeNvml) -> None:
    uuids = fake.cut(0, 3, 2, 2)
    found = result(measure(fake, CUDA_VISIBLE_DEVICES=",".join(uuids[:2])))
    assert list(gpus(found)) == ["gpu:0/mig:0", "gpu:0/mig:1"]
    for item in gpus(found).values():
        assert (item["energy_j"], item["mean_power_w"], item["status"]) == (None, None, "missing")
        assert f"a MIG instance of gpu:0 ({fake.uuid(0)})" in item["reason"]
        assert "other jobs may use the rest" in item["reason"]
    assert gpu_energy(found)["status"] == "missing"
    assert "MIG instance of gpu:0" in gpu_energy(found)["how"]


def test_a_job_with_every_slice_of_a_gpu_has_its_energy(fake: FakeNvml) -> None:
    uuids = fake.cut(0, 4, 3)
    found = result(measure(fake, CUDA_VISIBLE_DEVICES=",".join(uuids)))
    assert list(gpus(found)) == ["gpu:0", "gpu:0/mig:0", "gpu:0/mig:1"]
    assert gpus(found)["gpu:0"]["mean_power_w"] == pytest.approx(380, rel=0.1)
    assert gpu_energy(found)["value"] == gpus(found)["gpu:0"]["energy_j"]
    assert gpus(found)["gpu:0/mig:1"]["energy_j"] is None


def test_gpu_energy_is_missing_for_a_whole_gpu_together_with_an_instance(fake: FakeNvml) -> None:
    uuids = fake.cut(0, 3, 3)
    found = result(measure(fake, CUDA_VISIBLE_DEVICES=f"1,{uuids[0]}"))
    assert gpus(found)["gpu:1"]["energy_j"] is not None
    assert gpu_energy(found)["status"] == "missing"


def test_a_gpu_in_mig_mode_selects_its_visible_instances(fake: FakeNvml) -> None:
    fake.cut(0, 3, 3)
    fake.cut(1, 7, is_hidden=True)
    found = result(measure(fake))
    assert list(gpus(found)) == ["gpu:0/mig:0", "gpu:0/mig:1"]


def test_a_gpu_named_by_its_number_is_read_whole_with_a_warning(fake: FakeNvml) -> None:
    fake.cut(0, 3, 3)
    found = result(measure(fake, "--gpus", "0"))
    assert list(gpus(found)) == ["gpu:0"]
    assert gpus(found)["gpu:0"]["mean_power_w"] == pytest.approx(380, rel=0.1)
    assert "gpu_shared" in {w["name"] for w in found["warnings"]}


def test_an_unknown_instance_ends_the_list_as_in_cuda(fake: FakeNvml) -> None:
    uuids = fake.cut(0, 3, 3)
    found = result(measure(fake, CUDA_VISIBLE_DEVICES=f"{uuids[1]},MIG-not-there,{uuids[0]}"))
    assert list(gpus(found)) == ["gpu:0/mig:1"]


def test_other_processes_are_distinguished_from_the_jobs_on_an_instance(fake: FakeNvml) -> None:
    (uuid, *_) = fake.cut(0, 3, 3, pid=1)
    assert "other_process_on_device" in {
        w["name"] for w in result(measure(fake, CUDA_VISIBLE_DEVICES=uuid))["warnings"]
    }


@pytest.mark.parametrize("how", ["instance", "number", "all that there is"])
def test_no_limit_is_set_on_a_gpu_with_instances_of_other_jobs(fake: FakeNvml, how: str) -> None:
    uuids = fake.cut(0, 3, 3)
    words = ["--gpus", "0"] if how == "number" else []
    more = {"CUDA_VISIBLE_DEVICES": uuids[0]} if how == "instance" else {}
    done = measure(fake, "--power-cap-w", "200", *words, **more)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"wattlaw: gpu:0 ({fake.uuid(0)}) is in MIG mode and other jobs may use its other instances"
    )
    assert (fake.get(0, "sets"), fake.get(1, "sets")) == (0, 0)


def test_a_job_with_every_slice_may_limit_the_gpu(fake: FakeNvml) -> None:
    uuids = fake.cut(0, 4, 3)
    found = result(measure(fake, "--power-cap-w", "200", CUDA_VISIBLE_DEVICES=",".join(uuids)))
    assert gpus(found)["gpu:0"]["mean_power_w"] == pytest.approx(200, rel=0.1)
    assert (fake.get(0, "sets"), fake.get(0, "limit_w")) == (2, 380)


def test_doctor_explains_why_an_instance_has_no_energy(fake: FakeNvml) -> None:
    (uuid, *_) = fake.cut(0, 3, 3)
    environment = {**fake.environment, "CUDA_VISIBLE_DEVICES": uuid}
    done = subprocess.run(
        [*WATTLAW, "doctor", "--json"], capture_output=True, text=True, env=environment
    )
    (item,) = [i for i in json.loads(done.stdout)["items"] if i["what"] == "GPU energy"]
    assert (item["status"], item["device"]) == (
        "missing",
        "gpu:0/mig:0 Fake GPU (no hardware) MIG 3g.30gb",
    )
    assert "a MIG instance of gpu:0" in item["how"]
