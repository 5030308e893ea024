"""The contract of every workload, tested on its `tiny` preset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from wattlaw.core.errors import DataError, SettingError, UnknownNameError
from wattlaw.core.plugins import WORKLOADS, load, plugins
from wattlaw.workloads import counts
from wattlaw.workloads.base import Workload
from wattlaw.workloads.make_counts import count

STEPS = 40
"""Training steps after which the loss is below the documented share of its first four steps."""

DOCS = Path(__file__).parents[2] / "docs" / "workloads.md"

every_workload = pytest.mark.parametrize("name", sorted(plugins(WORKLOADS)))


def tiny(name: str) -> Workload:
    workload = load(WORKLOADS, name)("tiny")
    assert isinstance(workload, Workload)
    return workload


def new_model(workload: Workload) -> nn.Module:
    torch.manual_seed(0)
    return workload.model()


def batch_of(workload: Workload, size: int, first: int = 0) -> Any:
    data = workload.data("train")
    return workload.collate([data[first + k] for k in range(size)])


def gradients(workload: Workload, model: nn.Module, batch: Any) -> list[Tensor]:
    model.zero_grad()
    workload.loss(model, batch).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def tensors(sample: Any) -> list[Tensor]:
    if isinstance(sample, Tensor):
        return [sample]
    values = sample.values() if isinstance(sample, dict) else sample
    return [t for value in values for t in tensors(value)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@every_workload
def test_a_step_gives_every_parameter_a_finite_gradient(name):
    workload = tiny(name)
    model = new_model(workload)
    loss = workload.loss(model, batch_of(workload, 4))
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name


def promised() -> dict[str, float]:
    """Return the documented bound on the loss after STEPS steps, by workload."""
    rows = re.findall(
        r"^\| ((?:`[^`]+`(?:, )?)+) \| ≤ ([0-9.]+) \|$", DOCS.read_text(), re.MULTILINE
    )
    return {name: float(bound) for names, bound in rows for name in re.findall("`([^`]+)`", names)}


def test_the_docs_state_the_decrease_of_the_loss_of_every_workload():
    assert set(promised()) == set(plugins(WORKLOADS))


@every_workload
def test_the_loss_falls_within_forty_steps_as_documented(name):
    workload = tiny(name)
    model = new_model(workload)
    optimiser = workload.optimiser(model.parameters())
    size = workload.batch["tiny"]
    data = workload.data("train")
    # the same four batches in every epoch, so that the loss falls by training and not by chance
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()[
        : 4 * size
    ]
    losses = []
    for step in range(STEPS):
        picked = [order[(step * size + k) % len(order)] for k in range(size)]
        optimiser.zero_grad()
        loss = workload.loss(model, workload.collate([data[k] for k in picked]))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-4:]) <= promised()[name] * sum(losses[:4])


@every_workload
def test_the_same_seed_gives_bit_identical_gradients(name):
    workload = tiny(name)
    batch = batch_of(workload, 8)
    first = gradients(workload, new_model(workload), batch)
    second = gradients(workload, new_model(workload), batch)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@every_workload
def test_no_sample_is_all_zero_and_no_split_is_empty(name):
    workload = tiny(name)
    for split in ("train", "valid", "test"):
        data = workload.data(split)
        assert len(data) > 0
        for index in {0, len(data) // 2, len(data) - 1}:
            assert any(t.count_nonzero() > 0 for t in tensors(data[index]))
            assert all(
                torch.isfinite(t).all() for t in tensors(data[index]) if t.is_floating_point()
            )


@every_workload
def test_a_batch_may_be_one_sample_or_thirty_two(name):
    workload = tiny(name)
    model = new_model(workload).eval()
    for size in (1, 32):
        assert torch.isfinite(workload.loss(model, batch_of(workload, size)))


def shapes(sample: Any) -> Any:
    if isinstance(sample, Tensor):
        return sample.ndim, sample.dtype
    if isinstance(sample, dict):
        return {key: shapes(value) for key, value in sample.items()}
    return [shapes(value) for value in sample]


@every_workload
def test_generated_samples_have_the_layout_of_real_ones_and_train(name):
    kind = load(WORKLOADS, name)
    real, drawn = kind("tiny"), kind("tiny", {"data": "generated"})
    assert shapes(real.data("train")[0]) == shapes(drawn.data("train")[0])
    assert "generated_data" in [n.name for n in drawn.notes]
    assert "generated_data" not in [n.name for n in real.notes]
    assert len(drawn.data("test")) > 0
    loss = drawn.loss(new_model(drawn), batch_of(drawn, 8))
    loss.backward()
    assert torch.isfinite(loss)


@every_workload
def test_a_wrong_choice_for_bad_records_and_a_missing_file_are_refused(name, tmp_path):
    kind = load(WORKLOADS, name)
    sample = kind("tiny").data("train")[0]
    preset = "base" if isinstance(sample, dict) and "pixels" in sample else "tiny"
    with pytest.raises(DataError, match=r"none-there"):
        kind(preset, {"data": str(tmp_path / "none-there")}).data("train")
    if "on_bad" in kind.options:
        with pytest.raises(UnknownNameError, match="skip"):
            kind("tiny", {"on_bad": "skp"}).data("train")


@every_workload
def test_metrics_are_finite_numbers_with_names(name):
    workload = tiny(name)
    workload.data("train")
    model = new_model(workload).eval()
    with torch.no_grad():
        metrics = workload.evaluate(model, [batch_of(workload, 8)])
    assert metrics
    assert all(torch.isfinite(torch.tensor(v)) for v in metrics.values())


@every_workload
def test_an_unknown_preset_or_option_is_refused(name):
    made = load(WORKLOADS, name)
    with pytest.raises(UnknownNameError):
        made("huge-and-misspelt")
    with pytest.raises(UnknownNameError):
        made("tiny", {"no_such_option": 1})


@every_workload
def test_the_counts_table_holds_for_tiny(name):
    entry = counts.workload_entries()[name]
    made = load(WORKLOADS, name)
    assert [c.preset for c in entry.presets] == list(made.presets)
    assert entry.options == dict(made.options)
    holds(tiny(name), next(c for c in entry.presets if c.preset == "tiny"))


@pytest.mark.full
@every_workload
def test_the_counts_table_holds_for_every_other_preset(name):
    made = load(WORKLOADS, name)
    for saved in counts.workload_entries()[name].presets:
        if saved.preset != "tiny":
            holds(made(saved.preset), saved)


def holds(workload: Workload, saved: counts.PresetCounts) -> None:
    counted = count(workload)
    # the memory that autograd keeps may differ a little between versions of torch
    assert msgspec.structs.replace(counted, activation_bytes=0) == msgspec.structs.replace(
        saved, activation_bytes=0
    )
    assert counted.activation_bytes == pytest.approx(saved.activation_bytes, rel=0.25)


def test_every_base_preset_is_counted_and_costs_more_than_tiny():
    for entry in counts.workload_entries().values():
        by_preset = {c.preset: c for c in entry.presets}
        assert by_preset["base"].parameters > by_preset["tiny"].parameters
        assert by_preset["base"].flop_per_sample > by_preset["tiny"].flop_per_sample
        assert all(c.gradient_bytes == 4 * c.parameters for c in entry.presets)


def test_a_misspelt_workload_or_preset_suggests_a_name_of_the_table():
    counts.check_request("schnet", "tiny", {"target": "gap"})
    for name, preset, options in [
        ("shnet", "tiny", {}),
        ("schnet", "tinny", {}),
        ("schnet", "tiny", {"targt": "gap"}),
    ]:
        with pytest.raises(UnknownNameError, match="did you mean"):
            counts.check_request(name, preset, options)
    with pytest.raises(SettingError, match="must be a str"):
        counts.check_request("schnet", "tiny", {"target": 7})
