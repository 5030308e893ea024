"""Average the laws over devices, weighted by how well each predicted unseen sizes.

Sizes are predicted one after another, each from the smaller ones. The weight of a form is the
product of the densities that it gave to the measurements (prequential weights, Dawid 1984; Bayesian
model averaging, Hoeting et al. 1999). Disagreement between the forms widens the interval, which
avoids overconfident extrapolation.
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

MIN_SIZES = 3
"""With fewer sizes no form has predicted anything, and only the α–β law with its prior is used."""

MAX_SCORED = 8
"""Forms are scored on at most this many of the largest sizes, because each costs a fit."""

ALPHA_BETA = "alpha-beta"

DRAWS = 4096

MIN_WEIGHT = 0.01
"""A form with a smaller weight is left out."""


class Forecast(NamedTuple):
    """ln of the time per sample, s, at one setting.

    middle    median
    draws     equally likely draws (DRAWS,) of one more run
    shares    weight of each form
    of_law    the same draws without run-to-run variation

    Draw i of all forecasts that are made in one call comes from the same draw of the law.
    """

    middle: float
    draws: Array
    shares: dict[str, float]
    of_law: Array

    def interval(self) -> Interval:
        """Return the time per sample, s, with its 90 % interval."""
        return draws_interval(float(np.exp(self.middle)), np.exp(self.draws))


class _FormForecast(NamedTuple):
    # ln of a time: weighted draws, the further uncertainty of the law, run-to-run variation
    draws: Array
    weights: Array
    law_noise: tuple[Noise, ...]
    run_noise: tuple[Noise, ...]


def time_per_sample(law: ScalingLaw, rates: Array, target: Points) -> Interval:
    """Return the time per sample, s, at one setting.

    ``law`` was fitted to ``rates`` at ``law.seen``.
    """
    return forecast(law, rates, target)[0].interval()


def forecast(law: ScalingLaw, rates: Array, targets: Points) -> list[Forecast]:
    """Predict the time per sample at settings by the weighted average of all forms.

    Forms that ignore the batch take part only if the batch per device is the same at all
    settings.
    """
    by_form = {name: _predict(name, law, rates, targets) for name in _forms(law.seen, targets)}
    weights = _form_weights(list(by_form), law, rates)
    found = []
    for i in range(len(targets.devices)):
        found.append(_average([by_form[name][i] for name in weights], weights, i))
    return found


def _average(forms: list[_FormForecast], form_weights: dict[str, float], index: int) -> Forecast:
    law_draws, run_draws = [], []
    # cumulative weights are rounded, so that there are DRAWS in all
    cumulative = np.cumsum([0.0, *form_weights.values()])
    counts = np.diff(np.rint(DRAWS * cumulative)).astype(int).tolist()
    for seed, (form, count) in enumerate(zip(forms, counts, strict=True)):
        draws = predictive_draws(form.draws, form.weights, form.law_noise, count, seed)
        # runs vary independently: their noise is drawn anew for each setting
        zero, seeds = np.zeros(len(form.draws)), (seed, index + 1)
        law_draws.append(draws)
        run_draws.append(draws + predictive_draws(zero, form.weights, form.run_noise, count, seeds))
    pairs = zip(forms, form_weights.values(), strict=True)
    weights = np.concatenate([form.weights * weight for form, weight in pairs])
    values = np.concatenate([form.draws for form in forms])
    middle = quantiles(values, weights, [0.5])[0]
    of_law, of_run = np.concatenate(law_draws), np.concatenate(run_draws)
    order = np.random.default_rng(4).permutation(len(of_law))
    return Forecast(middle, of_run[order], form_weights, of_law[order])


def _forms(seen: Points, targets: Points) -> tuple[str, ...]:
    batch = np.append(seen.batches / seen.devices, targets.batches / targets.devices)
    if len(np.unique(seen.devices)) < MIN_SIZES or np.ptp(batch) > 1e-6 * batch[0]:
        return (ALPHA_BETA,)
    return (ALPHA_BETA, *usl.PARAMETERS)


def _form_weights(names: list[str], law: ScalingLaw, rates: Array) -> dict[str, float]:
    if len(names) == 1:
        return {names[0]: 1.0}
    scores = np.zeros(len(names))
    for size in np.unique(law.seen.devices)[2:][-MAX_SCORED:]:
        is_smaller, is_next = law.seen.devices < size, law.seen.devices == size
        target = law.seen.at(np.flatnonzero(is_next)[:1])
        measured = float(np.median(-np.log(rates[is_next])))
        smaller = fit_scaling(law.seen.at(is_smaller), rates[is_smaller], law.task_prior)
        for i, name in enumerate(names):
            (form,) = _predict(name, smaller, rates[is_smaller], target)
            noise = (*form.run_noise, *form.law_noise)
            scores[i] += log_density(form.draws, form.weights, noise, measured)
    weights = np.exp(scores - scores.max())
    weights = np.where(weights < MIN_WEIGHT * weights.sum(), 0.0, weights)
    weights = weights / weights.sum()
    found = zip(names, weights.tolist(), strict=True)
    heaviest_first = sorted(found, key=lambda pair: -pair[1])
    return {name: weight for name, weight in heaviest_first if weight}


def _predict(name: str, law: ScalingLaw, rates: Array, targets: Points) -> list[_FormForecast]:
    if name == ALPHA_BETA:
        return _predict_alpha_beta(law, targets)
    seen = law.seen
    grid = usl.fit_usl(seen.devices, 1 / rates, name, least=2)  # type: ignore[arg-type]
    _, draws = grid.log_time(targets.devices)
    above = targets.devices / seen.devices.max()
    below = seen.devices.min() / targets.devices
    distances = np.log(np.maximum(np.maximum(above, below), 1))
    level = Noise(grid.error, grid.noise.df)
    found = []
    for column, distance in zip(draws.T, distances.tolist(), strict=True):
        extrapolation = Noise(np.full(len(column), EXTRAPOLATION_SD * distance), 30.0)
        found.append(_FormForecast(column, grid.weights, (level, extrapolation), (grid.noise,)))
    return found


def _predict_alpha_beta(law: ScalingLaw, targets: Points) -> list[_FormForecast]:
    _, draws = law.log_rate(targets)
    weights = law.posterior.weights
    found = []
    for column, (*run_noise, extrapolation) in zip(draws.T, law.noises(targets), strict=True):
        found.append(_FormForecast(-column, weights, (extrapolation,), tuple(run_noise)))
    return found
