"""Which setting to run next: the cheapest one that keeps a bound on the slowdown, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wattlaw.advice.device_candidates import device_options
from wattlaw.advice.devices import advise_devices
from wattlaw.advice.power_caps import advise_cap
from wattlaw.advice.request import Asked, what_is_asked
from wattlaw.advice.sentences import sentence
from wattlaw.analysis.groups import (
    Factor,
    Group,
    factors,
    group_runs,
    group_title,
    is_energy,
    notes_on_left_out,
    summarise_faults,
)
from wattlaw.analysis.prices import COST, NO_PRICES, Prices, priced
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Advice, Interval
from wattlaw.core.options import TUNABLE
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, TIME, derive, energy
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST
from wattlaw.laws.statistics.ratios import (
    LogRatio,
    bounded_exp,
    interval,
    log_ratio,
    pooled_noise,
    probability_below,
)


class Choice(NamedTuple):
    """One setting with the repeats that ran it: time per sample, s, and the quantity to be made small."""

    setting: Setting
    runs: list[Run]
    time: list[float]
    cost: list[float]


def advise(
    runs: Iterable[Run],
    minimise: str | None = None,
    max_slowdown: float | None = None,
    confidence: float = 0.5,
    unmeasured: bool = False,
    limits: Mapping[str, float] | None = None,
    prices: Prices = NO_PRICES,
) -> list[Advice]:
    """Recommend one setting for each workload (and model size, machine, … that was run).

    minimise      a quantity to make small, or "time", "energy", "cost", "device_hours", each per sample; by default
                  the measured energy, or where nothing measured energy the device time
    max_slowdown  time per sample allowed over the fastest setting's, 0.05 being 5 %
    confidence    least probability with which the bound must hold; 0.5 takes the measured means as they are
    unmeasured    weigh numbers of devices that nobody ran too, where two were run alike, and caps that nobody ran,
                  where GPU energy was measured at three or more; both at once where the runs tell both, else one
                  piece of advice on each
    limits        quantities that no recommended setting may exceed in its mean, or where it was not run with the
                  confidence, such as {"device_time_per_sample_s": 0.02}; a setting that lacks one is left out
    prices        what "cost" means; a cost that holds energy needs a meter's

    The probability is Student's t of the logarithm of the ratio of times over repeats (Welch's degrees of
    freedom). Raises FitError where no group can be advised on, UsageError for a wrong bound.
    """
    asked = what_is_asked(minimise, max_slowdown, confidence, limits or {}, prices)
    groups, notes = group_runs(runs, TUNABLE, split_layouts=False)
    found: list[Advice] = []
    faults: list[tuple[str, str]] = []
    for group in groups:
        try:
            told = (*notes, *notes_on_left_out(group.runs, TIME))
            found += (_advise_unmeasured if unmeasured else _advise_measured)(group, asked, told)
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not found:
        raise FitError(summarise_faults(faults) or "there is no run to choose from")
    return found


def _advise_unmeasured(group: Group, asked: Asked, notes: Sequence[Note]) -> list[Advice]:
    options = device_options(group.runs)
    found = [advise_devices(group, options, asked, notes)]
    if found[0] is None or not any(o.is_at_new_cap for o in options):
        found.append(advise_cap(group, asked, notes))
    if any(found):
        return [advice for advice in found if advice]
    text = (
        f"{group_title(group.key)}: only settings that were run are weighed: others need two numbers of devices with a "
        "batch, or three power caps with GPU energy"
    )
    return _advise_measured(group, asked, (*notes, Note("only_settings_run", text)))


def _advise_measured(group: Group, asked: Asked, notes: Sequence[Note]) -> list[Advice]:
    what = _objective(group.runs, asked.minimise, asked.prices)
    choices = choices_of(group.runs, TIME, what, asked.prices)
    if not choices:
        raise FitError(
            f"no run gives both {TIME} and {what}: {_lacking(group.runs, what, asked.prices)}"
        )
    noise = pooled_noise([c.time for c in choices])
    fastest = min(choices, key=lambda c: mean_of(c.time))
    allowed = [
        c for c in choices if c is fastest or _keeps(log_ratio(c.time, fastest.time, noise), asked)
    ]
    within = [
        c
        for c in allowed
        if all(_within(c, name, most, asked.prices) for name, most in asked.limits.items())
    ]
    if not within:
        raise FitError(f"no setting keeps {asked.limits_in_words()}")
    best = min(within, key=lambda c: (mean_of(c.cost), mean_of(c.time)))
    return [_advice(group, what, choices, best, fastest, asked.bound, notes)]


def _advice(
    group: Group,
    what: str,
    choices: list[Choice],
    best: Choice,
    fastest: Choice,
    bound: float | None,
    notes: Sequence[Note],
) -> Advice:
    noise, cost_noise = (
        pooled_noise([c.time for c in choices]),
        pooled_noise([c.cost for c in choices]),
    )
    same = best is fastest
    slower = log_ratio(best.time, fastest.time, noise)
    slowdown = Interval(0.0, 0.0, 0.0) if same else _minus_one(interval(slower))
    gain = (
        Interval(0.0, 0.0, 0.0)
        if same
        else _saved(interval(log_ratio(best.cost, fastest.cost, cost_noise)))
    )
    chance = None if bound is None else 1.0 if same else probability_below(slower, 1 + bound)
    predicted = {TIME: _around(best.time, noise), what: _around(best.cost, cost_noise)}
    warnings = (*notes, *_notes(choices, best, fastest, bound, chance))
    words = sentence(group.key, what, best, fastest, choices, gain, slowdown, bound, chance)
    return Advice(
        group=group.key,
        minimise=what,
        setting=best.setting,
        baseline=fastest.setting,
        predicted=predicted,
        gain=gain,
        slowdown=slowdown,
        probability_bound_holds=chance,
        words=words,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _objective(runs: list[Run], what: str | None, prices: Prices) -> str:
    if what is None:
        measured = [derive(r, ENERGY).status == "measured" for r in runs]
        same_boundary = len({energy(r)[1] for r in runs}) == 1
        return ENERGY if all(measured) and same_boundary else DEVICE_TIME
    if what == COST and prices.per_kwh:
        check_energy(runs, ENERGY)
    elif is_energy(what):
        check_energy(runs, what)
    return what


def check_energy(runs: list[Run], what: str) -> None:
    """Raise FitError where an energy is an estimate, or not of the same boundary in all runs."""
    if what == ENERGY:
        found = {energy(r)[1] for r in runs} - {""}
        if len(found) > 1:
            raise FitError(
                f"runs measured energy within different boundaries ({', '.join(sorted(found))}); name one"
            )
    statuses = {derive(r, what).status for r in runs} - {"missing"}
    if statuses == {"estimated"}:
        raise FitError(
            f"every {what} is an estimate, which only repeats the time; minimise {DEVICE_TIME} instead"
        )
    if "estimated" in statuses:
        raise FitError(
            f"{what} is measured in some runs and an estimate in others; they do not compare"
        )


def choices_of(runs: list[Run], x: str, y: str, prices: Prices) -> list[Choice]:
    """Return the settings of runs with two quantities of their repeats; those that lack either are left out."""
    by_setting: dict[tuple[tuple[str, Factor], ...], list[Run]] = {}
    for run in runs:
        by_setting.setdefault(tuple(sorted(factors(run).items())), []).append(run)
    found = [
        Choice(rs[0].setting, rs, _values(rs, x, prices), _values(rs, y, prices))
        for rs in by_setting.values()
    ]
    return [c for c in found if c.time and c.cost]


def _values(runs: list[Run], name: str, prices: Prices) -> list[float]:
    readings = (priced(r, name, prices).value for r in runs)
    return [v for v in readings if v is not None and SMALLEST <= v <= LARGEST]


def _lacking(runs: list[Run], what: str, prices: Prices) -> str:
    readings = [priced(r, name, prices) for name in (TIME, what) for r in runs]
    return next(
        (r.how for r in readings if r.value is None and r.how),
        "what they give is no number above 0",
    )


def mean_of(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return bounded_exp(math.fsum(map(math.log, values)) / len(values))


def _around(values: Sequence[float], noise: tuple[float, float]) -> Interval:
    # the mean of the repeats against an exact 1: only its own noise counts
    return interval(log_ratio(values, [1.0, 1.0], noise))


def _keeps(slowdown: LogRatio, asked: Asked) -> bool:
    if asked.bound is None:
        return True
    chance = probability_below(slowdown, 1 + asked.bound)
    return (
        slowdown.centre <= math.log1p(asked.bound) if chance is None else chance >= asked.confidence
    )


def _within(choice: Choice, name: str, most: float, prices: Prices) -> bool:
    values = _values(choice.runs, name, prices)
    return bool(values) and mean_of(values) <= most


def _minus_one(ratio: Interval) -> Interval:
    return Interval(
        ratio.value - 1, *(None if v is None else v - 1 for v in (ratio.low, ratio.high))
    )


def _saved(ratio: Interval) -> Interval:
    return Interval(
        1 - ratio.value, *(None if v is None else 1 - v for v in (ratio.high, ratio.low))
    )


def _notes(
    choices: list[Choice], best: Choice, fastest: Choice, bound: float | None, chance: float | None
) -> list[Note]:
    found = [n for c in (best, fastest) for r in c.runs for n in r.warnings]
    if len(choices) == 1:
        found.append(
            Note("one_setting", "only one setting was run, so there is nothing to choose between")
        )
    if min(len(best.time), len(fastest.time)) < 3:
        found.append(
            Note(
                "few_repeats",
                "fewer than 3 repeats of the settings compared; intervals are wide or missing",
            )
        )
    if bound is not None and chance is None:
        found.append(
            Note("no_probability", "nothing was repeated, so how surely the bound holds is unknown")
        )
    return found
