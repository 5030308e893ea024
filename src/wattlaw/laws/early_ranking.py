"""How well do the beginnings of trainings rank them, and what does stopping the rest then save?

A run's steps are parted into PARTS equal parts, which stand for epochs whatever their length. After so many parts each
score of learning.py ranks the configurations, the lower the better. Of the gradients (LCGA) the size counts, least
first: on the fitted curve L′/√L″ = −√((L − b3)/2), so its size is a distance from the floor. Only what had been seen
by then enters a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from wattlaw.core.errors import FitError, UsageError
from wattlaw.laws.learning import lcga, tse, tse_e, tse_ema
from wattlaw.laws.statistics.arrays import Array

PARTS = 20

LEAST_STEPS = 2 * PARTS

SKIPPED = 0.2
"""Share of the steps seen that LCGA leaves out of its mean: 2 of 10 epochs as published."""


class Curve(NamedTuple):
    """One configuration's training: loss and time, s, of each step (n,), and what is ranked in the end, low is good.

    ``energy_j`` is that of the whole training, None where it is unknown.
    """

    losses: Array
    times: Array
    final: float
    energy_j: float | None = None


class Ranked(NamedTuple):
    """What scores say after a share of the training.

    order        indices of the curves, most promising first
    spearman     correlation with the final ranking; None where one of the rankings is all ties
    best_kept    whether the configuration that is best in the end is among those kept
    time_s, energy_j              saved by stopping the rest there; the energy is None where one is unknown
    time_share, energy_share      the same as shares of the whole search
    """

    order: tuple[int, ...]
    spearman: float | None
    best_kept: bool
    time_s: float
    time_share: float
    energy_j: float | None
    energy_share: float | None


def part_means(losses: ArrayLike) -> Array:
    """Return the mean loss of each of PARTS equal parts of a run's steps. Raises FitError for too few steps."""
    values = np.asarray(losses, float)
    if len(values) < LEAST_STEPS:
        raise FitError(
            f"{len(values)} steps; a ranking needs {LEAST_STEPS}, two in each of {PARTS} parts"
        )
    return np.array([part.mean() for part in np.array_split(values, PARTS)])


SCORES = ("TSE", "TSE-E", "TSE-EMA", "LCGA slope", "LCGA")


def scores(losses: ArrayLike, share: float) -> dict[str, float]:
    """Return SCORES of a run's step losses after a share of its steps; LCGA's are left out where no curve fits.

    Raises FitError for too few steps or losses that are not finite.
    """
    values = np.asarray(losses, float)
    means, parts = part_means(values), max(1, round(share * PARTS))
    if not np.isfinite(means).all():
        raise FitError("a ranking needs finite losses")
    # learning.py counts epochs from 0, and takes epoch T into the sums of TSE-E and TSE-EMA
    found = {
        "TSE": tse(means, parts),
        "TSE-E": tse_e(means, parts - 1),
        "TSE-EMA": tse_ema(means, parts - 1),
    }
    seen = sum(len(p) for p in np.array_split(values, PARTS)[:parts])
    try:
        gradients = lcga(np.arange(len(values)), values, seen, int(SKIPPED * seen))
    except FitError:
        return found
    return found | {"LCGA slope": abs(gradients.slope), "LCGA": abs(gradients.slope_over_curvature)}


def ranked(
    curves: Sequence[Curve], scored: Sequence[float], share: float, keep: int | None = None
) -> Ranked:
    """Rank curves by their scores at a share of the training and stop all but the best ``keep``, by default half.

    Raises UsageError for a share or a number to keep that means nothing, FitError for fewer than three curves.
    """
    keep = check(len(curves), share, keep)
    order = np.argsort(scored, kind="stable").tolist()
    final = np.array([c.final for c in curves])
    rests = [_rest(curves[i], share) for i in order[keep:]]
    times = [float(c.times.sum()) for c in curves]
    saved_s = sum(rest * times[i] for rest, i in zip(rests, order[keep:], strict=True))
    known = [c.energy_j for c in curves if c.energy_j is not None]
    saved_j = sum(
        rest * (curves[i].energy_j or 0.0) for rest, i in zip(rests, order[keep:], strict=True)
    )
    has_energy = len(known) == len(curves)
    return Ranked(
        tuple(order), _spearman(np.asarray(scored, float), final), int(final.argmin()) in order[:keep],
        saved_s, saved_s / sum(times), saved_j if has_energy else None, saved_j / sum(known) if has_energy else None,
    )  # fmt: skip


def check(count: int, share: float, keep: int | None) -> int:
    """Return how many configurations are kept. Raises UsageError or FitError as ``ranked`` does."""
    if not 1 / PARTS <= share < 1:
        raise UsageError(
            f"the share is {share:g}; give a part of the training from {1 / PARTS:g} to below 1, as 0.2"
        )
    if count < 3:
        raise FitError(f"a ranking needs three configurations; there are {count}")
    if keep is not None and not 1 <= keep < count:
        raise UsageError(f"{keep} of {count} configurations are to be kept; give 1 to {count - 1}")
    return (count + 1) // 2 if keep is None else keep


def _rest(curve: Curve, share: float) -> float:
    # the share of its time that a training has left
    return float(curve.times[round(share * len(curve.times)) :].sum() / curve.times.sum())


def _spearman(scored: Array, final: Array) -> float | None:
    if np.ptp(scored) == 0 or np.ptp(final) == 0:
        return None
    return float(stats.spearmanr(scored, final).statistic)
