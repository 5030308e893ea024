"""Rank training configurations by the first part of their loss curves.

The steps of a run are divided into PARTS equal parts, which stand for epochs whatever their length.
After some of the parts each score of learning.py ranks the configurations, lowest first. Of the
gradients (LCGA) the absolute value is used: on the fitted curve L′/√L″ = −√((L − b3)/2), so that it
measures the distance from the floor. A score uses only the steps up to that point.
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

MIN_STEPS = 2 * PARTS

SKIPPED = 0.2
"""Share of the steps that LCGA leaves out of its mean: 2 of 10 epochs as published."""


class Curve(NamedTuple):
    """The training of one configuration.

    losses, times   of each step (n,); times in s
    final           the value by which configurations are ranked at the end, lowest first
    energy_j        of the whole training; None if unknown
    """

    losses: Array
    times: Array
    final: float
    energy_j: float | None = None


class Ranked(NamedTuple):
    """A ranking after a share of the training.

    order        indices of the curves, best score first
    spearman     correlation with the final ranking; None if all values of a ranking are equal
    best_kept    whether the configuration that is best at the end is among those kept
    time_s, energy_j            saved by stopping the rest; the energy is None if one is unknown
    time_share, energy_share    the same as shares of the whole search
    """

    order: tuple[int, ...]
    spearman: float | None
    best_kept: bool
    time_s: float
    time_share: float
    energy_j: float | None
    energy_share: float | None


def part_means(losses: ArrayLike) -> Array:
    """Return the mean loss of each of PARTS equal parts (PARTS,).

    Raises FitError for too few steps.
    """
    values = np.asarray(losses, float)
    if len(values) < MIN_STEPS:
        raise FitError(
            f"{len(values)} steps; a ranking needs {MIN_STEPS}, two in each of {PARTS} parts"
        )
    return np.array([part.mean() for part in np.array_split(values, PARTS)])


SCORES = ("TSE", "TSE-E", "TSE-EMA", "LCGA slope", "LCGA")


def scores(losses: ArrayLike, share: float) -> dict[str, float]:
    """Return SCORES of the step losses of a run after a share of its steps.

    Those of LCGA are left out if no curve fits. Raises FitError for too few steps or losses that
    are not finite.
    """
    values = np.asarray(losses, float)
    means, parts = part_means(values), max(1, round(share * PARTS))
    if not np.isfinite(means).all():
        raise FitError("a ranking needs finite losses")
    # learning.py counts epochs from 0, and the sums of TSE-E and TSE-EMA include epoch T
    found = {
        "TSE": tse(means, parts),
        "TSE-E": tse_e(means, parts - 1),
        "TSE-EMA": tse_ema(means, parts - 1),
    }
    seen = sum(len(part) for part in np.array_split(values, PARTS)[:parts])
    try:
        gradients = lcga(np.arange(len(values)), values, seen, int(SKIPPED * seen))
    except FitError:
        return found
    return found | {"LCGA slope": abs(gradients.slope), "LCGA": abs(gradients.slope_over_curvature)}


def ranked(
    curves: Sequence[Curve], scored: Sequence[float], share: float, keep: int | None = None
) -> Ranked:
    """Rank curves by their scores at a share of the training, and stop all but the best ``keep``.

    By default half are kept. Raises UsageError for an invalid share or number to keep, FitError for
    fewer than three curves.
    """
    keep = check(len(curves), share, keep)
    order = np.argsort(scored, kind="stable").tolist()
    final = np.array([curve.final for curve in curves])
    total_s = sum(float(curve.times.sum()) for curve in curves)
    energies = [curve.energy_j for curve in curves if curve.energy_j is not None]
    saved_s = saved_j = 0.0
    for index in order[keep:]:
        rest = _rest(curves[index], share)
        saved_s += rest * float(curves[index].times.sum())
        saved_j += rest * (curves[index].energy_j or 0.0)
    has_energy = len(energies) == len(curves)
    return Ranked(
        order=tuple(order),
        spearman=_spearman(np.asarray(scored, float), final),
        best_kept=int(final.argmin()) in order[:keep],
        time_s=saved_s,
        time_share=saved_s / total_s,
        energy_j=saved_j if has_energy else None,
        energy_share=saved_j / sum(energies) if has_energy else None,
    )


def check(count: int, share: float, keep: int | None) -> int:
    """Return how many configurations are kept. Raises UsageError or FitError as ``ranked`` does."""
    if not 1 / PARTS <= share < 1:
        raise UsageError(
            f"the share is {share:g}; give a share of the training from {1 / PARTS:g} to below 1, "
            "such as 0.2"
        )
    if count < 3:
        raise FitError(f"a ranking needs three configurations; there are {count}")
    if keep is None:
        return (count + 1) // 2
    if not 1 <= keep < count:
        raise UsageError(f"cannot keep {keep} of {count} configurations; give 1 to {count - 1}")
    return keep


def _rest(curve: Curve, share: float) -> float:
    # the remaining share of the training time
    return float(curve.times[round(share * len(curve.times)) :].sum() / curve.times.sum())


def _spearman(scored: Array, final: Array) -> float | None:
    if np.ptp(scored) == 0 or np.ptp(final) == 0:
        return None
    return float(stats.spearmanr(scored, final).statistic)
