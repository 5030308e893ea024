"""Interpolation of a function of distance from an even grid of points; sums of sorted rows.

Shapes: P pairs, G points of the grid, F features.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from wattlaw.workloads.cache import Array

AutogradContext = Any
"""The context of an autograd function, to which PyTorch gives no type for what is stored in it."""

SHIFT = 3
STENCIL = 1 << SHIFT
"""A value is interpolated from this many points of the grid."""

_SCALES = tuple(1 / math.prod(k - m for m in range(STENCIL) if m != k) for k in range(STENCIL))


@dataclasses.dataclass(frozen=True)
class Grid:
    """Distances on a grid of G points: the value of a pair is a weighted sum of STENCIL points.

    points, weights           (STENCIL·P,), in the order of pairs
    starts                    (P + 1,), where those of each pair begin
    back_pairs, back_weights  (STENCIL·P,), the same in the order of points, for the gradient
    back_starts               (G + 1,), where those of each point begin
    """

    points: Tensor
    weights: Tensor
    starts: Tensor
    back_pairs: Tensor
    back_weights: Tensor
    back_starts: Tensor


def grid_points(cutoff: float, points: int) -> Array:
    """Return the distances of a grid, (points,), in the unit of ``cutoff``.

    It extends beyond 0 and the cutoff, so that the stencil is always centred.
    """
    step = cutoff / (points - STENCIL + 1)
    return (np.arange(points) - (STENCIL // 2 - 1)) * step


def place_on_grid(distance: Array, cutoff: float, points: int) -> Grid:
    """Return the places of distances (P,) up to ``cutoff`` on ``grid_points``.

    The interpolation is Lagrange's polynomial through the eight nearest points, h apart; its
    error is at most 0.0011·h⁸·max|f⁽⁸⁾|.
    """
    pairs = len(distance)
    scaled = distance.astype(np.float64) * ((points - STENCIL + 1) / cutoff)
    base = np.clip(scaled.astype(np.int64), 0, points - STENCIL)
    weights = _lagrange(scaled - base + (STENCIL // 2 - 1))
    where = (base[:, None] + np.arange(STENCIL)).ravel()
    # on integers of so few bits numpy's stable sort is a radix sort, 15 times faster here
    order = np.argsort(where.astype(np.uint8 if points <= 256 else np.uint16), kind="stable")
    by_base = np.bincount(base, minlength=points - STENCIL + 1)
    counts = np.convolve(by_base, np.ones(STENCIL, int))
    return Grid(
        points=torch.from_numpy(where),
        weights=torch.from_numpy(weights.ravel()),
        starts=torch.arange(0, STENCIL * pairs + 1, STENCIL),
        back_pairs=torch.from_numpy(order >> SHIFT),
        back_weights=torch.from_numpy(weights.ravel()[order]),
        back_starts=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])),
    )


def _lagrange(t: Array) -> Array:
    """Return the weights (P, STENCIL) of the points 0, 1, … at ``t`` (P,)."""
    weights = np.empty((len(t), STENCIL), np.float32)
    away = [t - k for k in range(STENCIL)]
    left = list(itertools.accumulate(away[:-1], np.multiply, initial=np.ones_like(t)))
    right = list(itertools.accumulate(away[:0:-1], np.multiply, initial=np.ones_like(t)))[::-1]
    for k, scale in enumerate(_SCALES):
        np.multiply(left[k], right[k] * scale, out=weights[:, k], casting="same_kind")
    return weights


def row_starts(values: Array, size: int) -> Array:
    """Return where each value below ``size`` begins among the sorted values, (size + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(values, minlength=size))])


def bag(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the (weighted) sums of ``table[rows[starts[k]:starts[k + 1]]]``, one row for each k.

    One fused gather and sum, without atomics and without a gradient.
    """
    return torch.embedding_bag(table, rows, starts, False, 0, False, weights, True)[0]


def applied(function: type[Function], *inputs: object) -> Tensor:
    """Return the output of an autograd function, whose ``apply`` has no types."""
    result: Tensor = function.apply(*inputs)
    return result


class _Interpolate(Function):
    @staticmethod
    def forward(ctx: AutogradContext, table: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        return bag(table, grid.points, grid.starts, grid.weights.to(table.dtype))

    @staticmethod
    def backward(ctx: AutogradContext, gradient: Tensor) -> tuple[Tensor, None]:
        grid = ctx.grid
        weights = grid.back_weights.to(gradient.dtype)
        return bag(gradient.contiguous(), grid.back_pairs, grid.back_starts, weights), None


def interpolate(table: Tensor, grid: Grid) -> Tensor:
    """Return the values at the pairs of a function given on the grid: (G, F) -> (P, F)."""
    return applied(_Interpolate, table, grid)
