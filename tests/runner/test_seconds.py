"""Trials with a stop in seconds."""

from __future__ import annotations

import pytest
import torch

import wattlaw
from tests.runner.step_rows import steps
from wattlaw.core.errors import SettingError
from wattlaw.core.setting import Setting, Stop, setting_from
from wattlaw.runner.worker.device_timer import Clock
from wattlaw.runner.worker.loop import Loop, steps_to_take
from wattlaw.workloads.base import Workload


class Rows(list):
    def append(self, step, warmup, start_s, end_s, *rest):
        super().append((step, warmup, start_s, end_s))


class Told(Clock):
    """A clock advanced by the workload, so that steps have a set length on any machine."""

    def __init__(self):
        self.now = 0.0

    def mark(self):
        return self.now

    def passed(self, mark):
        return True

    def seconds(self, mark):
        return mark

    def synchronise(self):
        return


class Paced(Workload):
    """Steps that first take 0.01 s and later 0.03 s."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def model(self):
        return torch.nn.Linear(1, 1)

    def data(self, split):
        return torch.utils.data.TensorDataset(torch.ones(64_000, 1))

    def collate(self, samples):
        return torch.ones(len(samples), 1)

    def loss(self, model, batch):
        self.clock.now += 0.01 if self.clock.now < 1 else 0.03
        return model(batch).square().mean()


def train(stop):
    clock, rows = Told(), Rows()
    setting = Setting("paced", batch_per_device=1, stop=stop, warmup_steps=5)
    loop = Loop(setting, Paced(clock), torch.device("cpu"), clock, rows)
    loop.train()
    return rows, loop.trainer.batches.position


@pytest.mark.parametrize("seconds", [0.4, 2.0, 5.0])
def test_a_stop_in_seconds_is_kept_to_half_a_step(seconds):
    rows, _ = train(Stop(seconds=seconds))
    counted = [r for r in rows if not r[1]]
    assert counted[-1][3] - counted[0][2] == pytest.approx(seconds, abs=0.0151)


def test_steps_of_a_stop_in_seconds_are_numbered_once_and_pass_over_the_data_once():
    rows, position = train(Stop(seconds=0.5))
    assert [r[0] for r in rows] == list(range(len(rows)))
    assert [r[1] for r in rows[:6]] == [True] * 5 + [False]
    assert position == (0, len(rows))


@pytest.mark.parametrize("stop", [Stop(steps=7, seconds=100.0), Stop(steps=7)])
def test_the_earlier_of_steps_and_seconds_ends_a_trial(stop):
    assert len(train(stop)[0]) == 5 + 7


def test_the_clock_is_read_at_growing_intervals_of_at_most_a_second():
    reads = [(0, 0.0), (1, 0.001)]
    while more := steps_to_take(reads, None, 10.0):
        done = reads[-1][0] + more
        reads.append((done, done * 0.001))
    assert len(reads) <= 23
    assert reads[-1][1] == pytest.approx(10.0, abs=0.0005)


def test_ranks_agree_on_the_last_step_of_a_stop_in_seconds(tmp_path):
    options = {
        "stop": {"seconds": 0.3},
        "batch_per_device": 8,
        "threads": 1,
        "loader_workers": 1,
        "warmup_steps": 2,
    }
    run = wattlaw.run("own:Line", out=tmp_path, devices=2, **options)[0]
    assert run.state == "done", run.error
    numbers = [[int(r["step"]) for r in steps(tmp_path, run, rank)] for rank in (0, 1)]
    assert numbers[0] == numbers[1] == list(range(len(numbers[0])))
    assert run.quantities["elapsed_s"].value >= 0.25


@pytest.mark.parametrize(
    "stop", [{"seconds": float("inf")}, {"epochs": float("inf")}, {"seconds": float("nan")}]
)
def test_a_stop_that_never_happens_is_refused(stop):
    with pytest.raises(SettingError, match="finite"):
        setting_from({"workload": "schnet", "stop": stop})
