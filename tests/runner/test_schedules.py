"""Learning rate schedules, and scaling with the batch."""

from __future__ import annotations

import pytest
import torch

from wattlaw.core.errors import SettingError, TrialError, UnknownNameError
from wattlaw.core.options import TRAINING, training_options
from wattlaw.core.setting import setting_from
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.loop import Loop
from wattlaw.runner.worker.schedule import Plateau, factor_of, scaling, scheduler
from wattlaw.workloads.base import Workload


def shares(steps, **options):
    share = factor_of({**TRAINING, **options}, steps)
    return [share(k) for k in range(steps + 1)]


def test_warm_up_rises_linearly_to_the_full_rate():
    assert shares(8, schedule_warmup=4) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1])


def test_cosine_and_linear_reach_their_end_at_the_last_step():
    cosine, linear = shares(10, schedule="cosine", schedule_end=0.1), shares(10, schedule="linear")
    assert (cosine[0], cosine[5], cosine[10]) == pytest.approx((1, 0.55, 0.1))
    assert linear == pytest.approx([1 - k / 10 for k in range(11)])


def test_the_cosine_schedule_equals_that_of_torch():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    ours, theirs = (torch.optim.SGD([w], lr=0.3) for w in weights)
    mine = scheduler(ours, {**TRAINING, "schedule": "cosine"}, 20)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 20)
    for _ in range(20):
        assert mine.get_last_lr() == pytest.approx(reference.get_last_lr(), abs=1e-12)
        for optimiser, schedule in ((ours, mine), (theirs, reference)):
            optimiser.step()
            schedule.step()


def test_the_step_schedule_multiplies_the_rate_at_regular_steps():
    assert shares(6, schedule="step", schedule_every=2, schedule_factor=0.5) == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
        0.125,
    ]


def test_a_plateau_lowers_the_rate_as_torch_does():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    ours, theirs = (torch.optim.SGD([w], lr=0.3) for w in weights)
    options = {
        **TRAINING,
        "schedule": "plateau",
        "schedule_factor": 0.5,
        "schedule_patience": 2,
        "schedule_end": 0.1,
    }
    mine = scheduler(ours, options, None)
    plateau = Plateau(ours, mine, options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, factor=0.5, patience=2, min_lr=0.03
    )
    draw = torch.Generator().manual_seed(3)
    for value in (torch.rand(60, generator=draw) + torch.linspace(1, 0, 60)).tolist():
        plateau.look({"loss": value, "other": 0.0})
        reference.step(value)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-12)
        ours.step()
        mine.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(0.03)


def test_a_plateau_accepts_metrics_to_maximise_and_names_an_unknown_one():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    def share(metric, name):
        options = {
            **TRAINING,
            "schedule": "plateau",
            "schedule_patience": 0,
            "schedule_metric": metric,
        }
        plateau = Plateau(optimiser, scheduler(optimiser, options, None), options)
        for value in (0.1, 0.2, 0.3):
            plateau.look({name: value})
        return plateau.share

    assert share("", "top1") == share("-auc", "auc") == 1
    assert share("", "loss") == pytest.approx(0.01)
    with pytest.raises(TrialError, match="the plateau's metric is auc; this workload has loss"):
        share("auc", "loss")


def test_the_rate_grows_with_the_batch_or_with_its_root():
    assert scaling("none", 256, 32) == 1
    assert scaling("linear", 256, 32) == 8
    assert scaling("sqrt", 128, 32) == 2
    with pytest.raises(SettingError, match="batch"):
        scaling("linear", 256, None)


class Flat(Workload):
    """One weight with a gradient of 3, so that a step changes it by the learning rate alone."""

    batch = {"base": 4}  # noqa: RUF012

    def model(self):
        return torch.nn.Linear(1, 1, bias=False)

    def data(self, split):
        return torch.utils.data.TensorDataset(torch.ones(64, 1))

    def loss(self, model, batch):
        return 3 * model(batch[0]).mean()

    def optimiser(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)


class NoRows:
    def append(self, *row):
        return

    def flush(self):
        return


def moved(workload=None, **options):
    setting = setting_from({"workload": "flat", "stop": {"steps": 2}, "warmup_steps": 0, **options})
    loop = Loop(setting, workload or Flat(), torch.device("cpu"), HostClock(), NoRows())
    before = float(loop.trainer.bare.weight.detach())
    loop.train()
    return before - float(loop.trainer.bare.weight.detach())


def test_the_loop_uses_the_requested_learning_rate():
    assert moved() == pytest.approx(2 * 0.1 * 3, rel=1e-4)
    assert moved(learning_rate=0.2) == pytest.approx(2 * 0.2 * 3, rel=1e-4)
    assert moved(learning_rate_scaling="linear", batch_per_device=8) == pytest.approx(
        2 * 0.2 * 3, rel=1e-4
    )
    assert moved(learning_rate_scaling="linear", accumulation=4) == pytest.approx(
        2 * 0.4 * 3, rel=1e-4
    )
    assert moved(schedule="linear") == pytest.approx((1 + 0.5) * 0.1 * 3, rel=1e-4)


class Clipped(Flat):
    clip_norm = 2.0


def test_gradients_are_clipped_as_requested_or_as_published():
    assert moved(clip_norm=1) == pytest.approx(2 * 0.1 * 1, rel=1e-4)
    assert moved(Clipped()) == pytest.approx(2 * 0.1 * 2, rel=1e-4)
    assert moved(Clipped(), clip_norm=1) == pytest.approx(2 * 0.1 * 1, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schedule": "cosin"}, UnknownNameError, "did you mean 'cosine'"),
        ({"learning_rate_scaling": "root"}, UnknownNameError, "sqrt"),
        ({"schedule": "step"}, SettingError, "schedule_every"),
        ({"schedule": "cosine", "stop": {"seconds": 5}}, SettingError, "schedule_steps"),
        ({"schedule": "plateau"}, SettingError, "evaluate_every"),
        (
            {"schedule": "plateau", "evaluate_every": 1, "schedule_factor": 1.0},
            SettingError,
            "between 0 and 1",
        ),
        ({"clip_norm": -1}, SettingError, "negative"),
        (
            {"stop": {"steps": 5, "target": {"metric": "loss", "below": 1}}},
            SettingError,
            "evaluate_every",
        ),
    ],
)
def test_an_impossible_schedule_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        training_options(setting_from({"workload": "schnet", **options}))
