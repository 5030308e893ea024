"""Trials that are killed during training and resume from their checkpoint."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import wattlaw
from tests.runner.step_rows import steps
from wattlaw.core.errors import TrialError
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.core.setting import setting_from
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.full_state import full_optimiser_state, load_full_optimiser_state
from wattlaw.runner.worker.loop import Loop

pytest.importorskip("safetensors")

STEP_S = 0.05


def words(workload, out, *more):
    chosen = [x for o in ("threads=1", "checkpoint_every=5", *more) for x in ("--option", o)]
    size = ["--preset", "tiny"] if "Slow" in workload else []
    return [
        sys.executable, "-m", "wattlaw", "run", workload, *size, "--batch", "8", "--steps", "20",
        "--warmup-steps", "2", "-o", str(out), *chosen,
    ]  # fmt: skip


def killed_at(command, out, step):
    """Start a run and kill its runner after a checkpoint of at least ``step`` steps."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "TEST_STEP_S": str(STEP_S)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not any(int(p.name[11:]) >= step for p in out.rglob("checkpoint-*")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until, "it wrote no checkpoint"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def losses(out, run, ranks=1):
    """Return the loss of rank 0 at each step, of the last attempt that took the step."""
    found = {}
    for attempt in sorted(Path(out, "run", run.trial).glob("attempt-*")):
        for rank in range(ranks):
            rows = (attempt / f"steps-{rank}.csv").read_text().splitlines()[1:]
            found |= {
                (rank, int(r.split(",")[0])): r.split(",")[5] for r in rows if r.count(",") == 10
            }
    return found


@pytest.mark.parametrize(
    ("workload", "more", "devices"),
    [
        (
            "own:SlowBert",
            ("clip_norm=1", "evaluate_every=5", "evaluate_samples=16", "schedule=cosine"),
            1,
        ),
        pytest.param(
            "own:SlowSchNet", ("schedule=step", "schedule_every=4"), 1, marks=pytest.mark.full
        ),
        pytest.param(
            "own:Noisy", ("loader_workers=2", "accumulation=2"), 1, marks=pytest.mark.full
        ),
        pytest.param("own:Noisy", (), 2, marks=pytest.mark.full),
        pytest.param("own:SlowBert", ("strategy=fsdp",), 2, marks=pytest.mark.full),
    ],
)
def test_a_killed_trial_resumes_with_bit_identical_losses(tmp_path, workload, more, devices):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [*words(workload, killed, *more), "--devices", str(devices)]
    killed_at(command, killed, 7)
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    subprocess.run(
        [*words(workload, whole, *more), "--devices", str(devices)], check=True, capture_output=True
    )
    (again,), (straight,) = wattlaw.load_runs(killed), wattlaw.load_runs(whole)
    assert (again.attempt, straight.attempt) == (2, 1)
    first = int(steps(killed, again)[0]["step"])
    assert first in (7, 12, 17), "it went on where the checkpoint was"
    expected = losses(whole, straight, devices)
    assert len(expected) == 22 * devices
    assert losses(killed, again, devices) == expected
    assert not list(tmp_path.rglob("checkpoint-*")), "a trial that is done needs none"
    check_costs(killed, again, first)


def check_costs(out, run, first):
    """Check that the record names the resumed attempt and adds up both."""
    assert [n.name for n in run.warnings].count("resumed") == 1
    taken = [
        list(
            csv.DictReader(
                (out / "run" / run.trial / f"attempt-{k}" / "steps-0.csv").read_text().splitlines()
            )
        )
        for k in (1, 2)
    ]
    assert int(taken[1][0]["step"]) == first
    assert int(taken[0][-1]["step"]) >= first - 1, (
        "no row of a step that is not taken again was lost"
    )
    assert run.reading("all_attempts_steps").value == sum(map(len, taken))
    assert run.reading("steps").value < len(taken[1]), "its warm-up steps enter no rate"
    whole = run.reading("all_attempts_time_s").value
    # the time of several ranks starts with the first step of the last rank
    spent = sum(float(r["end_s"]) - float(r["start_s"]) for rows in taken for r in rows[1:])
    assert spent <= whole
    energy = run.reading("all_attempts_cpu_energy_j")
    assert energy.value is None or energy.value > run.reading("cpu_energy_j").value


class Rows(dict):
    def append(self, step, warmup, start_s, end_s, samples, loss, *phases):
        self[step] = loss

    def flush(self):
        return


LINEAR = {"schedule": "linear", "schedule_steps": 6, "loader_workers": 1}


def trained(name, attempt, steps, resume=None, precision="fp32", **options):
    """Return the losses of a small workload, and leave a checkpoint if more steps follow."""
    attempt.mkdir(exist_ok=True)
    kind = load(WORKLOADS, name)
    preset = "tiny" if "tiny" in kind.presets else "base"
    options = {"checkpoint_every": 3, **(options or LINEAR)}
    setting = setting_from({"workload": name, "preset": preset, "batch_per_device": 8, "warmup_steps": 0,
                            "precision": precision, "stop": {"steps": steps}, "options": options})  # fmt: skip
    rows = Rows()
    made = kind(preset)
    Loop(setting, made, torch.device("cpu"), HostClock(), rows, attempt).train(resume)
    return rows


@pytest.mark.parametrize("name", ["schnet", "painn-forces", "resnet50", "gpt2"])
def test_a_checkpoint_restores_every_number_of_a_training(tmp_path, name):
    torch.set_num_threads(1)
    whole = trained(name, tmp_path / "whole", 6)
    torch.rand(17)  # whatever else drew in between
    again = trained(name, tmp_path / "again", 6, tmp_path / "whole" / "checkpoint-3")
    assert list(again) == [3, 4, 5]
    assert {step: whole[step] for step in again} == dict(again)


PLATEAU = {
    "schedule": "plateau",
    "schedule_patience": 0,
    "evaluate_every": 1,
    "evaluate_samples": 8,
}


@pytest.mark.parametrize(
    ("name", "precision", "options"),
    [
        (
            "Noisy",
            "fp32",
            {**PLATEAU, "schedule_warmup": 2, "schedule_metric": "-loss", "accumulation": 2},
        ),
        ("SlowBert", "fp16", {**PLATEAU, "clip_norm": 0.1}),
        (
            "SlowBert",
            "bf16",
            {"activation_checkpointing": True, "accumulation": 2, "schedule": "cosine"},
        ),
        pytest.param(
            "SlowBert", "fp32", {"compile": True, "schedule": "cosine"}, marks=pytest.mark.full
        ),
        pytest.param(
            "Noisy",
            "bf16",
            {"compile": True, "loader_workers": 2, **PLATEAU},
            marks=pytest.mark.full,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_checkpoint_restores_scaler_schedules_and_random_numbers(
    tmp_path, name, precision, options
):
    torch.set_num_threads(1)
    name = f"tests.runner.own:{name}"
    whole = trained(name, tmp_path / "whole", 8, None, precision, **options)
    torch.rand(17)
    again = trained(
        name, tmp_path / "again", 8, tmp_path / "whole" / "checkpoint-6", precision, **options
    )
    assert list(again) == [6, 7]
    assert {step: whole[step] for step in again} == dict(again)
    weights = [(tmp_path / k / "metrics.csv") for k in ("whole", "again")]
    if "evaluate_every" in options:
        found = [path.read_text().splitlines()[-1].split(",") for path in weights]
        assert found[0][0] == found[1][0]
        assert found[0][3:] == found[1][3:]


def test_a_restored_optimiser_state_has_the_memory_layout_of_its_parameter():
    made = load(WORKLOADS, "resnet50")("tiny")

    def optimiser():
        parameters = made.model().parameters()
        return torch.optim.SGD(parameters, 0.1, momentum=0.9)

    first, again = optimiser(), optimiser()
    for group in first.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.randn_like(parameter)
    first.step()
    saved = full_optimiser_state(first)
    for of in saved["state"].values():
        of["momentum_buffer"] = of["momentum_buffer"].contiguous()
    load_full_optimiser_state(again, saved)
    for parameter, of in again.state.items():
        assert of["momentum_buffer"].stride() == parameter.stride()
    kept = zip(first.state.values(), again.state.values(), strict=True)
    assert all(torch.equal(a["momentum_buffer"], b["momentum_buffer"]) for a, b in kept)


def test_a_restored_plateau_keeps_the_reduced_rate(tmp_path):
    # a metric to maximise that falls: each evaluation but the first divides the rate by ten
    options = {**PLATEAU, "schedule_metric": "-loss"}
    trained("tests.runner.own:Line", tmp_path / "whole", 5, **options)
    (found,) = (tmp_path / "whole").glob("checkpoint-*")
    state = json.loads((found / "checkpoint.json").read_text())
    assert state["plateau"]["share"] == pytest.approx(0.01)
    assert state["groups"][0]["lr"] == pytest.approx(0.05 * 0.01)


def test_a_damaged_checkpoint_is_named(tmp_path):
    trained("schnet", tmp_path, 6)
    weights = tmp_path / "checkpoint-3" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(TrialError, match="checkpoint-3 is damaged"):
        trained("schnet", tmp_path, 6, tmp_path / "checkpoint-3")


def test_a_checkpoint_is_plain_files_without_pickles(tmp_path):
    trained("schnet", tmp_path, 6)
    (found,) = tmp_path.glob("checkpoint-*")
    files = sorted(p.name for p in found.iterdir())
    assert files == [
        "checkpoint.json",
        "model.safetensors",
        "optimiser.safetensors",
        "rank-0.json",
        "rank-0.safetensors",
    ]
    for path in found.glob("*.json"):
        json.loads(path.read_text())
