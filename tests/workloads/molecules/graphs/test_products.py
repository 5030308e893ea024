"""Matrix products by oneDNN: equal to PyTorch's, with the second derivatives that forces need."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs import products
from wattlaw.workloads.molecules.graphs.products import Linear, linear

LARGE, SMALL = (512, 96, 64), (3, 4, 5)
"""Rows, in_features and out_features of a product for oneDNN and of one for PyTorch."""


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def derivatives(make, rows: Tensor, weights: Tensor, bias: Tensor) -> list[Tensor]:
    """Return a product, its gradients, and the gradients of the sum of their squares."""
    inputs = [t.detach().clone().requires_grad_() for t in (rows, weights, bias)]
    out = make(*inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [out.detach(), *(g.detach() for g in first), *second]


@pytest.mark.parametrize("shape", [LARGE, SMALL])
def test_a_product_and_its_first_and_second_derivatives_agree_with_double_precision(shape):
    N, inside, outside = shape
    given = drawn(N, inside), drawn(outside, inside), drawn(outside)
    ours = derivatives(linear, *given)
    exact = derivatives(F.linear, *(t.double() for t in given))
    for mine, other in zip(ours, exact, strict=True):
        assert float((mine - other).abs().max()) < 1e-5 * float(other.abs().max())


def test_slices_of_matrices_and_inputs_of_more_dimensions_give_the_same_products():
    wide, many = drawn(64, 300), drawn(8, 64, 200)
    part, rows = wide[:, 100:200], many[..., 50:150]
    torch.testing.assert_close(
        linear(rows.flatten(0, 1), part), rows.flatten(0, 1) @ part.T, rtol=1e-4, atol=1e-4
    )
    layer = Linear(100, 64)
    expected = F.linear(rows, layer.weight, layer.bias)
    torch.testing.assert_close(layer(rows), expected, rtol=1e-4, atol=1e-4)
    assert layer(rows).shape == (8, 64, 64)


def test_autocast_and_other_precisions_use_pytorchs_product(monkeypatch):
    layer, rows = Linear(96, 64), drawn(512, 96)
    plain = nn.Linear(96, 64)
    plain.load_state_dict(layer.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(rows).dtype == torch.bfloat16
        assert torch.equal(layer(rows), plain(rows))
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        assert torch.equal(layer(rows), plain(rows))
    assert torch.equal(layer.double()(rows.double()), plain.double()(rows.double()))
    assert products.product(
        torch.empty(512, 96, device="meta"), torch.empty(64, 96, device="meta")
    ).shape == (512, 64)


def test_this_pytorch_has_the_private_operation_of_onednn():
    # on failure, PyTorch has dropped or changed torch.ops.mkldnn._linear_pointwise; products.py
    # then uses PyTorch's own product, and the figures in docs/workloads.md no longer hold
    if not torch.backends.mkldnn.is_available():
        pytest.skip("needs a build of PyTorch with oneDNN")
    assert products.has_onednn_linear()


def test_a_build_without_the_operation_uses_pytorchs_product(monkeypatch):
    def absent(rows: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        raise AttributeError("no such operation")

    monkeypatch.setattr(products, "_onednn_linear", absent)
    products.has_onednn_linear.cache_clear()
    try:
        assert not products.has_onednn_linear()
        rows, weights = drawn(512, 96), drawn(64, 96)
        assert torch.equal(linear(rows, weights), F.linear(rows, weights))
    finally:
        products.has_onednn_linear.cache_clear()
