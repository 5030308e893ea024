"""N devices of b samples give the gradients of one device with N·b: replicated, sharded, and in parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wattlaw.core.plugins import plugins

NAMES = sorted(plugins("wattlaw.workloads"))
ALL_WAYS = ["ddp", "fsdp", "ddp+parts", "fsdp+parts"]
KINDS = ["gpt2", "nnconv", "resnet50", "schnet", "schnet-forces", "vgg11"]
"""One of each way in which models are sharded: in blocks, as one, with batch norm, with second derivatives."""


def distances(folder: Path, ranks: int, ways: list[str], names: list[str]) -> dict[str, float]:
    """Return the largest relative distance from one device's gradients and loss, by workload and way."""
    words = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("ranks.py"))]
    started = [
        subprocess.Popen(
            [*words, str(rank), str(ranks), str(folder / "meeting"), ",".join(ways), *names],
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    found: dict[str, float] = {}
    for rank in started:
        out, _ = rank.communicate(timeout=280)
        assert rank.returncode == 0
        for name, way, far in (line.split() for line in out.splitlines()):
            found[f"{name} {way}"] = max(found.get(f"{name} {way}", 0.0), float(far))
    assert len(found) == len(ways) * len(names)
    return found


def test_two_devices_give_the_gradients_of_one_for_every_workload(tmp_path):
    found = distances(tmp_path, 2, ["ddp"], NAMES)
    assert {n: far for n, far in found.items() if far > 1e-5} == {}


def test_sharded_and_accumulated_gradients_are_those_of_one_device(tmp_path):
    found = distances(tmp_path, 2, ALL_WAYS[1:], KINDS)
    assert {n: far for n, far in found.items() if far > 1e-5} == {}


@pytest.mark.full
@pytest.mark.parametrize("ranks", [2, 3])
def test_every_workload_gives_the_same_gradients_in_every_way(tmp_path, ranks):
    found = distances(tmp_path, ranks, ALL_WAYS, NAMES)
    assert {n: far for n, far in found.items() if far > 1e-5} == {}
