"""DimeNet and DimeNet++: equal to torch-geometric's, without a list of triplets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import spherical_jn
from torch import Tensor, nn

from wattlaw.workloads.molecules.graphs.batches import Molecules, batch_molecules
from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.dimenet import DimeNet, DimeNetSize
from wattlaw.workloads.molecules.models.dimenet_bases import bessel_zeros
from wattlaw.workloads.molecules.sources.qm9 import qm9

SIZE = DimeNetSize(24, 2, num_bilinear=4, triplet_channels=16, basis_channels=4, out_channels=32)


def graph_of(count: int, double: bool = True) -> Graph:
    table = qm9(count)
    data = Molecules(table.numbers, table.positions, table.atoms, table.properties[:, 0], 5.0)
    graph = batch_molecules([data[k] for k in range(count)], 5.0, slots=True)
    if not double:
        return graph
    places = graph.positions.double()
    distance = (places[graph.first] - places[graph.second]).norm(dim=1)
    return dataclasses.replace(
        graph, positions=places, distance=distance, target=graph.target.double()
    )


def plain_triplets(graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the messages (k → j, j → i) of every triplet with two loops."""
    starts = torch.cat([graph.second, graph.first]).tolist()
    ends = torch.cat([graph.first, graph.second]).tolist()
    arriving_at: dict[int, list[int]] = {}
    for message, end in enumerate(ends):
        arriving_at.setdefault(end, []).append(message)
    found = [
        (arriving, leaving)
        for leaving, (start, end) in enumerate(zip(starts, ends, strict=True))
        for arriving in arriving_at.get(start, [])
        if starts[arriving] != end
    ]
    return torch.tensor([a for a, _ in found]), torch.tensor([b for _, b in found])


def reference(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, plus: bool, own_basis: bool
) -> nn.Module:
    """Return torch-geometric's model with the graph's edges and triplets.

    Its own basis takes many seconds to derive and has constants in single precision. Without
    ``own_basis`` it uses scipy's functions.
    """
    module: Any = pytest.importorskip("torch_geometric.nn.models.dimenet")
    ends, starts = torch.cat([graph.first, graph.second]), torch.cat([graph.second, graph.first])
    arriving, leaving = plain_triplets(graph)
    known = (ends, starts, ends[leaving], starts[leaving], starts[arriving], arriving, leaving)
    monkeypatch.setattr(module, "radius_graph", lambda *args, **kwargs: torch.stack([starts, ends]))
    monkeypatch.setattr(module, "triplets", lambda edge_index, num_nodes: known)
    if not own_basis:
        import torch_geometric.nn.models.dimenet_utils as formulas

        monkeypatch.setattr(formulas, "bessel_basis", lambda n, k: [[1.0] * k] * n)
    if plus:
        model = module.DimeNetPlusPlus(
            24, 1, 2, 16, 4, 32, 7, 6, output_initializer="glorot_orthogonal"
        )
    else:
        model = module.DimeNet(24, 1, 2, 4, 7, 6, output_initializer="glorot_orthogonal")
    if not own_basis:
        model.sbf.bessel_funcs = [
            scipy_bessel(order, z) for order, row in enumerate(bessel_zeros(7, 6)) for z in row
        ]
    return model


def scipy_bessel(order: int, zero: float) -> Callable[[Tensor], Tensor]:
    norm = np.sqrt(2) / abs(spherical_jn(order + 1, zero))
    return lambda x: torch.from_numpy(norm * spherical_jn(order, zero * x.double().numpy())).to(
        x.dtype
    )


def compare(theirs: nn.Module, graph: Graph, plus: bool, tolerance: float) -> None:
    ours = DimeNet(SIZE, plus)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(other)
    out = ours(graph)
    expected = theirs(graph.numbers, graph.positions, graph.molecule).squeeze(1)
    for result in (out, expected):
        (result - graph.target).square().mean().backward()
    distances = {"outputs": relative(out, expected)}
    for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        distances[name] = relative(mine.grad, other.grad)
    assert {name: far for name, far in distances.items() if far > tolerance} == {}


def relative(mine: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the largest reference value."""
    return float((mine - other).detach().abs().max() / other.detach().abs().max())


@pytest.mark.parametrize("plus", [False, True], ids=["dimenet", "dimenet++"])
@pytest.mark.parametrize(
    ("precision", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)]
)
def test_outputs_and_gradients_equal_torch_geometric(
    monkeypatch, request, plus, precision, tolerance
):
    default = torch.get_default_dtype()
    request.addfinalizer(lambda: torch.set_default_dtype(default))
    torch.set_default_dtype(precision)
    graph = graph_of(4, double=precision == torch.float64)
    torch.manual_seed(0)
    compare(reference(monkeypatch, graph, plus, own_basis=False), graph, plus, tolerance)


@pytest.mark.parametrize("plus", [False, True], ids=["dimenet", "dimenet++"])
def test_single_precision_changes_outputs_and_gradients_by_less_than_1e_5(
    monkeypatch, request, plus
):
    default = torch.get_default_dtype()
    request.addfinalizer(lambda: torch.set_default_dtype(default))
    single, double = graph_of(4, double=False), graph_of(4)
    torch.manual_seed(0)
    ours = DimeNet(SIZE, plus)
    for output in ours.outputs:
        nn.init.normal_(output.last.weight)
    torch.set_default_dtype(torch.float64)
    theirs = reference(monkeypatch, double, plus, own_basis=False)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
    out, expected = (
        ours(single),
        theirs(double.numbers, double.positions, double.molecule).squeeze(1),
    )
    for result, graph in ((out, single), (expected, double)):
        (result - graph.target).square().mean().backward()
    pairs = [(out, expected)] + [
        (p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)
    ]
    for mine, other in pairs:
        assert relative(mine, other) < 1e-5


@pytest.mark.full
def test_outputs_equal_torch_geometric_with_its_own_basis(monkeypatch):
    graph = graph_of(4, double=False)
    torch.manual_seed(0)
    compare(reference(monkeypatch, graph, True, own_basis=True), graph, True, 1e-5)


@pytest.mark.parametrize("plus", [False, True])
def test_an_untrained_dimenet_gives_exactly_zero(plus):
    out = DimeNet(SIZE, plus)(graph_of(3, double=False))
    assert torch.equal(out, torch.zeros(3))


def test_zeros_of_bessel_functions_equal_the_published_tables():
    # Abramowitz and Stegun, table 10.6
    zeros = bessel_zeros(4, 3)
    assert zeros[0] == pytest.approx(np.pi * np.array([1, 2, 3]))
    assert zeros[1] == pytest.approx([4.493409, 7.725252, 10.904122], abs=1e-6)
    assert zeros[3] == pytest.approx([6.987932, 10.417119, 13.698023], abs=1e-6)
