"""How many devices to take: advice over numbers that were run and numbers that were not.

Options and their draws come from deviceoptions.py; a bound holds as often as it does among the draws of one more run.
What a further run is worth is said by worth.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattlaw.advice.candidates import Option
from wattlaw.advice.device_sentences import Said, sentence
from wattlaw.advice.request import Asked
from wattlaw.analysis.groups import Group
from wattlaw.analysis.prices import COST, Prices
from wattlaw.analysis.run_laws import run_noise
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Advice, Interval
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, GPU_ENERGY, TIME, derive
from wattlaw.core.reading import Note
from wattlaw.laws.scaling import BEYOND_RUNS
from wattlaw.laws.statistics.arrays import WIDEST_SANE, clipped_exp
from wattlaw.laws.statistics.posterior import draws_interval
from wattlaw.laws.statistics.value_of_information import costs_with_fallback, expected_savings

Array = NDArray[Any]

_KNOWN = (TIME, DEVICE_TIME, GPU_ENERGY, COST)

SAFE = 0.95
"""Whoever finds a bound broken goes back to the best setting that keeps it with this probability."""


class Weighed(NamedTuple):
    """Options and what is to be small: middles (k,), and draws of one more run and of the mean (k, n).

    ``holds`` says in which draws of one more run all bounds hold, ``mean_holds`` in which of the mean; ``fastest`` is
    the fastest option that was run.
    """

    options: list[Option]
    middles: Array
    of_run: Array
    of_mean: Array
    holds: Array
    mean_holds: Array
    fastest: int

    @property
    def chances(self) -> Array:
        """Return the probability of each option that every bound holds, (k,)."""
        found: Array = self.holds.mean(axis=1)
        return found

    @property
    def open_now(self) -> Array:
        """Return which options may be advised without another run, (k,)."""
        return np.array([o.is_advisable for o in self.options])


def advise_devices(
    group: Group, options: list[Option], asked: Asked, notes: Sequence[Note]
) -> Advice | None:
    """Advise a number of devices, and a cap where ``options`` hold any.

    None where only what was run can be weighed, or another quantity is asked for.

    Limits on time, device time, GPU energy and cost per sample, and the bound on the slowdown against the fastest
    setting that was run, hold together with at least the confidence. Raises FitError where they do for none.
    """
    what = _objective(group, options, asked.minimise)
    asked = asked._replace(limits={_as_gpu(name): most for name, most in asked.limits.items()})
    if what is None or any(name not in _KNOWN for name in asked.limits):
        return None
    options = [
        o for o in options if all(_gives(o, name, asked.prices) for name in (what, *asked.limits))
    ]
    if len({o.is_measured for o in options}) < 2:
        return None
    weighed = weigh(options, what, asked.bound, asked.limits, asked.prices)
    chosen = choose(weighed, asked.confidence)
    if chosen is None:
        surest = f"the surest choice does with {weighed.chances[weighed.open_now].max():.2f}"
        raise FitError(
            f"no setting keeps {asked.bounds()} with probability {asked.confidence:g}; {surest}"
        )
    return _advice(group, weighed, chosen, what, asked, notes)


def weigh(
    options: list[Option],
    what: str,
    bound: float | None,
    limits: Mapping[str, float],
    prices: Prices,
) -> Weighed:
    """Set options side by side; each must know what is asked about."""
    measured = [i for i, o in enumerate(options) if o.is_measured]
    fastest = min(measured, key=lambda i: options[i].log_t)
    most = dict(limits) if bound is None else {**limits, "": bound}
    return Weighed(
        options,
        np.array([_value(o, what, prices) for o in options], float),
        np.array([_value(o, what, prices, o.of_run) for o in options]),
        np.array([_value(o, what, prices, o.of_mean) for o in options]),
        np.array([_holds(o, o.of_run, options[fastest], most, prices) for o in options]),
        np.array([_holds(o, o.of_mean, options[fastest], most, prices) for o in options]),
        fastest,
    )


def choose(weighed: Weighed, confidence: float) -> int | None:
    """Return the option of least cost among those whose bounds hold with the confidence asked for; None without one."""
    allowed = np.flatnonzero((weighed.chances >= confidence) & weighed.open_now)
    return int(allowed[np.argmin(weighed.middles[allowed])]) if len(allowed) else None


def next_run(weighed: Weighed) -> tuple[int, float]:
    """Return the option whose run would narrow the choice most, and the share of the cost it is expected to save."""
    safe = choose(weighed, min(SAFE, float(weighed.chances[weighed.open_now].max())))
    lost = costs_with_fallback(weighed.of_mean, weighed.mean_holds, safe or 0)
    saved = expected_savings(lost, [_shown(o) for o in weighed.options], weighed.open_now)
    best = int(np.argmax(saved))
    return best, float(saved[best])


def _shown(option: Option) -> list[Array]:
    unknown_power = option.watts is not None and not option.is_measured
    return (
        [option.of_run, option.watts.draws] if option.watts and unknown_power else [option.of_run]
    )


def _value(option: Option, what: str, prices: Prices, log_t: ArrayLike | None = None) -> Array:
    # of the middle, or of draws of ln time
    watts = option.watts
    log_w: Any = 0.0 if watts is None else watts.middle if log_t is None else watts.draws
    seconds = clipped_exp(option.log_t if log_t is None else log_t)
    joules = option.devices * seconds * clipped_exp(log_w)
    if what == COST:
        return prices.cost(option.devices * seconds, joules)
    found: Array = {TIME: seconds, DEVICE_TIME: option.devices * seconds, GPU_ENERGY: joules}[what]
    return found


def _holds(
    option: Option, log_t: Array, fastest: Option, most: Mapping[str, float], prices: Prices
) -> Array:
    found = np.ones(len(log_t), bool)
    for name, value in most.items():
        if name:
            found &= _value(option, name, prices, log_t) <= value
        elif option is not fastest:
            found &= log_t <= fastest.of_mean + np.log1p(value)
    return found


def _gives(option: Option, what: str, prices: Prices) -> bool:
    return option.watts is not None or not (what == GPU_ENERGY or (what == COST and prices.per_kwh))


def _objective(group: Group, options: Sequence[Option], minimise: str | None) -> str | None:
    # GPU energy is what the law of a device's power is of; where another meter read, the settings run are all there is
    if minimise is None:
        if options and all(o.watts for o in options):
            return GPU_ENERGY
        metered = all(derive(r, ENERGY).status == "measured" for r in group.runs)
        return None if metered else DEVICE_TIME
    return _as_gpu(minimise) if _as_gpu(minimise) in _KNOWN else None


def _as_gpu(name: str) -> str:
    return GPU_ENERGY if name == ENERGY else name


def _advice(
    group: Group, weighed: Weighed, chosen: int, what: str, asked: Asked, notes: Sequence[Note]
) -> Advice:
    best, fastest = weighed.options[chosen], weighed.options[weighed.fastest]
    same = chosen == weighed.fastest
    ratio = (
        Interval(1.0, 1.0, 1.0)
        if same
        else _ratio(weighed.middles, weighed.of_run, chosen, weighed.fastest)
    )
    slower = Interval(1.0, 1.0, 1.0) if same else _slower(best, fastest)
    if any((i.high or math.inf) > WIDEST_SANE * (i.low or math.inf) for i in (ratio, slower)):
        raise FitError(
            "some runs are far off the others, so nothing can be advised; look at them: `wattlaw runs show`"
        )
    bounds = asked.bounds()
    chance = float(weighed.chances[chosen]) if bounds else None
    keeps = float(weighed.chances[weighed.fastest]) >= 0.5
    telling, saves = next_run(weighed)
    noise = float(run_noise(group.runs).scale[0])
    said = Said(what, ratio, slower, bounds, chance, keeps, weighed.options[telling], saves, noise)
    return Advice(
        group=group.key,
        minimise=what,
        setting=best.run.setting,
        baseline=fastest.run.setting,
        predicted={
            name: _predicted(best, name, asked.prices)
            for name in dict.fromkeys((TIME, DEVICE_TIME, what))
        },
        gain=Interval(
            1 - ratio.value, *(None if v is None else 1 - v for v in (ratio.high, ratio.low))
        ),
        slowdown=Interval(
            slower.value - 1, *(None if v is None else v - 1 for v in (slower.low, slower.high))
        ),
        probability_bound_holds=chance,
        is_measured=best.is_measured,
        extrapolated=BEYOND_RUNS if best.is_beyond else "",
        next_run=weighed.options[telling].run.setting if saves > noise else None,
        next_run_saves=saves,
        words=sentence(group.key, best, fastest, weighed.options, said),
        warnings=tuple(
            dict.fromkeys(
                [*notes, *(n for o in (best, fastest) for r in o.basis for n in r.warnings)]
            )
        ),
    )


def _ratio(middles: Array, draws: Array, chosen: int, against: int) -> Interval:
    return draws_interval(float(middles[chosen] / middles[against]), draws[chosen] / draws[against])


def _slower(best: Option, fastest: Option) -> Interval:
    return draws_interval(
        float(np.exp(best.log_t - fastest.log_t)), clipped_exp(best.of_run - fastest.of_run)
    )


def _predicted(option: Option, name: str, prices: Prices) -> Interval:
    return draws_interval(
        float(_value(option, name, prices)), _value(option, name, prices, option.of_run)
    )
