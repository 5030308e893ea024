"""A compiler that changes gradients is detected before training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wattlaw.core.setting import setting_from
from wattlaw.runner.worker.compile_check import gradient_notes
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.loop import Loop
from wattlaw.runner.worker.strategy import Compiling, Replicated
from wattlaw.workloads.base import Workload

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CPU = torch.device("cpu")


class Net(nn.Module):
    """Two layers with a function between them that differs when compiled."""

    def __init__(self, between):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)
        self.drop, self.between = nn.Dropout(0.5 if between == "dropout" else 0.0), between

    def forward(self, x):
        x = self.drop(self.norm(self.first(x)).relu())
        if torch.compiler.is_compiling() and self.between != "right":
            if self.between in ("lost", "dropout"):
                x = x.detach()
            if self.between == "scaled":
                x = 1.2 * x
        return self.last(x)


def looked_at(between, precision="fp32"):
    torch.manual_seed(0)
    bare = Net(between)
    strategy = Replicated(bare, precision, CPU, HostClock(), Compiling(backend="eager"))
    before = {name: value.clone() for name, value in bare.state_dict().items()}
    state = torch.get_rng_state()
    batch = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    found = gradient_notes(
        strategy, lambda model, x: (model(x) - x.sum(1, keepdim=True)).square().mean(), batch
    )
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in bare.state_dict().items())
    assert all(p.grad is None for p in bare.parameters())
    return [note.message for note in found]


def test_unchanged_gradients_give_no_warning_and_do_not_modify_the_model():
    assert looked_at("right") == []


def test_missing_gradients_are_named_even_with_dropout_and_half_precision():
    for kind, precision in (
        ("lost", "fp32"),
        ("dropout", "fp32"),
        ("lost", "bf16"),
        ("lost", "fp16"),
    ):
        (message,) = looked_at(kind, precision)
        assert (
            "of 6 parameters get no gradient although they do without compiling, such as first.weight"
            in message
        )


def test_changed_gradients_are_reported_in_full_precision():
    (message,) = looked_at("scaled")
    assert "% from the plain ones" in message
    assert looked_at("scaled", "bf16") == []


class Loses(Workload):
    def model(self):
        return Net("lost")

    def data(self, split):
        return torch.utils.data.TensorDataset(
            torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
        )

    def loss(self, model, batch):
        return (model(batch[0]) - 1).square().mean()


class Rows(dict):
    def append(self, step, warmup, start_s, end_s, samples, loss, *phases):
        self[step] = loss

    def flush(self):
        return


def losses(**options):
    workload, rows = Loses(), Rows()
    setting = setting_from({"workload": "own", "warmup_steps": 0, "stop": {"steps": 2}, **options})
    Loop(setting, workload, CPU, HostClock(), rows).train()
    return rows, [note.name for note in workload.notes]


def test_the_gradient_check_uses_no_batch_and_is_reported(monkeypatch):
    # tracing is enough here, without a C++ compiler
    plain, compiled = torch.compile, lambda model, **given: plain(model, backend="eager")
    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setenv("CXX", "true")
    assert losses(compile=True)[1] == ["compiled_gradients"]
    rows, notes = losses()
    assert notes == []
    assert losses(compile=True)[0][0] == pytest.approx(rows[0], rel=1e-6)
