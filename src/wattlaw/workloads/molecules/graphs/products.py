"""Matrix products of layers on a CPU by oneDNN, which PyTorch brings along and itself uses for half precision alone.

In single precision PyTorch multiplies by MKL, which reaches a good third of the rate of an AMD processor: 93 against
236 Gflop/s for 7,500 × 128 × 128 on one core with AVX-512. Results differ in rounding only.

Shapes: rows (N, I), weights (O, I), bias (O,).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.grid import applied

WORTH = 2**21
"""Products of fewer multiply-adds are left to PyTorch: oneDNN takes ten microseconds to begin."""

# an operation that PyTorch's own compiler calls; not every build has oneDNN
_HAS_IT = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(rows: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightsᵀ + bias, (N, O); no gradient is kept."""
    if _is_faster(rows, weights):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            _whole(rows), _whole(weights), bias, "none", [], ""
        )
        return found
    return F.linear(rows, weights, bias)


def _whole(matrix: Tensor) -> Tensor:
    # oneDNN takes a thousand times as long for a part of a matrix
    return matrix if matrix.is_contiguous() or matrix.T.is_contiguous() else matrix.contiguous()


def _is_faster(rows: Tensor, weights: Tensor) -> bool:
    # a compiler fuses what it knows, and oneDNN's product is none of it
    return (
        rows.device.type == "cpu"
        and rows.dtype == weights.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and rows.numel() * weights.shape[0] >= WORTH
        and _HAS_IT
        and bool(torch.backends.mkldnn.enabled)
    )


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weights)
        return product(rows, weights, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weights = ctx.saved_tensors
        to_rows, to_weights, to_bias = ctx.needs_input_grad
        return (
            linear(gradient, weights.T) if to_rows else None,
            linear(gradient.T, rows.T) if to_weights else None,
            gradient.sum(0) if to_bias else None,
        )


def linear(rows: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightsᵀ + bias, (N, O). Differentiable any number of times."""
    if _is_faster(rows, weights) and not torch.is_autocast_enabled("cpu"):
        return applied(_Linear, rows, weights, bias)
    return F.linear(rows, weights, bias)


class Linear(nn.Linear):
    """A linear layer as PyTorch's, the product by ``linear``: (…, I) -> (…, O)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, O)."""
        if input.dim() == 2:
            return linear(input, self.weight, self.bias)
        return linear(input.flatten(0, -2), self.weight, self.bias).view(*input.shape[:-1], -1)
