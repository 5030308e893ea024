"""DimeNet's functions of distance: Bessel functions under a smooth cutoff (Gasteiger et al., arXiv 2003.03123)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SPHERICAL, RADIAL = 7, 6
"""Orders of the angular basis, and radial functions of each."""


def bessel(x: np.ndarray[Any, Any], orders: int) -> np.ndarray[Any, Any]:
    """Return spherical Bessel functions j_0 … j_(orders-1) of ``x`` > 0 in a new first dimension."""
    found = [np.sin(x) / x, np.sin(x) / x**2 - np.cos(x) / x]
    for k in range(1, orders - 1):
        found.append((2 * k + 1) / x * found[k] - found[k - 1])
    return np.stack(found[:orders])


def bessel_zeros(orders: int, count: int) -> np.ndarray[Any, Any]:
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
    """Return the smooth cutoff u(x)/x with u(0) = 1 and u(1) = u′(1) = u″(1) = 0 (exponent p = 6)."""
    fifth = x**5
    return (1 / x - 28 * fifth + 48 * fifth * x - 21 * fifth * x * x) * (x < 1)


class Bases(nn.Module):
    """Radial basis with learnt frequencies, and the fixed one of the angular functions."""

    zeros: Tensor
    norms: Tensor

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.frequencies = nn.Parameter(torch.arange(1, RADIAL + 1) * math.pi)
        zeros = bessel_zeros(SPHERICAL, RADIAL)
        beyond = np.stack(
            [bessel(zeros[order], SPHERICAL + 1)[order + 1] for order in range(SPHERICAL)]
        )
        self.register_buffer("zeros", torch.tensor(zeros, dtype=torch.float64), persistent=False)
        self.register_buffer(
            "norms",
            torch.tensor(np.sqrt(2) / np.abs(beyond), dtype=torch.float64),
            persistent=False,
        )

    def forward(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the radial basis (P, RADIAL) and that of the angles (P, SPHERICAL, RADIAL)."""
        x = distance[:, None] / self.cutoff
        radial = envelope(x) * torch.sin(self.frequencies * x)
        return radial, self.angular(x).to(distance.dtype)

    def angular(self, x: Tensor) -> Tensor:
        """Return normalised j_l(z_ln·x)·envelope(x), in double precision, which the recursion needs."""
        x = x.to(self.zeros.dtype)
        found = []
        for order in range(SPHERICAL):
            t = self.zeros[order] * x
            below, value = torch.sin(t) / t, torch.sin(t) / t**2 - torch.cos(t) / t
            if order == 0:
                value = below
            for k in range(1, order):
                below, value = value, (2 * k + 1) / t * value - below
            found.append(self.norms[order] * value)
        return torch.stack(found, 1) * envelope(x)[..., None]

    def _apply(self, function: Any, recurse: bool = True) -> Bases:
        # a change of precision leaves these constants in double; a change of device takes them along
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self.zeros, self.norms = self.zeros.double(), self.norms.double()
        return self
