"""The order of batches, resuming at a position, and packed batches of loader workers."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.runner.own import Noisy
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.core.setting import setting_from
from wattlaw.runner.worker.batch_transfer import ALIGN, pack, unpack
from wattlaw.runner.worker.rank_batches import Batches, Position
from wattlaw.workloads.molecules.graphs.slots import map_tensors


def batches(workers, rank=0, ranks=1):
    setting = setting_from({"workload": "noisy", "loader_workers": workers, "batch_per_device": 16})
    return Batches(setting, Noisy(), torch.device("cpu"), ranks, rank)


def first(source, count):
    return list(itertools.islice(source, count))


@pytest.mark.parametrize("start", [Position(0, 5), Position(1, 3)])
def test_a_position_restores_the_batches_and_their_random_numbers(start):
    whole = first(batches(1), 18)  # 200 samples are 12 batches an epoch
    again = batches(1)
    again.move_to(start)
    passed = 12 * start.epoch + start.batch
    for (x, y), (x_again, y_again) in zip(whole[passed:], again, strict=False):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)


def test_the_number_of_loader_workers_changes_no_batch():
    for (x, y), (x_again, y_again) in zip(first(batches(1), 14), batches(2), strict=False):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)


def test_two_ranks_share_the_samples_of_one():
    alone = {float(v) for _, y in first(batches(0), 12) for v in y.flatten()}
    halves = [
        {float(v) for _, y in first(batches(0, rank, 2), 6) for v in y.flatten()} for rank in (0, 1)
    ]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == alone


@pytest.mark.parametrize(
    "name", ["schnet", "dimenet++", "painn-forces", "bert-base", "gpt2", "resnet50"]
)
def test_a_packed_batch_is_one_block_and_is_unpacked_unchanged(name):
    workload = load(WORKLOADS, name)("tiny")
    data = workload.data("train")
    batch = workload.collate([data[k] for k in range(3)])
    packed = pack(batch)
    assert packed.block.dtype == torch.uint8
    assert packed.block.numel() % ALIGN == 0
    again = unpack(packed)
    assert type(again) is type(batch)
    assert torch.equal(workload.loss(model := workload.model(), batch), workload.loss(model, again))


def test_values_that_are_not_plain_tensors_are_packed_unchanged():
    odd = {
        "n": 3,
        "word": "x",
        "sparse": torch.eye(2).to_sparse(),
        "empty": torch.empty(0, 4),
        "one": torch.tensor(7),
    }
    again = unpack(pack(odd))
    assert again["n"] == 3
    assert again["word"] == "x"
    assert again["sparse"] is odd["sparse"]
    assert again["empty"].shape == (0, 4)
    assert int(again["one"]) == 7


@pytest.mark.parametrize("name", ["schnet", "nnconv", "pna", "painn-forces"])
def test_a_batch_loaded_in_one_call_equals_the_batch_of_its_samples(name):
    workload = load(WORKLOADS, name)("tiny")
    data = workload.data("train")
    indices = [5, 0, 17, 5]
    at_once, one_by_one = [], []
    map_tensors(workload.collate(data.__getitems__(indices)), lambda t: at_once.append(t) or t)
    map_tensors(workload.collate([data[k] for k in indices]), lambda t: one_by_one.append(t) or t)
    assert len(at_once) > 10
    assert all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(at_once, one_by_one, strict=True)
    )
    assert [m.numbers.tolist() for m in molecules_of(data.__getitems__(indices)[1:3])] == [
        m.numbers.tolist() for m in molecules_of([data[0], data[17]])
    ]


def molecules_of(samples):
    return [getattr(sample, "molecule", sample) for sample in samples]
