"""Evaluation, targets and saved models of trials in real processes."""

from __future__ import annotations

import csv
import json
import sys

import pytest

import wattlaw
from tests.runner.conftest import HERE, SRC
from tests.runner.step_rows import steps
from wattlaw.measuring.files.rank_files import read_metrics, read_pauses
from wattlaw.runner.worker.evaluation import shares

pytest.importorskip("safetensors")

SMALL = {"stop": {"steps": 6}, "warmup_steps": 2, "threads": 1}


def attempt(out, run):
    return out / "run" / run.trial / f"attempt-{run.attempt}"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return a trial on one device, the same without evaluation, and on two devices, by name."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{SRC}:{HERE}")
        options = {**SMALL, "out": out}
        every = {"evaluate_every": 2, "save_model": True}
        found = {
            "one": wattlaw.run("own:Noisy", batch_per_device=16, **options, **every)[-1],
            "plain": wattlaw.run("own:Noisy", batch_per_device=16, **options)[-1],
            "two": wattlaw.run("own:Noisy", devices=2, batch_per_device=8, **options, **every)[-1],
        }
    assert all(run.state == "done" for run in found.values()), [run.error for run in found.values()]
    return out, found


def test_a_trial_is_evaluated_at_regular_steps_on_the_whole_validation_split(evaluated):
    out, found = evaluated
    for name in ("one", "two"):
        rows = read_metrics(attempt(out, found[name]))
        assert [r.step for r in rows] == [3, 5, 7]
        assert [r.trained_samples for r in rows] == [64, 96, 128]
        assert {r.evaluated_samples for r in rows} == {53}
        assert found[name].reading("valid_loss").value == rows[-1].metrics["loss"]


def test_evaluating_changes_no_step_of_the_training(evaluated):
    out, found = evaluated
    losses = [[r["loss"] for r in steps(out, found[name])] for name in ("one", "plain")]
    assert losses[0] == losses[1]
    assert "evaluation_s" not in found["plain"].quantities
    assert not (attempt(out, found["plain"]) / "metrics.csv").exists()


def test_pauses_are_not_part_of_any_step_or_rate(evaluated):
    out, found = evaluated
    run = found["one"]
    pauses = read_pauses(attempt(out, run))
    assert [p.kind for p in pauses] == ["evaluation"] * 3 + ["saving"]
    rows = [(float(r["start_s"]), float(r["end_s"])) for r in steps(out, run)]
    for pause in pauses:
        assert all(
            end <= pause.start_s + 2e-6 or start >= pause.end_s - 2e-6 for start, end in rows
        )
    counted = rows[2:]
    inside = sum(p.end_s - p.start_s for p in pauses if p.end_s < counted[-1][1])
    elapsed = run.reading("elapsed_s").value
    assert elapsed == pytest.approx(counted[-1][1] - counted[0][0] - inside, abs=1e-5)
    assert run.reading("samples_per_s").value == pytest.approx(6 * 16 / elapsed)
    assert run.reading("evaluation_s").value == pytest.approx(
        sum(p.end_s - p.start_s for p in pauses if p.kind == "evaluation")
    )


def test_the_perplexity_of_several_ranks_is_that_of_their_mean_loss(evaluated):
    _, found = evaluated
    for name in ("one", "two"):
        loss, perplexity = (found[name].reading(f"valid_{n}").value for n in ("loss", "perplexity"))
        assert perplexity == pytest.approx(2.718281828459045**loss, rel=1e-5)


@pytest.mark.parametrize(
    ("samples", "batch", "ranks"), [(53, 8, 1), (53, 8, 2), (7, 3, 4), (2, 8, 3), (64, 8, 4)]
)
def test_ranks_have_equally_many_batches_and_every_sample_once(samples, batch, ranks):
    parts = shares(samples, batch, ranks)
    assert len(parts) % ranks == 0
    assert sorted(i for part in parts for i in part) == list(range(samples))
    assert max(map(len, parts)) <= batch
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.fixture
def importable(monkeypatch):
    """Make the workloads of the tests importable for one test."""
    monkeypatch.syspath_prepend(str(HERE))
    yield
    sys.modules.pop("own", None)


def test_a_saved_model_is_loaded_in_one_line_and_has_the_recorded_metric(evaluated, importable):
    out, found = evaluated
    for name in ("one", "two"):
        workload, model = wattlaw.load_model(out / "run" / found[name].trial, trust=True)
        data = workload.data("valid")
        again = workload.evaluate(model, [workload.collate([data[i] for i in range(len(data))])])
        assert again["loss"] == pytest.approx(found[name].reading("valid_loss").value, rel=1e-5)


def test_a_trial_stops_at_its_target_and_records_time_and_samples_to_it(tmp_path):
    stop = {"steps": 200, "target": {"metric": "loss", "below": 0.5}}
    options = {**SMALL, "stop": stop, "batch_per_device": 16, "evaluate_every": 5}
    run = wattlaw.run("own:Line", out=tmp_path, **options)[0]
    rows = read_metrics(attempt(tmp_path, run))
    assert [r.metrics["loss"] < 0.5 for r in rows] == [False] * (len(rows) - 1) + [True]
    assert run.reading("target_steps").value == rows[-1].step + 1 == len(steps(tmp_path, run)) < 202
    assert run.reading("target_samples").value == 16 * (rows[-1].step + 1)
    table = list(csv.DictReader((attempt(tmp_path, run) / "steps-0.csv").read_text().splitlines()))
    took = sum(float(r["end_s"]) - float(r["start_s"]) for r in table)
    assert run.reading("target_time_s").value >= took - 1e-4
    energy = run.reading("target_cpu_energy_j")
    assert energy.status != "missing" or "below the system's tick" in energy.how
    assert "target_not_met" not in {n.name for n in run.warnings}


def test_a_missed_target_is_reported(tmp_path):
    stop = {"steps": 4, "target": {"metric": "loss", "below": 1e-9}}
    run = wattlaw.run("own:Line", out=tmp_path, **{**SMALL, "stop": stop, "evaluate_every": 2})[0]
    assert run.state == "done"
    (note,) = [n for n in run.warnings if n.name == "target_not_met"]
    assert "the target loss below 1e-09 was not met in 6 steps; the nearest was" in note.message
    for name in ("target_time_s", "target_samples", "target_cpu_energy_j"):
        assert run.reading(name).value is None
        assert "was not met" in run.reading(name).how
    raw = json.loads((tmp_path / "run" / run.trial / "summary.json").read_text())
    assert raw["setting"]["stop"]["target"] == {"metric": "loss", "below": 1e-9}


def test_an_unknown_target_metric_ends_the_trial_before_its_first_step(
    tmp_path,
):
    stop = {"steps": 4, "target": {"metric": "mae", "below": 1}}
    run = wattlaw.run("own:Line", out=tmp_path, **{**SMALL, "stop": stop, "evaluate_every": 2})[0]
    assert run.state == "failed"
    assert "the target's metric is mae; this workload has loss" in run.error
