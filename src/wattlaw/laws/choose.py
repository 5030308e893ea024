"""Which form forecasts best here? All are asked, and each counts as far as it foretold sizes that it had not seen.

Sizes are foretold one after another, each from those below it; a form's weight is the product of the densities that it
gave to what was then measured (prequential weights: Dawid 1984; Bayesian model averaging: Hoeting et al. 1999). What
the forms disagree on widens the interval, which is what keeps a far extrapolation honest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattlaw.core.findings import Interval
from wattlaw.laws import usl
from wattlaw.laws.posterior import Noise, forecasts, log_density, quantiles
from wattlaw.laws.scaling import REACH, Points, ScalingLaw, fit_scaling

Array = NDArray[Any]

LEAST_SIZES = 3
"""Below so many sizes no form has foretold anything, and the α–β law with its prior stands alone."""

ALPHA_BETA = "alpha-beta"

DRAWS = 4096

LEAST_SHARE = 0.01
"""A form that counts less than this is left out."""


class Forecast(NamedTuple):
    """ln of the time per sample of one more run: its median, equally likely draws, and each form's share in them."""

    middle: float
    draws: Array
    shares: dict[str, float]

    def interval(self) -> Interval:
        """Return the time per sample, s, with its 90 % interval."""
        low, high = np.exp(np.quantile(self.draws, [0.05, 0.95])).tolist()
        value = float(np.exp(self.middle))
        return Interval(value, min(low, value), max(high, value))


class _Told(NamedTuple):
    # ln of a time: draws with weights, and the noise of one more run
    draws: Array
    weights: Array
    noise: tuple[Noise, ...]


def time_per_sample(law: ScalingLaw, rates: Array, target: Points) -> Interval:
    """Return the time per sample, s, at one setting; ``law`` was fitted to ``rates`` at ``law.seen``."""
    return forecast(law, rates, target).interval()


def forecast(law: ScalingLaw, rates: Array, target: Points) -> Forecast:
    """Forecast the time per sample at one setting by all forms, each as far as it foretold what was measured.

    Forms without a batch take part only where the batch a device is the same at all settings.
    """
    told = {name: _tell(name, law, rates, target) for name in _forms(law.seen, target)}
    shares = _shares(list(told), law, rates)
    parts = [
        forecasts(told[name].draws, told[name].weights, told[name].noise, round(DRAWS * share), seed)
        for seed, (name, share) in enumerate(shares.items())
    ]
    weights = np.concatenate([told[name].weights * share for name, share in shares.items()])
    middle = quantiles(np.concatenate([told[name].draws for name in shares]), weights, [0.5])[0]
    return Forecast(middle, np.random.default_rng(4).permutation(np.concatenate(parts)), shares)


def _forms(seen: Points, target: Points) -> tuple[str, ...]:
    share = np.append(seen.batches / seen.devices, target.batches / target.devices)
    if len(np.unique(seen.devices)) < LEAST_SIZES or np.ptp(share) > 1e-6 * share[0]:
        return (ALPHA_BETA,)
    return (ALPHA_BETA, *usl.PARAMETERS)


def _shares(names: list[str], law: ScalingLaw, rates: Array) -> dict[str, float]:
    if len(names) == 1:
        return {names[0]: 1.0}
    sizes = np.unique(law.seen.devices)
    scores = np.zeros(len(names))
    for size in sizes[2:]:
        below, here = law.seen.devices < size, law.seen.devices == size
        target = Points(*(v[here][:1] for v in law.seen))
        truth = float(np.median(-np.log(rates[here])))
        known = fit_scaling(Points(*(v[below] for v in law.seen)), rates[below], law.given)
        for i, name in enumerate(names):
            told = _tell(name, known, rates[below], target)
            scores[i] += log_density(told.draws, told.weights, told.noise, truth)
    shares = np.exp(scores - scores.max())
    shares = np.where(shares < LEAST_SHARE * shares.sum(), 0.0, shares)
    found = zip(names, (shares / shares.sum()).tolist(), strict=True)
    return {name: share for name, share in sorted(found, key=lambda pair: -pair[1]) if share}


def _tell(name: str, law: ScalingLaw, rates: Array, target: Points) -> _Told:
    if name == ALPHA_BETA:
        _, draws = law.log_rate(target)
        return _Told(-draws[:, 0], law.posterior.weights, law.noises(target)[0])
    seen = law.seen
    grid = usl.fit_usl(seen.devices, 1 / rates, name, least=2)  # type: ignore[arg-type]
    _, draws = grid.log_time(target.devices)
    far = float(np.log(max(target.devices[0] / seen.devices.max(), seen.devices.min() / target.devices[0], 1.0)))
    beyond = Noise(np.full(len(grid.weights), REACH * far), 30.0)
    return _Told(draws[:, 0], grid.weights, (Noise(grid.error, grid.noise.df), grid.noise, beyond))
