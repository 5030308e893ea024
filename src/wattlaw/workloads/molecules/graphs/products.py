"""Matrix products of linear layers on a CPU by oneDNN, which comes with PyTorch.

PyTorch itself multiplies single precision by MKL. On an AMD processor with AVX-512 MKL reaches 93
Gflop/s on one core for 7,500 × 128 × 128, oneDNN 236. Results differ in rounding only. The
operation is a private one of PyTorch, which its own compiler calls: it is tried once, and if
it is missing or wrong, or ``torch.backends.mkldnn.enabled`` is False, PyTorch's product is taken.

Shapes: rows (N, in_features), weights (out_features, in_features), bias (out_features,).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.grid import AutogradContext, applied

SMALLEST_PRODUCT = 2**21
"""Products of fewer multiply-adds are left to PyTorch: oneDNN takes ten microseconds to start."""


@functools.cache
def has_onednn_linear() -> bool:
    """Return whether this build of PyTorch has the operation, with a correct result."""
    if not torch.backends.mkldnn.is_available():
        return False
    rows, weights, bias = torch.eye(3, 4), torch.arange(8.0).view(2, 4), torch.ones(2)
    try:
        found = _onednn_linear(rows, weights, bias)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return torch.allclose(found, F.linear(rows, weights, bias))


def _onednn_linear(rows: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights, bias, "none", [], "")
    return product


def product(rows: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightsᵀ + bias, (N, out_features), without a gradient."""
    if _is_faster(rows, weights):
        return _onednn_linear(_dense(rows), _dense(weights), bias)
    return F.linear(rows, weights, bias)


def _dense(matrix: Tensor) -> Tensor:
    # oneDNN is a thousand times slower on a part of a matrix
    is_dense = matrix.is_contiguous() or matrix.T.is_contiguous()
    return matrix if is_dense else matrix.contiguous()


def _is_faster(rows: Tensor, weights: Tensor) -> bool:
    # a compiler fuses PyTorch's own operations only
    return (
        rows.device.type == "cpu"
        and rows.dtype == weights.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and rows.numel() * weights.shape[0] >= SMALLEST_PRODUCT
        and bool(torch.backends.mkldnn.enabled)
        and has_onednn_linear()
    )


class _Linear(Function):
    @staticmethod
    def forward(ctx: AutogradContext, rows: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weights)
        return product(rows, weights, bias)

    @staticmethod
    def backward(
        ctx: AutogradContext, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weights = ctx.saved_tensors
        needs_rows, needs_weights, needs_bias = ctx.needs_input_grad
        to_rows = linear(gradient, weights.T) if needs_rows else None
        to_weights = linear(gradient.T, rows.T) if needs_weights else None
        to_bias = gradient.sum(0) if needs_bias else None
        return to_rows, to_weights, to_bias


def linear(rows: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightsᵀ + bias, (N, out_features). Differentiable any number of times."""
    if _is_faster(rows, weights) and not torch.is_autocast_enabled("cpu"):
        return applied(_Linear, rows, weights, bias)
    return F.linear(rows, weights, bias)


class Linear(nn.Linear):
    """nn.Linear with the product by ``linear``: (…, in_features) -> (…, out_features)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, out_features)."""
        if input.dim() == 2:
            return linear(input, self.weight, self.bias)
        return linear(input.flatten(0, -2), self.weight, self.bias).view(*input.shape[:-1], -1)
