"""Force fields: forces are gradients, rotate with the molecule, and match reference equations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from tests.workloads.molecules.models.schnet_reference import SIZE, edges, with_weights_of
from torch import Tensor
from torch.nn import functional as F

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.force_fields import (
    EnergyAndForces,
    PaiNNForces,
    SchNetForces,
)
from wattlaw.workloads.molecules.models.painn import PaiNN, PaiNNSize
from wattlaw.workloads.molecules.models.schnet import SchNet
from wattlaw.workloads.molecules.sources.energy_units import KCAL_EV
from wattlaw.workloads.molecules.sources.trajectories import read_frames, toy_frames


def graph_of(workload, count: int = 2) -> Graph:
    data = workload.data("train")
    graph = workload.collate([data[k] for k in range(count)])
    return dataclasses.replace(
        graph, positions=graph.positions.double(), atoms=graph.atoms.double()
    )


@pytest.fixture(autouse=True)
def in_double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", [SchNetForces, PaiNNForces])
def test_forces_equal_the_negative_finite_differences_of_the_energy(kind):
    workload = kind("tiny")
    torch.manual_seed(0)
    model = workload.model().eval()
    graph = graph_of(workload)
    forces = model(graph)[1]
    step = 1e-4
    for atom, axis in [(0, 0), (3, 1), (7, 2)]:
        ends = []
        for sign in (1, -1):
            moved = graph.positions.clone()
            moved[atom, axis] += sign * step
            ends.append(float(model(dataclasses.replace(graph, positions=moved))[0].sum().detach()))
        assert float(forces[atom, axis]) == pytest.approx(
            (ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-9
        )


@pytest.mark.parametrize("kind", [SchNetForces, PaiNNForces])
def test_energy_is_invariant_and_forces_rotate_with_the_molecule(kind):
    workload = kind("tiny")
    torch.manual_seed(0)
    model = workload.model().eval()
    graph = graph_of(workload)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    energy, forces = model(graph)
    energy_after, forces_after = model(
        dataclasses.replace(graph, positions=graph.positions @ turn + 3.0)
    )
    torch.testing.assert_close(energy_after, energy, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(forces_after, forces @ turn, rtol=1e-7, atol=1e-9)


def plain_painn(model: PaiNN, numbers: Tensor, places: Tensor, cutoff: float) -> Tensor:
    """Return the energy of one molecule by PaiNN's equations over all pairs: (N,), (N, 3)."""
    size = len(numbers)
    others = ~torch.eye(size, dtype=torch.bool)
    apart = places[None, :] - places[:, None]
    distance = apart.masked_fill(~others[..., None], 1.0).norm(dim=-1)
    reach = others & (distance < cutoff)
    order = torch.arange(1, 21, dtype=places.dtype)
    radial = torch.sin(order * math.pi / cutoff * distance[..., None]) / distance[..., None]
    envelope = 0.5 * (torch.cos(math.pi * distance / cutoff) + 1) * reach
    s, v = model.embedding(numbers), places.new_zeros(size, 3, model.size.hidden_channels)
    for message, update in zip(model.messages, model.updates, strict=True):
        w = message.filter(radial) * envelope[..., None]
        x = (message.second(F.silu(message.first(s)))[None] * w).chunk(3, -1)
        direction = (apart / distance[..., None])[..., None]
        s, v = (
            s + x[0].sum(1),
            v + (x[1][:, :, None] * v[None]).sum(1) + (x[2][:, :, None] * direction).sum(1),
        )
        left, right = (v @ update.mix.weight.T).chunk(2, -1)
        a, b, c = update.second(
            F.silu(update.first(torch.cat([s, (right.square().sum(1) + 1e-8).sqrt()], 1)))
        ).chunk(3, 1)
        s, v = s + c + b * (left * right).sum(1), v + a[:, None] * left
    return model.head_out(F.silu(model.head_in(s))).sum()


def test_painn_equals_a_direct_implementation_of_its_equations():
    torch.manual_seed(0)
    model = PaiNN(PaiNNSize(16, 2), 5.0)
    graph = graph_of(PaiNNForces("tiny"))
    energies, forces = EnergyAndForces(model)(graph)
    for molecule in range(2):
        mine = graph.molecule == molecule
        places = graph.positions[mine].requires_grad_()
        energy = plain_painn(model, graph.numbers[mine], places, 5.0)
        (slope,) = torch.autograd.grad(energy, places)
        torch.testing.assert_close(energies[molecule], energy, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(forces[mine], -slope, rtol=1e-8, atol=1e-10)


def test_training_on_forces_has_the_gradients_of_plain_autograd():
    torch.manual_seed(0)
    workload = SchNetForces("tiny")
    model = workload.model()
    graph = graph_of(workload)
    workload.loss(model, graph).backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
    for name in (
        "energies.interactions.0.filter_out.weight",
        "energies.head_in.bias",
        "energies.interactions.1.places",
    ):
        parameter = dict(model.named_parameters())[name]
        index = tuple(0 for _ in parameter.shape)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[index] += sign * 1e-5
            ends.append(float(workload.loss(model, graph).detach()))
            with torch.no_grad():
                parameter[index] -= sign * 1e-5
        assert float(gradients[name][index]) == pytest.approx(
            (ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-8
        )


def test_schnet_forces_equal_torch_geometric_with_autograd():
    geometric = pytest.importorskip("torch_geometric.nn")
    graph = graph_of(SchNetForces("tiny"))
    index = edges(graph)
    places = graph.positions.clone().requires_grad_()
    torch.manual_seed(0)
    theirs = geometric.SchNet(
        hidden_channels=32, num_filters=24, num_interactions=2, num_gaussians=50, cutoff=4.0,
        interaction_graph=lambda pos, batch: (index, (pos[index[0]] - pos[index[1]]).norm(dim=-1)),
    )  # fmt: skip
    ours = EnergyAndForces(with_weights_of(theirs, SchNet(SIZE)))
    (slope,) = torch.autograd.grad(theirs(graph.numbers, places, graph.molecule).sum(), places)
    torch.testing.assert_close(ours(graph)[1], -slope, rtol=1e-9, atol=1e-11)


def test_files_of_md17_and_extended_xyz_give_the_same_frames(tmp_path):
    frames = toy_frames(3)
    np.savez(
        tmp_path / "md17.npz",
        z=frames[0].numbers,
        R=np.stack([f.positions for f in frames]),
        E=np.array([[f.energy / KCAL_EV] for f in frames]),
        F=np.stack([f.forces for f in frames]) / KCAL_EV,
    )
    lines = []
    names = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
    for f in frames:
        lines += [
            str(len(f.numbers)),
            f"Properties=species:S:1:pos:R:3:forces:R:3 energy={f.energy!r}",
        ]
        for z, place, force in zip(f.numbers, f.positions, f.forces, strict=True):
            lines.append(
                " ".join(
                    [names[int(z)], *map(repr, map(float, place)), *map(repr, map(float, force))]
                )
            )
    (tmp_path / "frames.xyz").write_text("\n".join(lines))
    for name in ("md17.npz", "frames.xyz"):
        read, given = read_frames(tmp_path / name)
        assert given.skipped == 0
        for mine, other in zip(read, frames, strict=True):
            assert mine.energy == pytest.approx(other.energy)
            assert np.allclose(mine.forces, other.forces, atol=1e-5)
            assert np.array_equal(mine.numbers, other.numbers)


XYZ = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0\nH 0 0 0 0 0 0\n"
BAD = {
    "unknown element Qq": "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0\nQq 0 0 0 0 0 0\n",
    "not finite": "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0\nH nan 0 0 0 0 0\n",
    "no atoms": "0\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0\n",
    "in one place": "2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0\nH 0 0 0 0 0 0\nH 0 0 0 0 0 0\n",
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_frame_is_named_or_skipped_and_counted(tmp_path, fault):
    path = tmp_path / "some.xyz"
    path.write_text(XYZ + BAD[fault])
    with pytest.raises(DataError, match=rf"\(frame 1\): .*{fault}"):
        read_frames(path)
    frames, given = read_frames(path, "skip")
    assert (len(frames), given.skipped) == (1, 1)
    assert fault in given.first_fault


@pytest.mark.parametrize(
    ("name", "content"), [("cut.xyz", XYZ[:-20]), ("cut.npz", "not a zip"), ("text.xyz", "hello")]
)
def test_a_truncated_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=name):
        read_frames(path)
