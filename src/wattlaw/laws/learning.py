"""Losses: power laws over size, and scores of the first epochs of a training curve.

Training speed estimation (TSE, Ru et al., NeurIPS 2021) and loss-curve gradient approximation
(LCGA) score the first epochs of a run. early_ranking.py ranks configurations by these scores, so
that the worst can be stopped early (Frey et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.findings import Interval
from wattlaw.core.units import counted
from wattlaw.laws.law import Law, Observations, leave_one_out
from wattlaw.laws.power import fit_power
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, Array, positive
from wattlaw.laws.statistics.ratios import t_quantile

NAMES = {"power-floor": "PowerWithFloor"}

_WIDEST = 1e6

_SMALLEST_BASE = 1e-9
"""b1 + b2·k is kept above this, so that the curve of b = 0 stays finite."""

DECAY = 0.999
"""γ of TSE-EMA, as published."""

_STARTS = ((1.0, 0.01), (1.5, 0.5), (2.5, 0.9))
"""Starts of the fit with a floor: factor of the exponent, share of the least loss."""


class OffsetLaw(NamedTuple):
    """L = alpha·R^(−beta) + floor, each with its 90 % interval.

    ``logs`` are ln alpha, ln beta and ln floor, ``covariance`` (3, 3) theirs, with ``df`` degrees
    of freedom; ``spread`` is the standard deviation of ln of one loss.
    """

    alpha: Interval
    beta: Interval
    floor: Interval
    logs: Array
    covariance: Array
    spread: float
    df: int

    def loss(self, size: float, of_a_run: bool = False) -> Interval:
        """Return the loss at a size with its 90 % interval: of the law, or of one more run."""
        log_alpha, log_beta, log_floor = self.logs.tolist()
        beta, log_size = float(np.exp(log_beta)), float(np.log(size))
        falling = log_alpha - beta * log_size
        value = float(np.logaddexp(falling, log_floor))
        # first-order propagation: derivatives of ln L to the three logarithms
        share = float(np.exp(falling - value))
        slope = np.array([share, -share * beta * log_size, 1 - share])
        variance = float(slope @ self.covariance @ slope) + of_a_run * self.spread**2
        half = t_quantile(self.df) * max(variance, 0.0) ** 0.5
        low, middle, high = np.exp(np.clip([value - half, value, value + half], -700, 700)).tolist()
        return Interval(middle, low, high)


_SIZES = np.geomspace(1e5, 1e9, 8)


@dataclass(frozen=True, eq=False)
class PowerWithFloor(Law):
    """A power law that levels off at a floor, such as a loss over the number of parameters."""

    law: OffsetLaw

    example: ClassVar = Observations(
        "parameters", "loss_last", np.repeat(_SIZES, 2), 5 * np.repeat(_SIZES, 2) ** -0.2 + 0.3
    )

    @classmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law to four or more sizes; see ``fit_offset``."""
        return cls(fit_offset(observations.x, observations.y))

    def parameters(self) -> dict[str, Interval]:
        """Return alpha, beta and the floor."""
        return {"alpha": self.law.alpha, "beta": self.law.beta, "floor": self.law.floor}

    def predict(self, points: Observations) -> Array:
        """Return the target at points."""
        return np.array([found.value for found in self.interval(points)])

    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the target at points with 90 % intervals."""
        return [self.law.loss(size, of_a_run) for size in points.x.tolist()]

    @classmethod
    def held_out_error(cls, observations: Observations) -> float | None:
        """Return the median error of interior sizes, each predicted from the others."""
        return leave_one_out(cls, observations, 5)


class Gradients(NamedTuple):
    """LCGA: L(k)/M = 1/(b1 + b2·k) + b3, and its two scores."""

    b1: float
    b2: float
    b3: float
    slope: float
    slope_over_curvature: float


def epoch_means(epochs: ArrayLike, losses: ArrayLike) -> Array:
    """Return the mean loss of each epoch, by ascending epoch.

    Raises FitError for losses that are not finite.
    """
    number, loss = np.asarray(epochs), np.asarray(losses, float)
    if number.shape != loss.shape or number.ndim != 1 or not len(loss):
        raise FitError("epochs and losses differ in length or are empty")
    if not np.isfinite(loss).all():
        first = int(np.flatnonzero(~np.isfinite(loss))[0])
        raise FitError(f"the loss of step {first} is not finite")
    return np.array([loss[number == n].mean() for n in np.unique(number)])


def tse(means: ArrayLike, epochs: int) -> float:
    """Return the sum of the mean losses of epochs 0 … ``epochs`` − 1."""
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
    """Fit 1/(b1 + b2·k) + b3, b ≥ 0, to the losses of ``fitted`` epochs ÷ their maximum M.

    The scores are means over the steps after the first ``skipped`` epochs: of M·L′, and of
    √M·L′/√L″.
    """
    number, loss = np.asarray(epochs), np.asarray(losses, float)
    epoch_means(number, loss)
    kept = loss[number < fitted]
    if len(kept) < 4 or kept.max() <= 0:
        raise FitError(
            f"{len(kept)} steps in the first {fitted} epochs; "
            "a curve needs four, with a positive loss"
        )
    most, k = float(kept.max()), np.arange(1, len(kept) + 1, dtype=float)
    if not SMALLEST <= most <= LARGEST or float(np.abs(kept).max()) > _WIDEST * most:
        raise FitError(f"losses from {kept.min():g} to {most:g} are not a training curve")
    b = _hyperbola(k, kept / most)
    after = k[int((number < skipped).sum()) :]
    if not len(after):
        raise FitError(
            f"no step lies between epochs {skipped} and {fitted}, so there is no slope to average"
        )
    gradients, ratio = curve_gradients(b, after)
    b1, b2, b3 = b.tolist()
    slope = most * float(gradients.mean())
    return Gradients(b1, b2, b3, slope, float(np.sqrt(most) * ratio.mean()))


def curve_gradients(b: Array, steps: Array) -> tuple[Array, Array]:
    """Return L′ and L′/√L″ of L = 1/(b1 + b2·k) + b3 at steps k (n,).

    L′/√L″ = −1/√(2·(b1 + b2·k)): b2 cancels, so that a curve that hardly falls has this score too.
    It is 0 if b2 is 0.
    """
    base = np.maximum(b[0] + b[1] * steps, _SMALLEST_BASE)
    ratio = -1 / np.sqrt(2 * base) if b[1] > 0 else np.zeros_like(base)
    return -(b[1] / base) / base, ratio


def fit_offset(sizes: ArrayLike, losses: ArrayLike) -> OffsetLaw:
    """Fit L = alpha·R^(−beta) + floor to at least four sizes, in log space.

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

    found = []
    for factor, share in _STARTS:
        log_beta = np.log(max(-plain.slope, 1e-3) * factor)
        start = [plain.intercept, log_beta, np.log(y.min() * share)]
        found.append(optimize.least_squares(miss, start, loss="soft_l1", f_scale=0.05))
    best = min(found, key=lambda result: float(result.cost))
    return _offset(best.x, best.cost, best.jac, plain.centre, len(x))


def _first(means: ArrayLike, count: int) -> Array:
    values = np.asarray(means, float)
    if count < 1 or len(values) < count:
        raise UsageError(f"{counted(count, 'epoch')} requested; the curve has {len(values)}")
    return values


def _hyperbola(k: Array, y: Array) -> Array:
    def miss(b: Array) -> Array:
        found: Array = 1 / np.maximum(b[0] + b[1] * k, _SMALLEST_BASE) + b[2] - y
        return found

    found = []
    for start in ((1.0, 0.01, 0.01), (1.0, 0.1, 0.0), (0.5, 0.001, 0.1)):
        limits = {"bounds": (0, np.inf), "xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
        found.append(optimize.least_squares(miss, start, **limits))
    best: Array = min(found, key=lambda result: float(result.cost)).x
    if not np.isfinite(best).all():
        raise FitError("no curve 1/(b1 + b2·k) + b3 fits these losses")
    return best


def _offset(x: Array, cost: float, jacobian: Array, centre: float, n: int) -> OffsetLaw:
    df = max(n - 3, 1)
    variance = 2 * cost / df + 1e-24
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    # alpha at R = 1 instead of at the mean size: ln alpha = a + beta·centre, and beta = exp(x[1])
    beta = float(np.exp(np.clip(x[1], -50, 50)))
    change = np.array([[1.0, beta * centre, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    covariance = change @ covariance @ change.T
    middle = np.array([x[0] + beta * centre, x[1], x[2]])
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    half = np.minimum(t_quantile(df) * error, 50.0)
    ends = np.exp(np.clip([middle, middle - half, middle + half], -700, 700)).T
    alpha, beta_interval, floor = (Interval(*row) for row in ends.tolist())
    spread = float(np.sqrt(variance))
    return OffsetLaw(alpha, beta_interval, floor, middle, covariance, spread, df)
