"""CodeCarbon's rows: which are runs of their own, and which energies a sensor measured."""

from __future__ import annotations

import pytest

from wattlaw.importers.importer import import_runs

HEADER = (
    "task_name,timestamp,project_name,run_id,duration,cpu_energy,gpu_energy,ram_energy,"
    "gpu_count,gpu_model,tracking_mode,pue"
)


def row(time, seconds, run_id="a1", task="", kwh=0.05, gpu="1 x NVIDIA A100", pue="1.0"):
    return f"{task},2026-01-{time},net,{run_id},{seconds},0.01,{kwh},0.001,1,{gpu},machine,{pue}"


def imported(tmp_path, *rows):
    (path := tmp_path / "emissions.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return import_runs("codecarbon", path).runs


def test_each_task_of_a_tracker_is_a_run(tmp_path):
    runs = imported(
        tmp_path,
        row("01T10:01:00", 60, task="load", kwh=0.002),
        row("01T10:11:00", 600, task="train", kwh=0.05),
        row("01T10:12:00", 60, task="test", kwh=0.003),
    )
    assert [run.trial for run in runs] == ["a1-load", "a1-train", "a1-test"]
    assert [run.setting.options["task"] for run in runs] == ["load", "train", "test"]
    assert sum(run.quantities["gpu_energy_j"].value for run in runs) == pytest.approx(198_000)
    assert runs[1].started == "2026-01-01T10:01:00"


@pytest.mark.parametrize("run_id", ["None", "", "nan", "again"])
def test_rows_of_other_days_are_other_runs_whatever_their_run_id(tmp_path, run_id):
    times = ("01T10:10:00", "02T10:05:00", "03T10:20:00")
    runs = imported(tmp_path, *[row(time, 300, run_id) for time in times])
    assert len(runs) == 3
    assert len({run.trial for run in runs}) == 3


def test_flushes_of_one_tracker_are_one_run(tmp_path):
    runs = imported(tmp_path, row("01T10:01:00", 60), row("01T10:10:00", 600))
    assert [run.quantities["elapsed_s"].value for run in runs] == [600]


def test_energies_of_apple_silicon_are_estimates_and_its_gpu_is_no_cuda_device(tmp_path):
    (run,) = imported(tmp_path, row("01T10:10:00", 600, gpu="Apple M1"))
    assert run.machine.device_type == "mps"
    assert run.quantities["gpu_energy_j"].status == "estimated"
    assert "powermetrics" in run.quantities["gpu_energy_j"].how


def test_energies_are_those_of_the_devices_without_the_pue(tmp_path):
    (run,) = imported(tmp_path, row("01T10:10:00", 600, kwh=0.075, pue="1.5"))
    assert run.quantities["gpu_energy_j"].value == pytest.approx(180_000)
    assert run.quantities["cpu_energy_j"].value == pytest.approx(24_000)
    assert "PUE 1.5" in run.quantities["gpu_energy_j"].how
