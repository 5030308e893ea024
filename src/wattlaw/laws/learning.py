"""How a loss falls: power laws over size, and what a training curve's beginning says of its end.

Training speed estimation (Ru et al., NeurIPS 2021) and the loss-curve gradient approximation are scores of a
run's first epochs; ranking.py ranks configurations by them, to stop the worst early (Frey et al. 2022).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.findings import Interval
from wattlaw.core.units import counted
from wattlaw.laws.power import fit_power
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, Array, positive
from wattlaw.laws.statistics.ratios import t_quantile

_WIDEST = 1e6

_LEAST_BASE = 1e-9
"""b1 + b2·k is held above this, so that the curve of b = 0 stays finite."""

DECAY = 0.999
"""γ of TSE-EMA, as published."""


class OffsetLaw(NamedTuple):
    """L = alpha·R^(−beta) + floor, each with its 90 % interval."""

    alpha: Interval
    beta: Interval
    floor: Interval


class Gradients(NamedTuple):
    """LCGA: L(k)/M = 1/(b1 + b2·k) + b3, and its two scores."""

    b1: float
    b2: float
    b3: float
    slope: float
    slope_over_curvature: float


def epoch_means(epochs: ArrayLike, losses: ArrayLike) -> Array:
    """Return the mean loss of each epoch, by ascending epoch. Raises FitError for losses that are not finite."""
    number, loss = np.asarray(epochs), np.asarray(losses, float)
    if number.shape != loss.shape or number.ndim != 1 or not len(loss):
        raise FitError("epochs and losses differ in number, or there are none")
    if not np.isfinite(loss).all():
        raise FitError(
            f"the loss of step {int(np.flatnonzero(~np.isfinite(loss))[0])} is not finite"
        )
    return np.array([loss[number == n].mean() for n in np.unique(number)])


def tse(means: ArrayLike, epochs: int) -> float:
    """Return the sum of the mean losses of the first ``epochs`` epochs (t < T, epochs counted from 0)."""
    return float(_first(means, epochs)[:epochs].sum())


def tse_e(means: ArrayLike, epochs: int, last: int = 1) -> float:
    """Return the sum over the ``last`` epochs T−E+1 … T, T included."""
    if not 1 <= last <= epochs + 1:
        raise UsageError(f"last is {last}; give 1 to {epochs + 1}")
    return float(_first(means, epochs + 1)[epochs - last + 1 : epochs + 1].sum())


def tse_ema(means: ArrayLike, epochs: int, decay: float = DECAY) -> float:
    """Return Σ γ^(T−t)·mean_t over t = 0 … T, T included."""
    values = _first(means, epochs + 1)[: epochs + 1]
    return float((decay ** np.arange(epochs, -1, -1) * values).sum())


def lcga(epochs: ArrayLike, losses: ArrayLike, fitted: int = 10, skipped: int = 2) -> Gradients:
    """Fit 1/(b1 + b2·k) + b3, b ≥ 0, to step losses of the first ``fitted`` epochs over their maximum M.

    The scores are means over the steps after the first ``skipped`` epochs: of M·L′, and of √M·L′/√L″.
    """
    number, loss = np.asarray(epochs), np.asarray(losses, float)
    epoch_means(number, loss)
    kept = loss[number < fitted]
    if len(kept) < 4 or kept.max() <= 0:
        raise FitError(
            f"{len(kept)} steps in the first {fitted} epochs; a curve needs four, with a positive loss"
        )
    most, k = float(kept.max()), np.arange(1, len(kept) + 1, dtype=float)
    if not SMALLEST <= most <= LARGEST or float(np.abs(kept).max()) > _WIDEST * most:
        raise FitError(f"losses from {kept.min():g} to {most:g} are no training curve")
    b = _hyperbola(k, kept / most)
    after = k[int((number < skipped).sum()) :]
    if not len(after):
        raise FitError(
            f"no step lies between epochs {skipped} and {fitted}, so there is no slope to average"
        )
    first, ratio = curve_gradients(b, after)
    b1, b2, b3 = b.tolist()
    return Gradients(b1, b2, b3, most * float(first.mean()), float(np.sqrt(most) * ratio.mean()))


def curve_gradients(b: Array, steps: Array) -> tuple[Array, Array]:
    """Return L′ and L′/√L″ of L = 1/(b1 + b2·k) + b3 at steps k (n,).

    L′/√L″ = −1/√(2·(b1 + b2·k)): b2 cancels, so a curve that hardly falls has it too; 0 where b2 is 0.
    """
    base = np.maximum(b[0] + b[1] * steps, _LEAST_BASE)
    return -(b[1] / base) / base, -1 / np.sqrt(2 * base) if b[1] > 0 else np.zeros_like(base)


def fit_offset(sizes: ArrayLike, losses: ArrayLike) -> OffsetLaw:
    """Fit L = alpha·R^(−beta) + floor to at least four sizes, in log space; floor 0 gives ``fit_power``.

    Raises FitError for fewer sizes or numbers not positive and finite.
    """
    x, y = positive("size", sizes), positive("loss", losses)
    if x.shape != y.shape or len(np.unique(x)) < 4:
        raise FitError(f"a law with a floor needs four sizes; there are {len(np.unique(x))}")
    plain = fit_power(x, y)
    u = np.log(x) - plain.centre

    def miss(p: Array) -> Array:
        found: Array = np.logaddexp(p[0] - np.exp(p[1]) * u, p[2]) - np.log(y)
        return found

    starts = (
        [plain.intercept, np.log(max(-plain.slope, 1e-3) * f), np.log(y.min() * g)]
        for f, g in _STARTS
    )
    best = min(
        (optimize.least_squares(miss, s, loss="soft_l1", f_scale=0.05) for s in starts),
        key=lambda r: r.cost,
    )
    return _offset(best, plain.centre, len(x))


_STARTS = ((1.0, 0.01), (1.5, 0.5), (2.5, 0.9))


def _first(means: ArrayLike, count: int) -> Array:
    values = np.asarray(means, float)
    if count < 1 or len(values) < count:
        raise UsageError(f"{counted(count, 'epoch')} asked for; the curve has {len(values)}")
    return values


def _hyperbola(k: Array, y: Array) -> Array:
    best = None
    for start in ((1.0, 0.01, 0.01), (1.0, 0.1, 0.0), (0.5, 0.001, 0.1)):
        found = optimize.least_squares(
            lambda b: 1 / np.maximum(b[0] + b[1] * k, _LEAST_BASE) + b[2] - y, start, bounds=(0, np.inf),
            xtol=1e-14, ftol=1e-14, gtol=1e-14,
        )  # fmt: skip
        if best is None or found.cost < best.cost:
            best = found
    if best is None or not np.isfinite(best.x).all():
        raise FitError("no curve 1/(b1 + b2·k) + b3 comes near these losses")
    result: Array = best.x
    return result


def _offset(found: Any, centre: float, n: int) -> OffsetLaw:
    df = max(n - 3, 1)
    scale = 2 * found.cost / df + 1e-24
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * scale
    # alpha at R = 1 rather than at the middle of the sizes: ln alpha = a + beta·centre, and beta = exp(p1)
    beta = float(np.exp(np.clip(found.x[1], -50, 50)))
    change = np.array([[1.0, beta * centre, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    middle = np.array([found.x[0] + beta * centre, found.x[1], found.x[2]])
    half = np.minimum(
        t_quantile(df) * np.sqrt(np.maximum(np.diag(change @ covariance @ change.T), 0.0)), 50.0
    )
    ends = np.exp(np.clip([middle, middle - half, middle + half], -700, 700)).T
    return OffsetLaw(*(Interval(*row) for row in ends.tolist()))
