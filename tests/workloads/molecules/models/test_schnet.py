"""SchNet: equal to torch-geometric's, invariant to translation and rotation, with an exact grid."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.workloads.molecules.models.schnet_reference import CUTOFF, SIZE, edges, with_weights_of

from wattlaw.workloads.molecules.graphs.batches import Molecules, batch_molecules
from wattlaw.workloads.molecules.graphs.grid import grid_points, interpolate, place_on_grid
from wattlaw.workloads.molecules.graphs.pairs import Graph, convolve, find_pairs
from wattlaw.workloads.molecules.models.schnet import FILTER_POINTS, SchNet, SchNetQM9
from wattlaw.workloads.molecules.sources.qm9 import qm9


def graph_of(count: int = 6, cutoff: float = CUTOFF, points: int = 0, double: bool = True) -> Graph:
    table = qm9(count)
    data = Molecules(table.numbers, table.positions, table.atoms, table.properties[:, 0], cutoff)
    graph = batch_molecules([data[k] for k in range(count)], cutoff, points)
    return in_double(graph) if double else graph


def in_double(graph: Graph) -> Graph:
    places = graph.positions.double()
    distance = (places[graph.first] - places[graph.second]).norm(dim=1)
    return dataclasses.replace(
        graph, positions=places, distance=distance, target=graph.target.double()
    )


@pytest.mark.parametrize(
    ("precision", "points", "tolerance"),
    [(torch.float64, 0, 1e-10), (torch.float32, FILTER_POINTS, 1e-5)],
)
def test_schnet_equals_torch_geometric_with_the_same_weights(request, precision, points, tolerance):
    geometric = pytest.importorskip("torch_geometric.nn")
    graph = graph_of(points=points, double=precision == torch.float64)
    chosen = edges(graph)
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    # its constants are rounded at construction, so both are built in the precision compared
    request.addfinalizer(lambda: torch.set_default_dtype(default))
    torch.set_default_dtype(precision)
    theirs = geometric.SchNet(
        hidden_channels=32, num_filters=24, num_interactions=2, num_gaussians=50, cutoff=CUTOFF,
        interaction_graph=lambda pos, batch: (chosen, (pos[chosen[0]] - pos[chosen[1]]).norm(dim=-1)),
    )  # fmt: skip
    ours = with_weights_of(theirs, SchNet(SIZE))
    out = ours(graph)
    expected = theirs(graph.numbers, graph.positions, graph.molecule).squeeze(1)
    torch.testing.assert_close(
        out, expected, rtol=tolerance, atol=tolerance * float(expected.detach().abs().max())
    )
    for result in (out, expected):
        (result - graph.target).square().mean().backward()
    mirrored = with_weights_of(theirs, SchNet(SIZE))
    for parameter in theirs.parameters():
        parameter.data = parameter.grad
    expected_gradients = with_weights_of(theirs, mirrored).parameters()
    for mine, other in zip(ours.parameters(), expected_gradients, strict=True):
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(
            mine.grad, other.detach(), rtol=10 * tolerance, atol=tolerance * scale
        )


def test_translating_rotating_and_renumbering_a_molecule_changes_nothing():
    table = qm9(1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0].numpy()
    order = np.random.default_rng(0).permutation(len(table.numbers))
    model = SchNet(SIZE).double()
    outputs = []
    for numbers, places in [
        (table.numbers, table.positions),
        (table.numbers[order], (table.positions @ turn + 5.0)[order]),
    ]:
        data = Molecules(
            numbers, places.astype(np.float32), table.atoms, table.properties[:, 0], CUTOFF
        )
        outputs.append(model(in_double(batch_molecules([data[0]], CUTOFF))))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


def test_the_message_sum_has_the_right_first_and_second_derivatives():
    graph = graph_of(1)
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(
        len(graph.first), 2, dtype=torch.float64, generator=generator, requires_grad=True
    )
    atoms = torch.randn(
        len(graph.numbers), 2, dtype=torch.float64, generator=generator, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda w, x: convolve(w, x, graph), (filters, atoms))
    assert torch.autograd.gradgradcheck(lambda w, x: convolve(w, x, graph), (filters, atoms))


def test_the_grid_interpolates_a_gaussian_and_its_gradient_to_a_millionth():
    distance = np.random.default_rng(0).uniform(0.5, 9.9, 3000).astype(np.float32)
    at = torch.tensor(grid_points(10.0, FILTER_POINTS), dtype=torch.float32)
    width = 10 / 49
    grid = place_on_grid(distance, 10.0, FILTER_POINTS)
    table = torch.exp(
        -0.5 * ((at[:, None] - torch.linspace(0, 10, 50)) / width) ** 2
    ).requires_grad_()
    exact = torch.exp(
        -0.5 * ((torch.from_numpy(distance)[:, None] - torch.linspace(0, 10, 50)) / width) ** 2
    )
    values = interpolate(table, grid)
    assert float((values - exact).detach().abs().max()) < 2e-6
    values.sum().backward()
    # the weights of each pair add up to 1
    assert float(table.grad[:, 0].sum()) == pytest.approx(len(distance), rel=1e-4)


def test_pairs_equal_those_of_a_double_loop():
    table = qm9(5)
    pairs = find_pairs(table.positions, table.atoms, 3.0)
    begin = 0
    for molecule, size in enumerate(table.atoms):
        places = table.positions[begin : begin + size]
        plain = {
            (i, j)
            for i in range(size)
            for j in range(i + 1, size)
            if np.linalg.norm(places[i] - places[j]) < 3.0
        }
        part = slice(pairs.starts[molecule], pairs.starts[molecule + 1])
        assert (
            set(zip(pairs.first[part].tolist(), pairs.second[part].tolist(), strict=True)) == plain
        )
        begin += size


def test_an_unknown_target_suggests_the_nearest_name():
    with pytest.raises(Exception, match="did you mean 'homo'"):
        SchNetQM9("tiny", {"target": "hommo"})
