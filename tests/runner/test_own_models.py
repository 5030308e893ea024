"""A user's own workload class on several devices, and one-line errors for a wrong class."""

from __future__ import annotations

import csv

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import wattlaw
from tests.runner.own import Line
from wattlaw.core.errors import TrialError, UsageError
from wattlaw.core.setting import setting_from
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.loop import Loop
from wattlaw.runner.worker.user_class import workload_of

SMALL = {"stop": {"steps": 4}, "warmup_steps": 1, "threads": 1, "device_type": "cpu"}


def losses(out, name, devices, **options):
    """Return the mean loss of all devices at each step."""
    run = wattlaw.run(
        f"own:{name}", out=out, devices=devices, batch_per_device=4 // devices, **SMALL, **options
    )[-1]
    assert run.state == "done", run.error
    attempt = out / "run" / run.trial / f"attempt-{run.attempt}"
    rows = [
        list(csv.DictReader((attempt / f"steps-{r}.csv").read_text().splitlines()))
        for r in range(devices)
    ]
    return [sum(float(row["loss"]) for row in step) / devices for step in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("name", "options"),
    [("Parts", {}), ("Parts", {"strategy": "fsdp", "evaluate_every": 2}), ("Experts", {})],
    ids=["parts of a model", "parts of a sharded model", "parameters left out"],
)
def test_a_loss_may_use_only_parts_of_a_model_on_two_devices(tmp_path, name, options):
    assert losses(tmp_path, name, 2, **options) == pytest.approx(
        losses(tmp_path, name, 1), rel=1e-5
    )


def test_undeclared_unused_parameters_end_a_trial_on_two_devices_and_are_named(tmp_path):
    run = wattlaw.run("own:Idle", out=tmp_path, devices=2, batch_per_device=1, **SMALL)[-1]
    assert run.state == "failed"
    assert run.error.count("\n") == 1
    assert "2 parameters, such as " in run.error
    assert "set uses_all = False" in run.error


def test_unused_parameters_are_not_sharded_and_reported(tmp_path):
    run = wattlaw.run(
        "own:Experts", out=tmp_path, devices=2, batch_per_device=2, strategy="fsdp", **SMALL
    )[-1]
    assert run.state == "failed"
    assert run.error.count("\n") == 1
    assert "use strategy ddp" in run.error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Lonely", "is not a workload; derive it from wattlaw.workloads.base.Workload"),
        ("Unfinished", "lacks the methods data, loss"),
        (
            "Forgets",
            r"its __init__\(self, preset, options\) must call super\(\).__init__\(preset, options\)",
        ),
        ("Sized", 'its batch is 8; it must map presets to sizes, such as {"base": 32}'),
    ],
)
def test_a_class_that_does_not_implement_the_role_is_reported_in_one_line(name, message):
    with pytest.raises(TrialError, match=rf"own:{name}:? {message}"):
        workload_of(f"tests.runner.own:{name}", "base", {})


class Rows:
    def append(self, *row):
        return

    def flush(self):
        return


class Iterates(IterableDataset):
    def __iter__(self):
        yield torch.zeros(4)


LINES = TensorDataset(torch.zeros(64, 4), torch.zeros(64, 1))


@pytest.mark.parametrize(
    ("method", "gives", "message"),
    [
        (
            "model",
            lambda *_: None,
            r"Odd\.model\(\) returned nothing; it must be a torch\.nn\.Module",
        ),
        ("model", lambda *_: torch.nn.Identity(), "the model of Odd has no parameter to train"),
        (
            "data",
            lambda *_: Iterates(),
            r"Odd\.data\('train'\) returned a Iterates; .* __len__ and __getitem__",
        ),
        (
            "data",
            lambda *_: DataLoader(LINES),
            "returned a DataLoader; .* the runner makes the batches",
        ),
        ("data", lambda *_: None, "returned nothing; it must give single samples by number"),
        (
            "optimiser",
            lambda _, p: ([torch.optim.SGD(p, 0.1)], []),
            "returned a tuple; it must be one torch Optimizer",
        ),
        (
            "optimiser",
            lambda _, p: torch.optim.LBFGS(p),
            "LBFGS computes the loss several times per step",
        ),
        (
            "loss",
            lambda _, m, b: {"loss": m(b[0]).sum()},
            "returned a dict; it must be one number as a tensor",
        ),
        (
            "loss",
            lambda _, m, b: m(b[0]),
            r"returned a tensor of shape \(32, 1\); it must be one number",
        ),
        (
            "loss",
            lambda _, m, b: m(b[0]).sum().detach(),
            "depends on no trained parameter; is it detached",
        ),
        ("loss", lambda *_: None, "returned nothing; it must be one number as a tensor"),
    ],
)
def test_a_class_that_returns_a_wrong_type_is_reported_in_one_line(method, gives, message):
    odd = type("Odd", (Line,), {method: gives})()
    setting = setting_from({"workload": "own:Odd", "warmup_steps": 0, "stop": {"steps": 2}})
    with pytest.raises(TrialError, match=message):
        Loop(setting, odd, torch.device("cpu"), HostClock(), Rows()).train()


@pytest.mark.parametrize("gives", [None, 0.5, {"loss": [1, 2]}, {"loss": torch.zeros(3)}, {}])
def test_metrics_that_are_not_numbers_by_name_are_reported_in_one_line(tmp_path, gives):
    odd = type("Odd", (Line,), {"evaluate": lambda *_: gives})()
    setting = setting_from(
        {"workload": "own:Odd", "warmup_steps": 0, "stop": {"steps": 2}, "evaluate_at_end": True}
    )
    with pytest.raises(
        TrialError, match=r"Odd\.evaluate\(model, batches\) returned .*; it must be numbers by name"
    ):
        Loop(setting, odd, torch.device("cpu"), HostClock(), Rows(), tmp_path).train()


class Stateful(torch.nn.Linear):
    def get_extra_state(self):
        return {"epoch": 1}


class Odd(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 1)
        self.register_buffer("phase", torch.zeros(3, dtype=torch.complex128))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda _: Stateful(4, 1),
            "_extra_state .* is a dict; checkpoints and save_model need tensors",
        ),
        (lambda _: Odd(), "phase .*complex128"),
    ],
)
@pytest.mark.parametrize("options", [{"save_model": True}, {"checkpoint_every": 2}])
def test_a_state_that_cannot_be_saved_is_reported_before_training(
    tmp_path, model, message, options
):
    odd = type("Odd", (Line,), {"model": model})()
    setting = setting_from(
        {"workload": "own:Odd", "warmup_steps": 0, "stop": {"steps": 2}, **options}
    )
    with pytest.raises(UsageError, match=message):
        Loop(setting, odd, torch.device("cpu"), HostClock(), Rows(), tmp_path)


def test_the_layout_of_small_convolutions_gives_no_warning_on_two_devices(tmp_path):
    run = wattlaw.run(
        "resnet50", preset="tiny", out=tmp_path, devices=2, batch_per_device=4, **SMALL
    )[-1]
    assert run.state == "done", run.error
    attempt = tmp_path / "run" / run.trial / f"attempt-{run.attempt}"
    assert [p.read_text() for p in sorted(attempt.glob("output-*.log"))] == ["", ""]
