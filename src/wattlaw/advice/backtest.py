"""Back-tests: hide what was measured, predict it or follow the advice, and compare.

``fit --backtest`` hides device counts of each family and predicts them with the averaged laws
and, as a baseline, the plain power law. ``advise --backtest`` hides all but K caps of each curve
and follows the advice drawn from these.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np

from wattlaw.advice.power_caps import choose_clear_cap
from wattlaw.analysis.cap_curves import CONFIDENCE, CapCurve, evaluate_curve, find_cap_curves
from wattlaw.analysis.groups import find_families
from wattlaw.analysis.run_laws import time_to_target
from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.laws.averaging import time_per_sample
from wattlaw.laws.priors import PRIOR_ROUNDS, START, Family, PriorPool, learn_priors
from wattlaw.laws.samples import fit_samples
from wattlaw.laws.scaling import Points, fit_scaling, shipped_critical_batch, shipped_prior
from wattlaw.laws.statistics.arrays import Array

FOLDS = 5
"""Number of folds of families, so that no family informs its own prior."""

Hide = Literal["largest", "next", "random"]
Critical = tuple[float, float] | None
"""Mean and standard deviation of ln of the critical batch; None if it is unknown."""


class HiddenSize(msgspec.Struct, frozen=True):
    """A hidden number of devices of one family: prediction, measurement and relative error."""

    group: str
    hidden: float
    predicted: float
    low: float
    high: float
    measured: float
    error: float
    baseline_error: float


class FollowedAdvice(msgspec.Struct, frozen=True):
    """Advice that was followed, with regret and slowdown as shares.

    ``broken`` says whether the slowdown exceeds the bound by more than 1.5 %.
    """

    group: str
    probes: list[float]
    chosen: float
    best: float
    regret: float
    slowdown: float
    broken: bool


def backtest_fit(
    runs: Iterable[Run], hide: Hide = "largest", to_target: bool = False
) -> list[HiddenSize]:
    """Hide device counts of each family with three or more, and predict their time.

    hide       "largest": the largest number; "next": each from the smaller ones, from the third on;
               "random": one at random, never the smallest
    to_target  predict the time to the target instead of the time per sample; the runs must hold the
               samples that it took

    Families that the shipped prior was learned from use a prior learned from four fifths of the
    families at hand, without themselves. Raises FitError if no family has three sizes.
    """
    if hide not in ("largest", "next", "random"):
        raise UsageError(f"cannot hide {hide!r}; valid: largest, next, random")
    done = [run for run in runs if run.state == "done"]
    found = find_families(done, 2, to_target)
    rounds = {run.labels.get("round") for run in done}
    informed_prior = bool(rounds & set(PRIOR_ROUNDS))
    pools = _pools(found) if informed_prior else {}
    hidden_sizes = []
    for family in found:
        prior, critical = _prior(family, pools.get(family.name), informed_prior)
        count = len(family.rates)
        for hidden in _hidden(count, hide, family.name):
            is_random = hide == "random"
            kept = [i for i in range(count) if i < hidden or (is_random and i != hidden)]
            predicted = _predict_hidden(family, kept, hidden, prior, critical, to_target)
            if predicted is not None:
                hidden_sizes.append(predicted)
    if not hidden_sizes:
        raise FitError("no family of runs has three sizes, so nothing can be hidden and predicted")
    return hidden_sizes


def backtest_advise(
    runs: Iterable[Run], probes: int = 3, max_slowdown: float = 0.05
) -> list[FollowedAdvice]:
    """Keep ``probes`` caps of each curve, advise from these, and compare with what was measured.

    Regret is the energy above that of the best measured cap within the bound, at least 0, as a
    share of the energy at the highest cap. Raises FitError if no curve has more caps than
    probes.
    """
    if probes < 3:
        raise UsageError(f"{counted(probes, 'probe')}; a cap law needs at least 3")
    curves, _ = find_cap_curves(runs, probes + 1)
    if not curves:
        raise FitError(f"no group of runs has measured GPU energy at more than {probes} power caps")
    followed = []
    for group, curve in curves:
        followed.append(_follow(", ".join(group.key.values()), curve, probes, max_slowdown))
    return followed


def summary(hidden_sizes: Sequence[HiddenSize]) -> dict[str, float]:
    """Return the number, the errors, the coverage of 90 % intervals, and the baseline's error."""
    errors = np.abs([h.error for h in hidden_sizes])
    baseline_errors = np.abs([h.baseline_error for h in hidden_sizes])
    covered = [h.low <= h.measured <= h.high for h in hidden_sizes]
    return {
        "n": len(hidden_sizes),
        "median_error": float(np.median(errors)),
        "mean_error": float(errors.mean()),
        "coverage_90": float(np.mean(covered)),
        "baseline_median_error": float(np.median(baseline_errors)),
    }


def summary_of_advice(followed: Sequence[FollowedAdvice]) -> dict[str, float]:
    """Return the number of curves, their mean regret, and the share whose bound was exceeded."""
    regrets = [f.regret for f in followed]
    broken = [f.broken for f in followed]
    return {
        "curves": len(followed),
        "mean_regret": float(np.mean(regrets)),
        "bound_broken": float(np.mean(broken)),
    }


def _pools(found: Sequence[Family]) -> dict[tuple[str, ...], PriorPool]:
    # by family, each learned without the fold of that family
    pools: dict[tuple[str, ...], PriorPool] = {}
    for fold in range(FOLDS):
        others = [family for i, family in enumerate(found) if i % FOLDS != fold]
        if len(others) < FOLDS:
            continue
        pool = learn_priors(others)
        for family in found[fold::FOLDS]:
            pools[family.name] = pool
    return pools


def _prior(family: Family, pool: PriorPool | None, informed_prior: bool) -> tuple[Array, Critical]:
    if pool is not None:
        return pool.prior(family.task), pool.critical(family.task)
    if informed_prior:
        return START, None
    return shipped_prior(family.task), shipped_critical_batch(family.task)


def _hidden(count: int, hide: Hide, name: tuple[str, ...]) -> list[int]:
    if count < 3:
        return []
    if hide == "largest":
        return [count - 1]
    if hide == "next":
        return list(range(2, count))
    # the same one each time, so that two back-tests compare
    return [random.Random("/".join(name)).randrange(1, count)]


def _predict_hidden(
    family: Family,
    kept: list[int],
    hidden: int,
    prior: Array,
    critical: Critical,
    to_target: bool,
) -> HiddenSize | None:
    known = Points(*(values[kept] for values in family.points))
    target = Points(*(values[[hidden]] for values in family.points))
    law = fit_scaling(known, family.rates[kept], prior)
    times = family.samples / family.rates if to_target else 1 / family.rates
    if not np.isfinite(times[[*kept, hidden]]).all():
        return None
    if to_target:
        samples = fit_samples(known.batches, family.samples[kept], critical)
        value = time_to_target(law, samples, target)[0]
    else:
        value = time_per_sample(law, family.rates[kept], target)
    slope, level = np.polyfit(np.log(known.devices), np.log(times[kept]), 1)
    baseline = float(np.exp(level + slope * np.log(target.devices[0])))
    measured = float(times[hidden])
    return HiddenSize(
        group=", ".join(family.name),
        hidden=float(target.devices[0]),
        predicted=value.value,
        low=value.low or 0.0,
        high=value.high or 0.0,
        measured=measured,
        error=value.value / measured - 1,
        baseline_error=baseline / measured - 1,
    )


def _follow(name: str, curve: CapCurve, probes: int, bound: float) -> FollowedAdvice:
    count = len(curve.caps)
    kept = sorted({int(i * (count - 1) / (probes - 1)) for i in range(probes)})
    options = evaluate_curve(curve.at(kept), bound, curve.caps.tolist())
    chosen = choose_clear_cap(options, CONFIDENCE).cap_w
    index = int(np.flatnonzero(curve.caps == chosen)[0])
    slowdowns = curve.times / curve.times[-1] - 1
    within = slowdowns <= bound
    best = int(np.flatnonzero(within)[np.argmin(curve.energies[within])])
    excess = float((curve.energies[index] - curve.energies[best]) / curve.energies[-1])
    return FollowedAdvice(
        group=name,
        probes=curve.caps[kept].tolist(),
        chosen=chosen,
        best=float(curve.caps[best]),
        regret=max(0.0, excess),
        slowdown=float(slowdowns[index]),
        broken=bool(slowdowns[index] > bound + 0.015),
    )
