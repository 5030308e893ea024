"""Which form forecasts best here? All are asked, and each counts as far as it foretold sizes that it had not seen.

Sizes are foretold one after another, each from those below it; a form's weight is the product of the densities that it
gave to what was then measured (prequential weights: Dawid 1984; Bayesian model averaging: Hoeting et al. 1999). What
the forms disagree on widens the interval, which is what keeps a far extrapolation honest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wattlaw.core.findings import Interval
from wattlaw.laws import usl
from wattlaw.laws.scaling import EXTRAPOLATION_SD, Points, ScalingLaw, fit_scaling
from wattlaw.laws.statistics.arrays import Array
from wattlaw.laws.statistics.posterior import (
    Noise,
    draws_interval,
    log_density,
    predictive_draws,
    quantiles,
)

LEAST_SIZES = 3
"""Below so many sizes no form has foretold anything, and the α–β law with its prior stands alone."""

MOST_FORETOLD = 8
"""Forms are judged by so many of the largest sizes: each of them costs a fit."""

ALPHA_BETA = "alpha-beta"

DRAWS = 4096

LEAST_SHARE = 0.01
"""A form that counts less than this is left out."""


class Forecast(NamedTuple):
    """ln of the time per sample: median and equally likely draws of one more run, and each form's share in them.

    ``of_law`` holds the same draws without what one run scatters by. Forecasts made together share each draw's law.
    """

    middle: float
    draws: Array
    shares: dict[str, float]
    of_law: Array

    def interval(self) -> Interval:
        """Return the time per sample, s, with its 90 % interval."""
        return draws_interval(float(np.exp(self.middle)), np.exp(self.draws))


class _Told(NamedTuple):
    # ln of a time: draws with weights, how unsure the law is beside them, and what one more run scatters by
    draws: Array
    weights: Array
    unsure: tuple[Noise, ...]
    noise: tuple[Noise, ...]


def time_per_sample(law: ScalingLaw, rates: Array, target: Points) -> Interval:
    """Return the time per sample, s, at one setting; ``law`` was fitted to ``rates`` at ``law.seen``."""
    return forecast(law, rates, target)[0].interval()


def forecast(law: ScalingLaw, rates: Array, targets: Points) -> list[Forecast]:
    """Forecast the time per sample at settings by all forms, each as far as it foretold what was measured.

    Forms without a batch take part only where the batch a device is the same at all settings.
    """
    told = {name: _tell(name, law, rates, targets) for name in _forms(law.seen, targets)}
    shares = _shares(list(told), law, rates)
    return [
        _mixed([told[name][i] for name in shares], shares, i) for i in range(len(targets.devices))
    ]


def _mixed(told: list[_Told], shares: dict[str, float], index: int) -> Forecast:
    laws, runs = [], []
    # rounded where the shares add up, so that there are DRAWS in all
    counts = np.diff(np.rint(DRAWS * np.cumsum([0.0, *shares.values()]))).astype(int).tolist()
    for seed, (form, count) in enumerate(zip(told, counts, strict=True)):
        laws.append(predictive_draws(form.draws, form.weights, form.unsure, count, seed))
        # every run scatters by itself: its noise is drawn anew for each setting
        none = np.zeros(len(form.draws))
        runs.append(
            laws[-1] + predictive_draws(none, form.weights, form.noise, count, (seed, index + 1))
        )
    weights = np.concatenate(
        [form.weights * share for form, share in zip(told, shares.values(), strict=True)]
    )
    middle = quantiles(np.concatenate([form.draws for form in told]), weights, [0.5])[0]
    of_law, of_run = np.concatenate(laws), np.concatenate(runs)
    order = np.random.default_rng(4).permutation(len(of_law))
    return Forecast(middle, of_run[order], shares, of_law[order])


def _forms(seen: Points, targets: Points) -> tuple[str, ...]:
    share = np.append(seen.batches / seen.devices, targets.batches / targets.devices)
    if len(np.unique(seen.devices)) < LEAST_SIZES or np.ptp(share) > 1e-6 * share[0]:
        return (ALPHA_BETA,)
    return (ALPHA_BETA, *usl.PARAMETERS)


def _shares(names: list[str], law: ScalingLaw, rates: Array) -> dict[str, float]:
    if len(names) == 1:
        return {names[0]: 1.0}
    sizes = np.unique(law.seen.devices)
    scores = np.zeros(len(names))
    for size in sizes[2:][-MOST_FORETOLD:]:
        below, here = law.seen.devices < size, law.seen.devices == size
        target = Points(*(v[here][:1] for v in law.seen))
        truth = float(np.median(-np.log(rates[here])))
        known = fit_scaling(Points(*(v[below] for v in law.seen)), rates[below], law.given)
        for i, name in enumerate(names):
            (told,) = _tell(name, known, rates[below], target)
            scores[i] += log_density(told.draws, told.weights, (*told.noise, *told.unsure), truth)
    shares = np.exp(scores - scores.max())
    shares = np.where(shares < LEAST_SHARE * shares.sum(), 0.0, shares)
    found = zip(names, (shares / shares.sum()).tolist(), strict=True)
    return {name: share for name, share in sorted(found, key=lambda pair: -pair[1]) if share}


def _tell(name: str, law: ScalingLaw, rates: Array, targets: Points) -> list[_Told]:
    if name == ALPHA_BETA:
        _, draws = law.log_rate(targets)
        weights = law.posterior.weights
        rows = zip(draws.T, law.noises(targets), strict=True)
        return [_Told(-column, weights, noises[-1:], noises[:-1]) for column, noises in rows]
    seen = law.seen
    grid = usl.fit_usl(seen.devices, 1 / rates, name, least=2)  # type: ignore[arg-type]
    _, draws = grid.log_time(targets.devices)
    far = np.log(
        np.maximum(
            np.maximum(targets.devices / seen.devices.max(), seen.devices.min() / targets.devices),
            1,
        )
    )
    level = Noise(grid.error, grid.noise.df)
    return [
        _Told(
            column,
            grid.weights,
            (level, Noise(np.full(len(column), EXTRAPOLATION_SD * each), 30.0)),
            (grid.noise,),
        )
        for column, each in zip(draws.T, far.tolist(), strict=True)
    ]
