"""Wrapping of models: sharding and activation checkpointing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import wattlaw
from wattlaw.core.errors import SettingError, UnknownNameError
from wattlaw.core.options import TRAINING
from wattlaw.core.plugins import WORKLOADS, load, plugins
from wattlaw.runner.worker.activation_checkpointing import checkpoint_blocks
from wattlaw.runner.worker.device_timer import HostClock
from wattlaw.runner.worker.strategy import strategy_for
from wattlaw.workloads.base import repeated_blocks
from wattlaw.workloads.make_counts import SavedActivations

SMALL = {
    "stop": {"steps": 4},
    "warmup_steps": 1,
    "batch_per_device": 8,
    "threads": 1,
    "device_type": "cpu",
}


@pytest.mark.parametrize(("precision", "rounding"), [("fp32", 1e-5), ("bf16", 2e-3)])
def test_sharded_models_train_like_whole_ones_and_are_saved_whole(tmp_path, precision, rounding):
    script = str(Path(__file__).with_name("sharded_ranks.py"))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", script, str(rank), str(tmp_path / "meeting"), precision],
            stdout=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for rank in ranks:
        out, _ = rank.communicate(timeout=120)
        assert rank.returncode == 0
        found = {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in out.splitlines())
        }
        assert found["first losses"] < rounding
        assert found["names"] == 0
        assert 0.45 < found["held"] < 0.55, "a rank holds its half"
        assert found["resumed"] == 0.0, "to the last bit"
        assert found["resumed whole"] < rounding


def test_a_sharded_trial_has_no_waiting_time_with_the_reason(tmp_path):
    run = wattlaw.run("schnet", preset="tiny", out=tmp_path, devices=2, strategy="fsdp", **SMALL)[0]
    assert run.state == "done", run.error
    reading = run.quantities["communication_s"]
    assert reading.status == "missing"
    assert "inside the passes" in reading.how
    assert run.quantities["backward_s"].value > 0


def kept_and_gradients(name: str, is_checkpointed: bool) -> tuple[int, list[Tensor], list[Tensor]]:
    workload: Any = load(WORKLOADS, name)("tiny")
    data = workload.data("train")
    batch = workload.collate([data[k] for k in range(4)])
    torch.manual_seed(0)
    model = workload.model()
    if is_checkpointed:
        checkpoint_blocks(workload.blocks(model))
    torch.manual_seed(1)
    kept = SavedActivations(model)
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        loss = workload.loss(model, batch)
    held = kept.bytes()
    loss.backward()
    return held, [p.grad for p in model.parameters()], list(model.buffers())


@pytest.mark.parametrize("name", sorted(plugins(WORKLOADS)))
def test_activation_checkpointing_saves_memory_and_changes_no_gradient_or_statistic(name):
    held, gradients, buffers = kept_and_gradients(name, False)
    held_less, same_gradients, same_buffers = kept_and_gradients(name, True)
    # the derivative of a force is kept anyway
    assert held_less < (0.97 if name.endswith("-forces") else 0.5) * held
    for ours, theirs in zip(same_gradients + same_buffers, gradients + buffers, strict=True):
        assert torch.equal(ours, theirs)


def test_blocks_are_the_elements_of_module_lists():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
            self.stages = nn.Sequential(nn.Sequential(Part(), Part()), nn.Sequential(Part()))
            self.norms = nn.ModuleList(nn.LayerNorm(2) for _ in range(2))
            self.plain = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(2))
            self.alone = Part()

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2)])

    model = Model()
    assert repeated_blocks(model) == [
        model.stages[0][0],
        model.stages[0][1],
        model.stages[1][0],
        *model.plain,
    ]
    assert repeated_blocks(nn.Linear(2, 2)) == []


def test_checkpointing_a_model_without_blocks_is_refused():
    class Plain:
        def blocks(self, model):
            return repeated_blocks(model)

    options = {**TRAINING, "activation_checkpointing": True}
    with pytest.raises(SettingError, match=r"give the workload a method blocks\(model\)"):
        strategy_for(Plain(), nn.Linear(2, 2), "fp32", options, torch.device("cpu"), HostClock())


def test_a_misspelt_strategy_suggests_the_nearest_name(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'fsdp'"):
        wattlaw.run("schnet", preset="tiny", out=tmp_path, strategy="fsd", **SMALL)
