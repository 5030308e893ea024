"""Layers of DimeNet: dense ones with orthogonal weights, and two of them added to their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wattlaw.workloads.molecules.graphs.grid import applied
from wattlaw.workloads.molecules.graphs.products import Linear, product

ROWS = 2048
"""So many messages go through several layers at once on a CPU, where what passes between the layers then stays in the
cache of one core."""


def by_parts(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Return what a function of single rows (E, …) gives, (E, F); on a CPU for ``ROWS`` of them after another."""
    if rows[0].device.type != "cpu" or torch.compiler.is_compiling():
        return function(*rows)
    parts = zip(*(tensor.split(ROWS) for tensor in rows), strict=True)
    return torch.cat([function(*part) for part in parts])


def orthogonal(layer: nn.Linear) -> nn.Linear:
    """Return the layer with orthogonal weights scaled as Glorot's, and no bias at first."""
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight)
        scale = 2.0 / ((layer.weight.shape[0] + layer.weight.shape[1]) * layer.weight.var())
        layer.weight.mul_(scale.sqrt())
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def dense(inside: int, outside: int, bias: bool = True) -> nn.Linear:
    """Return a new orthogonal layer."""
    return orthogonal(Linear(inside, outside, bias))


class _Residual(Function):
    # adds the two gradients while multiplying, and works in place where it can
    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        before_1 = product(x, w1, b1)
        between = F.silu(before_1)
        before_2 = product(between, w2, b2)
        ctx.save_for_backward(x, w1, w2, before_1, between, before_2)
        return F.silu(before_2).add_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
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


class Residual(nn.Module):
    """Two layers added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = dense(width, width), dense(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (E, width)."""
        if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
            out: Tensor = x + F.silu(self.second(F.silu(self.first(x))))
            return out
        weights = (self.first.weight, self.first.bias, self.second.weight, self.second.bias)
        return applied(_Residual, x, *weights)
