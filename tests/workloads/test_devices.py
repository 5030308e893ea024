"""N devices with b samples give the gradients of one with N·b: DDP, sharded and accumulated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import chemical_symbols
from torch import nn

from wattlaw.core.plugins import WORKLOADS, load, plugins
from wattlaw.workloads.molecules.sources.qm9 import qm9

NAMES = sorted(plugins(WORKLOADS))
WITH_BATCH_STATISTICS = {
    "inception3", "inception4", "pna", "resnet101", "resnet101-v2", "resnet152", "resnet152-v2", "resnet50",
    "resnet50-v1.5",
}  # fmt: skip
"""Workloads with gradients that depend on the batch statistics, which are frozen here."""
ALL_WAYS = ["ddp", "fsdp", "ddp+parts", "fsdp+parts"]
KINDS = ["gpt2", "nnconv", "resnet50", "schnet", "schnet-forces", "vgg11"]
"""Workloads sharded by blocks, as a whole, with batch norm and with second derivatives."""
ROUNDING = 1e-9
"""Tolerance in double precision, relative to each gradient."""
INTERPOLATED = 1e-6
"""SchNet interpolates its filters only in batches of many pairs, see ``FILTER_POINTS``."""


def distances(folder: Path, ranks: int, ways: list[str], names: list[str]) -> dict[str, float]:
    """Return the largest relative difference from one device, by workload and strategy."""
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


def far(found: dict[str, float]) -> dict[str, float]:
    bounds = {name: INTERPOLATED if name.startswith("schnet ") else ROUNDING for name in found}
    return {name: distance for name, distance in found.items() if not distance <= bounds[name]}


def test_only_these_workloads_have_batch_statistics():
    found = set()
    for name in NAMES:
        with torch.device("meta"):
            model = load(WORKLOADS, name)("tiny").model()
        if any(isinstance(m, nn.modules.batchnorm._NormBase) for m in model.modules()):
            found.add(name)
    assert found == WITH_BATCH_STATISTICS


def test_two_devices_with_and_without_accumulation_give_the_gradients_of_one(tmp_path):
    assert far(distances(tmp_path, 2, ["ddp", "ddp+parts"], NAMES)) == {}


def test_sharded_gradients_equal_those_of_one_device(tmp_path):
    assert far(distances(tmp_path, 2, ["fsdp", "fsdp+parts"], KINDS)) == {}


def test_devices_with_samples_of_different_sizes_weight_each_sample_equally(tmp_path):
    forces, table = mixed_frames(tmp_path / "mixed.xyz"), mixed_formulas(tmp_path / "mixed.csv")
    with_options = {
        "schnet-forces": {"data": forces}, "painn-forces": {"data": forces}, "schnet": {"interpolate": False},
        "nnconv": {"data": table, "target": "logP"}, "pna": {"data": table}, "bert-base": {"task": "classify"},
        "distilbert": {"task": "classify"}, "chemgpt": {"notation": "smiles"},
    }  # fmt: skip
    names = [
        f"{name}={json.dumps(options, separators=(',', ':'))}"
        for name, options in with_options.items()
    ]
    assert far(distances(tmp_path, 2, ["ddp", "ddp+parts"], names)) == {}


def mixed_frames(path: Path) -> str:
    """Write 30 geometries of 1 to 24 atoms with random energies and forces."""
    table, draw = qm9(29), np.random.default_rng(0)
    ends = np.cumsum(table.atoms)
    parts = [slice(end - size, end) for end, size in zip(ends, table.atoms, strict=True)]
    lines = []
    for part in [slice(0, 1), *parts]:
        numbers, places = table.numbers[part], table.positions[part]
        lines += [
            str(len(numbers)),
            f"Properties=species:S:1:pos:R:3:forces:R:3 energy={draw.normal():.6f}",
        ]
        rows = np.concatenate([places, draw.normal(size=places.shape)], 1)
        lines += [
            " ".join([chemical_symbols[z], *(f"{x:.6f}" for x in row)])
            for z, row in zip(numbers.tolist(), rows, strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def mixed_formulas(path: Path) -> str:
    """Write a table of 30 molecules: chains of one or more atoms, and rings."""
    chains = ["C" * k for k in range(1, 16)] + [f"c1ccccc1{'CO' * k}" for k in range(15)]
    path.write_text(
        "\n".join(["smiles,logP", *(f"{text},{k / 7:.3f}" for k, text in enumerate(chains))]) + "\n"
    )
    return str(path)


@pytest.mark.full
@pytest.mark.parametrize("ranks", [2, 3])
def test_every_workload_gives_the_same_gradients_in_every_way(tmp_path, ranks):
    assert far(distances(tmp_path, ranks, ALL_WAYS, NAMES)) == {}
