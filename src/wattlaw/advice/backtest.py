"""How far may one trust these laws here? What was measured is hidden, predicted, and compared.

``fit --backtest`` hides sizes of each family and predicts them with the α–β law and, beside it, the plain power
law. ``advise --backtest`` hides all but K caps of each curve and follows the advice drawn from these.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np

from wattlaw.analysis.cap_curves import CapCurve, choose_cap, evaluate_curve, find_cap_curves
from wattlaw.analysis.groups import find_families
from wattlaw.analysis.run_laws import time_to_target
from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.laws.averaging import time_per_sample
from wattlaw.laws.priors import PRIOR_ROUNDS, START, Family, PriorPool, learn_priors
from wattlaw.laws.samples import fit_samples
from wattlaw.laws.scaling import Points, fit_scaling, shipped_critical_batch, shipped_prior

FOLDS = 5
"""Into so many parts families are split where they must not teach themselves."""

Hide = Literal["largest", "next", "random"]


class Foretold(msgspec.Struct, frozen=True):
    """One hidden size of one family, with its prediction, the measurement and the relative error."""

    group: str
    hidden: float
    predicted: float
    low: float
    high: float
    measured: float
    error: float
    baseline_error: float


class Followed(msgspec.Struct, frozen=True):
    """Advice that was followed: regret and slowdown as shares; ``broken`` if the bound was missed by over 1.5 %."""

    group: str
    probes: list[float]
    chosen: float
    best: float
    regret: float
    slowdown: float
    broken: bool


def backtest_fit(
    runs: Iterable[Run], hide: Hide = "largest", to_target: bool = False
) -> list[Foretold]:
    """Hide sizes of each family of at least three, predict their time from the others.

    hide       "largest": the largest one; "next": each from the smaller ones, from the third on;
               "random": one at random, never the smallest
    to_target  predict the time to the target (runs must hold the samples that it took), else time per sample
    Families that taught the shipped prior get one learnt from four fifths of the families at hand, themselves
    not among them. Raises FitError where no family has three sizes.
    """
    if hide not in ("largest", "next", "random"):
        raise UsageError(f"cannot hide {hide!r}; valid: largest, next, random")
    runs = [r for r in runs if r.state == "done"]
    found = find_families(runs, 2, to_target)
    taught = bool({r.labels.get("round") for r in runs} & set(PRIOR_ROUNDS))
    pools = _pools(found) if taught else {}
    forecasts = []
    for family in found:
        count = len(family.rates)
        for hidden in _hidden(count, hide, family.name):
            kept = [i for i in range(count) if i < hidden or (hide == "random" and i != hidden)]
            forecasts += _forecast(family, kept, hidden, pools.get(family.name), taught, to_target)
    if not forecasts:
        raise FitError("no family of runs has three sizes, so nothing can be hidden and predicted")
    return forecasts


def backtest_advise(
    runs: Iterable[Run], probes: int = 3, max_slowdown: float = 0.05
) -> list[Followed]:
    """Keep ``probes`` caps of each curve, advise from these, and judge the advice by what was measured.

    Regret is the energy above the best measured cap that holds the bound, never below 0, as a share of the
    energy at the highest cap. Raises FitError where no curve has more caps than probes.
    """
    if probes < 3:
        raise UsageError(f"{counted(probes, 'probe')}; a cap law needs at least 3")
    curves, _ = find_cap_curves(runs, probes + 1)
    if not curves:
        raise FitError(f"no group of runs has measured GPU energy at more than {probes} power caps")
    return [
        _followed(", ".join(g.key.values()), curve, probes, max_slowdown) for g, curve in curves
    ]


def summary(forecasts: Sequence[Foretold]) -> dict[str, float]:
    """Return n, median and mean error, coverage of the 90 % intervals, and the plain power law's median error."""
    errors = np.abs([f.error for f in forecasts])
    return {
        "n": len(forecasts),
        "median_error": float(np.median(errors)),
        "mean_error": float(errors.mean()),
        "coverage_90": float(np.mean([f.low <= f.measured <= f.high for f in forecasts])),
        "baseline_median_error": float(np.median(np.abs([f.baseline_error for f in forecasts]))),
    }


def summary_of_advice(followed: Sequence[Followed]) -> dict[str, float]:
    """Return how many curves, their mean regret, and the share whose bound was broken."""
    return {
        "curves": len(followed),
        "mean_regret": float(np.mean([f.regret for f in followed])),
        "bound_broken": float(np.mean([f.broken for f in followed])),
    }


def _pools(found: Sequence[Family]) -> dict[tuple[str, ...], PriorPool]:
    # by name, in five folds: what a family is told was learnt without its whole fold
    pools: dict[tuple[str, ...], PriorPool] = {}
    for fold in range(FOLDS):
        others = [f for i, f in enumerate(found) if i % FOLDS != fold]
        if len(others) >= FOLDS:
            pool = learn_priors(others)
            pools.update({f.name: pool for i, f in enumerate(found) if i % FOLDS == fold})
    return pools


def _hidden(count: int, hide: Hide, name: tuple[str, ...]) -> list[int]:
    if count < 3:
        return []
    if hide == "largest":
        return [count - 1]
    if hide == "next":
        return list(range(2, count))
    # the same one each time, so that two runs of a back-test compare
    return [random.Random("/".join(name)).randrange(1, count)]


def _forecast(
    family: Family,
    kept: list[int],
    hidden: int,
    pool: PriorPool | None,
    taught: bool,
    to_target: bool,
) -> list[Foretold]:
    known, target = (
        Points(*(v[kept] for v in family.points)),
        Points(*(v[[hidden]] for v in family.points)),
    )
    if pool is not None:
        prior, critical = pool.prior(family.task), pool.critical(family.task)
    elif taught:
        prior, critical = START, None
    else:
        prior, critical = shipped_prior(family.task), shipped_critical_batch(family.task)
    law = fit_scaling(known, family.rates[kept], prior)
    times = family.samples / family.rates if to_target else 1 / family.rates
    if not np.isfinite(times[[*kept, hidden]]).all():
        return []
    if to_target:
        samples = fit_samples(known.batches, family.samples[kept], critical)
        value = time_to_target(law, samples, target)[0]
    else:
        value = time_per_sample(law, family.rates[kept], target)
    slope, level = np.polyfit(np.log(known.devices), np.log(times[kept]), 1)
    plain = float(np.exp(level + slope * np.log(target.devices[0])))
    measured = float(times[hidden])
    return [
        Foretold(", ".join(family.name), float(target.devices[0]), value.value, value.low or 0.0, value.high or 0.0,
                 measured, value.value / measured - 1, plain / measured - 1)
    ]  # fmt: skip


def _followed(name: str, curve: CapCurve, probes: int, bound: float) -> Followed:
    count = len(curve.caps)
    kept = sorted({int(i * (count - 1) / (probes - 1)) for i in range(probes)})
    chosen = choose_cap(evaluate_curve(curve.at(kept), bound, curve.caps.tolist())).cap_w
    i = int(np.flatnonzero(curve.caps == chosen)[0])
    slower = curve.times / curve.times[-1] - 1
    holds = slower <= bound
    best = int(np.flatnonzero(holds)[np.argmin(curve.energies[holds])])
    regret = max(0.0, float((curve.energies[i] - curve.energies[best]) / curve.energies[-1]))
    broken = bool(slower[i] > bound + 0.015)
    return Followed(
        name,
        curve.caps[kept].tolist(),
        chosen,
        float(curve.caps[best]),
        regret,
        float(slower[i]),
        broken,
    )
