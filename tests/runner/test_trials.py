"""Trials in real processes: their records and failures."""

from __future__ import annotations

import json
import os
import sys

import pytest

import wattlaw
from tests.runner.step_rows import steps
from wattlaw.core.errors import SettingError, UnknownNameError
from wattlaw.core.sweepfile import read_sweep, settings

SMALL = {"stop": {"steps": 6}, "warmup_steps": 2, "batch_per_device": 8, "threads": 1}


@pytest.fixture(scope="module")
def on_one_and_two(tmp_path_factory):
    from tests.runner.conftest import HERE, SRC

    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{SRC}:{HERE}")
        one = wattlaw.run("own:Line", out=out, devices=1, **{**SMALL, "batch_per_device": 16})[-1]
        both = wattlaw.run("own:Line", out=out, devices=2, **SMALL)[-1]
    return out, one, both


def test_a_users_own_class_runs_on_two_devices_unchanged(on_one_and_two):
    _, _, both = on_one_and_two
    assert both.state == "done", both.error
    assert both.quantities["steps"].value == 6
    assert both.quantities["samples"].value == 6 * 8 * 2


def test_two_devices_with_batch_b_train_like_one_with_batch_2b(on_one_and_two):
    out, one, both = on_one_and_two
    alone = [float(r["loss"]) for r in steps(out, one)]
    shared = [[float(r["loss"]) for r in steps(out, both, rank)] for rank in (0, 1)]
    means = [(a + b) / 2 for a, b in zip(*shared, strict=True)]
    assert means == pytest.approx(alone, rel=1e-5)


def test_every_step_has_its_phases_and_warm_up_is_marked(on_one_and_two):
    out, _, both = on_one_and_two
    rows = steps(out, both)
    assert [r["warmup"] for r in rows] == ["1"] * 2 + ["0"] * 6
    for row in rows:
        phases = sum(
            float(row[p])
            for p in ("data_s", "forward_s", "backward_s", "communication_s", "optimiser_s")
        )
        assert phases == pytest.approx(float(row["end_s"]) - float(row["start_s"]), abs=5e-6)
        assert float(row["communication_s"]) > 0


def test_the_record_of_a_trial_holds_setting_environment_and_telemetry(on_one_and_two):
    out, one, _ = on_one_and_two
    attempt = out / "run" / one.trial / "attempt-1"
    assert json.loads((attempt / "setting.json").read_text())["workload"] == "own:Line"
    environment = json.loads((attempt / "environment.json").read_text())
    assert environment["libraries"]["torch"]
    assert environment["cores"] >= 1
    assert list(attempt.glob("telemetry-*.csv"))
    assert one.machine.device_type in ("cpu", "cuda")
    assert one.quantities["trial_s"].value > one.quantities["elapsed_s"].value


@pytest.mark.parametrize(
    ("workload", "devices", "message"),
    [
        ("own:Raises", 2, "the detector fell over"),
        ("own:Killed", 2, "rank 1 was killed by SIGKILL"),
        ("own:Diverges", 1, "the loss is nan at step 0"),
    ],
)
def test_a_failed_trial_is_recorded_with_the_first_failing_rank(
    tmp_path, workload, devices, message
):
    run = wattlaw.run(workload, out=tmp_path, devices=devices, **SMALL)[0]
    assert run.state == "failed"
    assert run.error.startswith(f"rank {devices - 1}")
    assert message in run.error
    assert (tmp_path / "run" / run.trial / "attempt-1" / "error.txt").read_text() == run.error


def test_a_hang_ends_at_its_time_limit(tmp_path):
    values = {
        "name": "h",
        "repeats": 1,
        "time_limit_s": 12,
        "setting": {"workload": "own:Hangs", **SMALL},
    }
    run = wattlaw.sweep(values, out=tmp_path)[0]
    assert run.state == "failed"
    assert "time limit of 12 s" in run.error
    assert "own.py" in run.error, "the error names the line where the rank hangs"


def test_a_command_is_swept_with_steps_found_in_its_output(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, time\nfor i in range(8):\n    time.sleep(0.06)\n    print(f'it {i} loss {1 / (i + 1):.3f}')\n"
    )
    values = {
        "name": "c",
        "repeats": 1,
        "setting": {
            "command": f"python {script} --batch {{batch_per_device}}",
            "step_pattern": r"it (?P<step>\d+) loss (?P<loss>[\d.]+)",
            "warmup_steps": 1,
        },
        "over": {"batch_per_device": [4, 8]},
    }
    runs = wattlaw.sweep(values, out=tmp_path)
    assert [r.state for r in runs] == ["done", "done"]
    for run in runs:
        assert run.quantities["steps"].value == 6
        assert run.quantities["samples"].value == 6 * run.setting.batch_per_device
        assert run.quantities["loss_last"].value < run.quantities["loss_first"].value


def test_a_command_that_uses_measure_records_its_own_steps(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import time, wattlaw\n"
        "with wattlaw.measure() as m:\n"
        "    for i in range(9):\n"
        "        time.sleep(0.02)\n"
        "        m.step(samples=3)\n"
    )
    values = {
        "name": "m",
        "repeats": 1,
        "setting": {"command": f"{sys.executable} {script}", "warmup_steps": 2},
    }
    run = wattlaw.sweep(values, out=tmp_path)[0]
    assert run.state == "done", run.error
    assert run.quantities["samples"].value == pytest.approx(3 * run.quantities["steps"].value)
    assert run.quantities["steps"].value >= 6


def test_a_command_that_fails_is_recorded_with_the_end_of_its_output(tmp_path):
    values = {
        "name": "f",
        "repeats": 1,
        "setting": {"command": "python -c 'print(41); raise SystemExit(3)'"},
    }
    run = wattlaw.sweep(values, out=tmp_path)[0]
    assert run.state == "failed"
    assert "exit code 3" in run.error
    assert "41" in run.error


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"workload": "shnet"}, UnknownNameError, "did you mean 'schnet'"),
        ({"workload": "schnet", "preset": "tinny"}, UnknownNameError, "did you mean 'tiny'"),
        ({"workload": "schnet", "batch_per_devise": 4}, UnknownNameError, "batch_per_device"),
        ({"workload": "schnet", "batch_per_device": 0}, SettingError, "at least 1"),
        ({"workload": "schnet", "devices": 4000}, SettingError, "this machine has"),
        ({"workload": "schnet", "nodes": 2, "devices": 2}, SettingError, "Slurm"),
        (
            {"workload": "schnet", "power_cap_w": 150, "device_type": "cpu"},
            SettingError,
            "set on GPUs",
        ),
        ({"workload": "schnet", "accumulation": 0}, SettingError, "at least 1"),
        ({"command": "python t.py {bach}"}, UnknownNameError, "placeholder"),
        (
            {"command": "python t.py", "step_pattern": "("},
            SettingError,
            "not a valid regular expression",
        ),
    ],
)
def test_an_impossible_setting_is_refused_before_anything_runs(tmp_path, setting, error, message):
    with pytest.raises(error, match=message):
        wattlaw.sweep({"name": "x", "setting": setting}, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_command_gets_no_rank_variables_from_wattlaw(tmp_path):
    code = "import os; raise SystemExit(any(n in os.environ for n in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')))"
    run = wattlaw.sweep(
        {"name": "e", "repeats": 1, "setting": {"command": f'python -c "{code}"'}}, out=tmp_path
    )[0]
    assert run.state == "done", run.error


def test_a_users_file_named_like_a_standard_module_does_not_affect_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue.py").write_text("raise RuntimeError('not this one')\n")
    run = wattlaw.run("own:Line", out=tmp_path / "runs", **SMALL)[0]
    assert run.state == "done", run.error


def test_a_failed_run_runs_again_on_request(tmp_path, monkeypatch):
    file = tmp_path / "mended.py"
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{tmp_path}")
    file.write_text("from own import Diverges as Model\n")
    assert wattlaw.run("mended:Model", out=tmp_path / "runs", **SMALL)[0].state == "failed"
    file.write_text("from own import Line as Model\n")
    again = wattlaw.run("mended:Model", out=tmp_path / "runs", **SMALL)[0]
    assert (again.state, again.attempt) == ("done", 2)


def test_a_sweep_given_in_python_is_saved_as_an_equivalent_file(tmp_path):
    stop = wattlaw.Stop(steps=3)
    run = wattlaw.run(
        "own:Line", out=tmp_path, stop=stop, batch_per_device=None, threads=1, warmup_steps=0
    )[0]
    assert run.state == "done", run.error
    kept = settings(read_sweep(tmp_path / "run" / "sweep.toml"))
    assert kept == [run.setting]


def test_a_swept_name_that_the_command_does_not_use_is_refused(tmp_path):
    values = {
        "name": "x",
        "setting": {"command": "python t.py"},
        "over": {"batch_per_device": [1, 2]},
    }
    with pytest.raises(SettingError, match="changes nothing"):
        wattlaw.sweep(values, out=tmp_path)
