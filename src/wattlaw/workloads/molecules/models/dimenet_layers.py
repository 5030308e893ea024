"""Layers of DimeNet: linear ones with orthogonal weights, and residual ones.

Shapes: E rows, such as messages.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.grid import AutogradContext, applied
from wattlaw.workloads.molecules.graphs.products import Linear, product

CHUNK_ROWS = 2048
"""Rows that pass several layers together on a CPU, so that intermediate results stay in the cache
of one core.
"""


def in_chunks(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Return a row-wise function of rows (E, …); on a CPU in chunks of CHUNK_ROWS."""
    if rows[0].device.type != "cpu" or torch.compiler.is_compiling():
        return function(*rows)
    chunks = zip(*(tensor.split(CHUNK_ROWS) for tensor in rows), strict=True)
    return torch.cat([function(*chunk) for chunk in chunks])


def orthogonal_linear(in_channels: int, out_channels: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer with orthogonal weights of Glorot's variance, and a bias of 0."""
    layer = Linear(in_channels, out_channels, bias)
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight)
        scale = 2.0 / ((layer.weight.shape[0] + layer.weight.shape[1]) * layer.weight.var())
        layer.weight.mul_(scale.sqrt())
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


class _Residual(Function):
    # adds both gradients while multiplying, and in place if possible
    @staticmethod
    def forward(
        ctx: AutogradContext, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
    ) -> Tensor:
        before_1 = product(x, w1, b1)
        between = F.silu(before_1)
        before_2 = product(between, w2, b2)
        ctx.save_for_backward(x, w1, w2, before_1, between, before_2)
        return F.silu(before_2).add_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, ...]:
        x, w1, w2, before_1, between, before_2 = ctx.saved_tensors
        g2 = torch.ops.aten.silu_backward(gradient, before_2)
        w2_gradient, b2_gradient = product(g2.T, between.T), g2.sum(0)
        g1 = product(g2, w2.T)
        torch.ops.aten.silu_backward.grad_input(g1, before_1, grad_input=g1)
        return (
            product(g1, w1.T).add_(gradient),
            product(g1.T, x.T),
            g1.sum(0),
            w2_gradient,
            b2_gradient,
        )


class ResidualLayer(nn.Module):
    """Two layers added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = orthogonal_linear(channels, channels)
        self.second = orthogonal_linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (E, channels)."""
        if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
            out: Tensor = x + F.silu(self.second(F.silu(self.first(x))))
            return out
        weights = (self.first.weight, self.first.bias, self.second.weight, self.second.bias)
        return applied(_Residual, x, *weights)
