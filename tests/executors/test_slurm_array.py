"""Prepared trials as a job array of a real Slurm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.real_slurm import running

pytestmark = pytest.mark.full

SRC = Path(__file__).parents[2] / "src"

SWEEP = """
name = "naps"
repeats = 2
[setting]
command = "sleep {nap}"
[over]
nap = [0.1, 0.2]
"""


def test_an_array_of_workers_runs_each_prepared_trial_once(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    (tmp_path / "naps.toml").write_text(SWEEP)
    words = [sys.executable, "-m", "wattlaw", "sweep", "prepare", "naps.toml"]
    prepared = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    specs = prepared.stdout.split()
    assert len(specs) == 4
    # two tasks per trial: the second finds the result of the first, or waits for it
    (tmp_path / "specs.txt").write_text("\n".join([*specs, *specs]) + "\n")
    worker = f'{sys.executable} -m wattlaw worker "$(sed -n ${{SLURM_ARRAY_TASK_ID}}p specs.txt)"'
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        cluster.run(worker + "\n", tmp_path, dict(os.environ), "-n1 --array=1-8")
    records = [json.loads(p.read_text()) for p in tmp_path.glob("runs/naps/*/summary.json")]
    assert [record.get("state", "done") for record in records] == ["done"] * 4
    assert len(list(tmp_path.glob("runs/naps/*/attempt-*"))) == 4
    environment = json.loads(
        next(tmp_path.glob("runs/naps/*/attempt-1/environment.json")).read_text()
    )
    assert environment["scheduler"]["SLURM_ARRAY_JOB_ID"]
    assert not list(tmp_path.glob("runs/naps/.runners/*"))
