"""The section of the report on evaluations and targets."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from tests.factory import trial_run as run

from wattlaw.core.reading import measured, missing
from wattlaw.core.run_folder import write_run
from wattlaw.core.setting import Stop, Target
from wattlaw.measuring.files.rank_files import Evaluated, note_metrics
from wattlaw.report.context import Context
from wattlaw.report.sections.learning_curves import learning

pytest.importorskip("altair")

STOP = Stop(steps=40, target=Target("mae_mev", below=60.0))
MADE_UP = ((320, 90.0), (640, 75.0), (960, 58.0))


def evaluated(folder, devices, is_met):
    """Write and return a synthetic run with three evaluations."""
    plain = run(devices=devices)
    learned = {"valid_mae_mev": measured(58.0 if is_met else 75.0)}
    learned |= {"target_time_s": measured(12.0) if is_met else missing("the target was not met")}
    setting = msgspec.structs.replace(plain.setting, stop=STOP)
    found = msgspec.structs.replace(plain, setting=setting, quantities=plain.quantities | learned)
    attempt = folder / found.sweep / found.trial / "attempt-1"
    attempt.mkdir(parents=True)
    for samples, value in MADE_UP if is_met else MADE_UP[:2]:
        note_metrics(attempt, Evaluated(samples // 32, samples, 1.0, 196, {"mae_mev": value}))
    write_run(attempt.parent, found)
    return found


def test_each_evaluation_is_a_point_and_a_missed_target_is_reported(tmp_path):
    runs = [evaluated(tmp_path, 1, True), evaluated(tmp_path, 2, False)]
    section = learning(Context(runs, folder=tmp_path))
    (figure,) = section.figures
    (panel,) = figure.panels
    values = set(re.findall(r'"value": ([0-9.]+)', json.dumps(panel.spec)))
    assert values == {"90.0", "75.0", "58.0", "60.0"}, "the evaluations and the target"
    cells = [dict(zip(figure.table.columns, row, strict=True)) for row in figure.table.rows]
    assert [c["mae mev"] for c in cells] == ["58 meV", "75 meV"]
    assert [c["time to target"] for c in cells] == ["12 s", "not met"]


def test_runs_without_evaluation_have_no_learning_section():
    assert learning(Context([run()])) is None
