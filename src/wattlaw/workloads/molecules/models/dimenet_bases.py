"""DimeNet's radial bases: Bessel functions under a smooth cutoff (arXiv 2003.03123).

Shapes: P pairs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wattlaw.workloads.cache import Array

SPHERICAL, RADIAL = 7, 6
"""Orders of the angular basis, and radial functions per order."""


def bessel(x: Array, orders: int) -> Array:
    """Return spherical Bessel functions j_0 … j_(orders-1) of ``x`` > 0 in a new dimension 0."""
    values = [np.sin(x) / x, np.sin(x) / x**2 - np.cos(x) / x]
    for k in range(1, orders - 1):
        values.append((2 * k + 1) / x * values[k] - values[k - 1])
    return np.stack(values[:orders])


def bessel_zeros(orders: int, count: int) -> Array:
    """Return the first ``count`` zeros of each order, (orders, count), by bisection.

    The zeros of one order lie between those of the order below.
    """
    known = np.arange(1, count + orders) * np.pi
    zeros = [known[:count]]
    for order in range(1, orders):
        low, high = known[:-1].copy(), known[1:].copy()
        sign = np.sign(bessel(low, orders + 1)[order])
        for _ in range(60):
            middle = (low + high) / 2
            left = np.sign(bessel(middle, orders + 1)[order]) == sign
            low, high = np.where(left, middle, low), np.where(left, high, middle)
        known = (low + high) / 2
        zeros.append(known[:count])
    return np.stack(zeros)


def envelope(x: Tensor) -> Tensor:
    """Return the smooth cutoff u(x)/x with u(0) = 1, u(1) = u′(1) = u″(1) = 0 (exponent p = 6)."""
    fifth = x**5
    return (1 / x - 28 * fifth + 48 * fifth * x - 21 * fifth * x * x) * (x < 1)


class DimeNetBases(nn.Module):
    """The radial basis, whose frequencies are trained, and the radial part of the angular basis."""

    zeros: Tensor
    norms: Tensor

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.frequencies = nn.Parameter(torch.arange(1, RADIAL + 1) * math.pi)
        zeros = bessel_zeros(SPHERICAL, RADIAL)
        next_order = np.stack(
            [bessel(zeros[order], SPHERICAL + 1)[order + 1] for order in range(SPHERICAL)]
        )
        norms = torch.tensor(np.sqrt(2) / np.abs(next_order), dtype=torch.float64)
        self.register_buffer("zeros", torch.tensor(zeros, dtype=torch.float64), persistent=False)
        self.register_buffer("norms", norms, persistent=False)

    def forward(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the radial basis (P, RADIAL) and the angular one (P, SPHERICAL, RADIAL)."""
        x = distance[:, None] / self.cutoff
        radial = envelope(x) * torch.sin(self.frequencies * x)
        return radial, self.angular(x).to(distance.dtype)

    def angular(self, x: Tensor) -> Tensor:
        """Return normalised j_l(z_ln·x)·envelope(x); the recursion needs double precision."""
        x = x.to(self.zeros.dtype)
        values = []
        for order in range(SPHERICAL):
            t = self.zeros[order] * x
            below, value = torch.sin(t) / t, torch.sin(t) / t**2 - torch.cos(t) / t
            if order == 0:
                value = below
            for k in range(1, order):
                below, value = value, (2 * k + 1) / t * value - below
            values.append(self.norms[order] * value)
        return torch.stack(values, 1) * envelope(x)[..., None]

    def _apply(self, function: Any, recurse: bool = True) -> DimeNetBases:
        # these constants stay in double precision, but follow the module to another device
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self.zeros, self.norms = self.zeros.double(), self.norms.double()
        return self
