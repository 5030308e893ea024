"""Lower precisions and compilation on a CPU: effects on loss and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import wattlaw
from wattlaw.core.errors import SettingError
from wattlaw.core.options import TRAINING
from wattlaw.core.plugins import WORKLOADS, load, plugins
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.strategy import Strategy, strategy_for

NAMES = sorted(plugins(WORKLOADS))
FAMILIES = ["bert-base", "chemgpt", "dimenet", "dimenet++", "gpt2", "inception3", "nnconv", "pna", "resnet50",
            "resnet101-v2", "schnet", "vgg11"]  # fmt: skip
"""One workload of each file of models that can be compiled."""
STEPS = 16
"""Steps within which the loss scale of fp16, halved at each overflow, fits every workload."""


class Step:
    """Return a workload wrapped as by the runner, and its batches."""

    def __init__(self, name: str, precision: str = "fp32", is_compiled: bool = False) -> None:
        self.workload: Any = load(WORKLOADS, name)("tiny")
        torch.manual_seed(0)
        self.model: nn.Module = self.workload.model()
        options = {**TRAINING, "compile": is_compiled}
        cpu = torch.device("cpu")
        self.strategy: Strategy = strategy_for(
            self.workload, self.model, precision, options, cpu, HostClock()
        )
        self.data = self.workload.data("train")

    def loss(self, batch: int = 0, size: int = 8) -> Tensor:
        samples = self.workload.collate([self.data[batch * size + k] for k in range(size)])
        torch.manual_seed(1)
        with self.strategy.cast():
            loss: Tensor = self.strategy.calculate(self.workload.loss, samples)
        return loss

    def gradients(self, batch: int = 0, size: int = 8) -> Tensor:
        self.model.zero_grad()
        self.loss(batch, size).backward()
        return torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_bf16_gives_nearly_the_loss_and_gradients_of_fp32(name):
    exact, half = Step(name), Step(name, "bf16")
    assert half.loss().dtype == torch.float32
    assert half.loss().item() == pytest.approx(exact.loss().item(), rel=0.05)
    expected, found = exact.gradients(), half.gradients()
    assert torch.isfinite(found).all()
    if not has_batch_norm(half.model):
        # batch norm over eight samples amplifies rounding
        assert float(torch.cosine_similarity(found, expected, 0)) > 0.98


@pytest.mark.parametrize("name", NAMES)
def test_fp16_trains_after_its_loss_scale_has_settled(name):
    step = Step(name, "fp16")
    scaler = torch.amp.GradScaler("cpu")
    optimiser = step.workload.optimiser(step.model.parameters())
    before = torch.cat([p.detach().flatten().clone() for p in step.model.parameters()])
    assert step.loss().item() == pytest.approx(Step(name).loss().item(), rel=0.01)
    for _ in range(STEPS):
        optimiser.zero_grad()
        scaler.scale(step.loss()).backward()
        scaler.step(optimiser)
        scaler.update()
        after = torch.cat([p.detach().flatten() for p in step.model.parameters()])
        if not torch.equal(after, before):
            break
    assert not torch.equal(after, before)
    assert torch.isfinite(after).all()


def test_tf32_on_a_cpu_is_refused_in_one_line(tmp_path):
    with pytest.raises(
        SettingError, match="tf32 exists on NVIDIA GPUs only; on a CPU use fp32, bf16 or fp16"
    ):
        wattlaw.run("gpt2", preset="tiny", out=tmp_path, precision="tf32", device_type="cpu")


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_compiled_model_gives_the_same_gradients_and_is_compiled_at_most_twice(name):
    import torch._dynamo
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    plain, compiled = Step(name), Step(name, is_compiled=True)
    for batch in range(2):
        compiled.gradients(batch)
    # a second shape makes shapes dynamic; no later batch may compile again
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    # batch norm over eight samples amplifies rounding, and a rectifier or a maximum may flip
    bound = 0.05 if has_batch_norm(plain.model) else 1e-4
    for batch in range(2, 7):
        found, expected = compiled.gradients(batch), plain.gradients(batch)
        assert float((found - expected).norm()) < bound * float(expected.norm())
    assert counters["stats"]["unique_graphs"] == graphs


def test_compiling_an_unsupported_workload_is_refused(monkeypatch):
    with pytest.raises(SettingError, match="second derivatives"):
        Step("painn-forces", is_compiled=True)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SettingError, match="install g"):
        Step("gpt2", is_compiled=True)
