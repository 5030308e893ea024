"""Trials that are killed in the middle and go on from their checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wattlaw
from tests.runner.test_trials import steps

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
    """Start a run and kill its runner once a checkpoint of ``step`` steps or more is there."""
    process = subprocess.Popen(
        command, env={**os.environ, "TEST_STEP_S": str(STEP_S)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not any(int(p.name[11:]) >= step for p in out.rglob("checkpoint-*")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until, "it wrote no checkpoint"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def losses(out, run, ranks=1):
    """Return rank 0's loss of each step; the last attempt counts where two took the same."""
    found = {}
    for attempt in sorted(Path(out, "run", run.trial).glob("attempt-*")):
        for rank in range(ranks):
            rows = (attempt / f"steps-{rank}.csv").read_text().splitlines()[1:]
            found |= {(rank, int(r.split(",")[0])): r.split(",")[5] for r in rows if r.count(",") == 10}
    return found


@pytest.mark.parametrize(
    ("workload", "more", "devices"),
    [
        ("own:SlowSchNet", ("schedule=cosine", "schedule_warmup=4"), 1),
        ("own:SlowBert", ("clip_norm=1", "evaluate_every=5", "evaluate_samples=16"), 1),
        ("own:Noisy", ("loader_workers=2", "accumulation=2"), 1),
        ("own:Noisy", (), 2),
    ],
)
def test_a_killed_trial_goes_on_to_the_same_losses_to_the_last_bit(tmp_path, workload, more, devices):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [*words(workload, killed, *more), "--devices", str(devices)]
    killed_at(command, killed, 7)
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    subprocess.run([*words(workload, whole, *more), "--devices", str(devices)], check=True, capture_output=True)
    (again,), (straight,) = wattlaw.load_runs(killed), wattlaw.load_runs(whole)
    assert (again.attempt, straight.attempt) == (2, 1)
    first = int(steps(killed, again)[0]["step"])
    assert first in (7, 12, 17), "it went on where the checkpoint was"
    expected = losses(whole, straight, devices)
    assert len(expected) == 22 * devices
    assert losses(killed, again, devices) == expected
    assert not list(tmp_path.rglob("checkpoint-*")), "a trial that is done needs none"
