"""Networks of atoms in half precision, with single precision where half has too small a range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.workloads.molecules.models.force_fields import Frames, PaiNNForces
from wattlaw.workloads.molecules.sources.trajectories import Frame

KINDS = ["dimenet", "dimenet++", "nnconv", "pna", "schnet"]


def test_an_atom_without_neighbours_has_finite_gradients_in_half_precision():
    workload = PaiNNForces("tiny")
    lone = Frame(
        np.array([6], np.uint8), np.zeros((1, 3), np.float32), 0.5, np.zeros((1, 3), np.float32)
    )
    batch = workload.collate([Frames([lone], 0.0, workload.cutoff)[0]])
    torch.manual_seed(0)
    model = workload.model()
    with torch.autocast("cpu", torch.float16):
        loss = workload.loss(model, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_single_precision(name, precision):
    workload = load(WORKLOADS, name)("tiny")
    data = workload.data("train")
    batch = workload.collate([data[k] for k in range(4)])
    torch.manual_seed(0)
    model = workload.model()
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    expected = model(batch)
    with torch.autocast("cpu", precision):
        found = model(batch)
    scale = float(expected.detach().abs().max())
    assert float((found - expected).detach().abs().max()) < 16 * torch.finfo(precision).eps * scale
