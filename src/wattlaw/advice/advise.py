"""Recommend the cheapest setting that satisfies the limits, with the probability that it does.

This file holds the entry point and the choice among settings that were run. Unmeasured device
counts are evaluated in device_counts.py, unmeasured power caps in power_caps.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wattlaw.advice.request import AdviceRequest, check_tunable, parse_request
from wattlaw.advice.sentences import AdviceComparison, advice_on_runs
from wattlaw.advice.verdict import is_unclear_gain_for_time, share_added, share_saved
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


class MeasuredSetting(NamedTuple):
    """A setting that was run, its runs, and the values of some quantities over them."""

    setting: Setting
    runs: list[Run]
    values: dict[str, list[float]]

    def mean(self, name: str) -> float:
        """Return the geometric mean of a quantity."""
        values = self.values[name]
        return bounded_exp(math.fsum(map(math.log, values)) / len(values))


def advise(
    runs: Iterable[Run],
    minimise: str | None = None,
    max_slowdown: float | None = None,
    confidence: float = 0.5,
    unmeasured: bool = False,
    limits: Mapping[str, float] | None = None,
    prices: Prices = NO_PRICES,
    samples: float | None = None,
    tunable: Sequence[str] = (),
) -> list[Advice]:
    """Recommend a setting for each group of runs that train the same thing on one kind of machine.

    minimise      a quantity to minimise, or "time", "device_time", "energy" or "cost", each per
                  sample; by default the energy if it was measured in every run, else the device
                  time
    max_slowdown  time per sample allowed over the fastest setting's, as a share: 0.05 is 5 %
    confidence    minimum probability with which the limits must hold; 0.5 compares means
    unmeasured    also consider device counts that were not run, if two were run in otherwise
                  equal settings, and power caps that were not run, if GPU energy was measured at
                  three or more; together if the runs allow it, else in separate recommendations
    limits        largest value of quantities, such as {"device_time_per_sample_s": 0.02}, in their
                  units; smallest value if more is better. A limit on a total, such as
                  {"device_hours": 24}, is converted to one per sample. A setting that lacks the
                  quantity is left out
    prices        prices that make up a cost; a cost of energy requires measured energy
    samples       number of samples that limits on totals are for
    tunable       options of the user's own code that affect only its speed, in addition to
                  core.options.TUNABLE

    The recommended setting is the cheapest that satisfies the limits, excluding settings that are
    clearly slower than the fastest one without a clear gain. The probability that a bound on the
    slowdown holds comes from Welch's t-test on the logarithms of the times of repeats.

    Raises FitError if no group can be advised on, UsageError for a wrong request.
    """
    request = parse_request(minimise, max_slowdown, confidence, limits or {}, samples, prices)
    runs = list(runs)
    check_tunable(runs, tunable)
    groups, notes = group_runs(runs, (*TUNABLE, *tunable), split_layouts=False)
    advise_group = _advise_unmeasured if unmeasured else _advise_measured
    found: list[Advice] = []
    faults: list[tuple[str, str]] = []
    for group in groups:
        try:
            group_notes = (*notes, *notes_on_left_out(group.runs, TIME))
            found += advise_group(group, request, group_notes)
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not found:
        raise FitError(summarise_faults(faults) or "there is no run to choose from")
    return found


def _advise_unmeasured(group: Group, request: AdviceRequest, notes: Sequence[Note]) -> list[Advice]:
    # the laws behind unmeasured settings load scipy's optimisers: only if they are requested
    from wattlaw.advice.device_count_candidates import device_candidates
    from wattlaw.advice.device_counts import advise_devices
    from wattlaw.advice.power_caps import advise_cap

    candidates = device_candidates(group.runs)
    found = []
    on_devices = advise_devices(group, candidates, request, notes)
    if on_devices is not None:
        found.append(on_devices)
    are_caps_included = any(c.is_at_new_cap for c in candidates)
    if on_devices is None or not are_caps_included:
        on_caps = advise_cap(group, request, notes)
        if on_caps is not None:
            found.append(on_caps)
    if found:
        return found
    text = (
        f"{group_title(group.key)}: only settings that were run are considered; others need two "
        "device counts with a batch, or three power caps with GPU energy"
    )
    return _advise_measured(group, request, (*notes, Note("only_settings_run", text)))


def _advise_measured(group: Group, request: AdviceRequest, notes: Sequence[Note]) -> list[Advice]:
    objective = _objective(group.runs, request.minimise, request.prices)
    settings = measured_settings(group.runs, (TIME, objective), request.prices)
    if not settings:
        why = _why_missing(group.runs, objective, request.prices)
        raise FitError(f"no run has both {TIME} and {objective}: {why}")
    fastest = min(settings, key=lambda s: s.mean(TIME))
    allowed = _allowed(settings, fastest, request)
    if not allowed:
        limits = " and ".join(map(str, request.constraints))
        raise FitError(f"no setting satisfies {limits}")
    noise = _noise(settings, objective)
    time_noise = _noise(settings, TIME)

    def is_worthwhile(setting: MeasuredSetting) -> bool:
        if setting is fastest:
            return True
        cost = log_ratio(setting.values[objective], fastest.values[objective], noise)
        time = log_ratio(setting.values[TIME], fastest.values[TIME], time_noise)
        gain, slowdown = share_saved(interval(cost)), share_added(interval(time))
        return not is_unclear_gain_for_time(gain, slowdown)

    considered = allowed
    if fastest in allowed:
        considered = [s for s in allowed if is_worthwhile(s)]
    best = min(considered, key=lambda s: (s.mean(objective), s.mean(TIME)))
    return [_advice(group, objective, settings, allowed, best, fastest, request, notes)]


def _noise(settings: list[MeasuredSetting], name: str) -> tuple[float, float]:
    return pooled_noise([s.values[name] for s in settings])


def _allowed(
    settings: list[MeasuredSetting], fastest: MeasuredSetting, request: AdviceRequest
) -> list[MeasuredSetting]:
    noise = _noise(settings, TIME)
    found = []
    for setting in settings:
        slowdown = log_ratio(setting.values[TIME], fastest.values[TIME], noise)
        if setting is not fastest and not _satisfies_bound(slowdown, request):
            continue
        if _satisfies_limits(setting, request):
            found.append(setting)
    return found


def _satisfies_bound(slowdown: LogRatio, request: AdviceRequest) -> bool:
    if request.max_slowdown is None:
        return True
    probability = probability_below(slowdown, 1 + request.max_slowdown)
    if probability is None:
        return slowdown.centre <= math.log1p(request.max_slowdown)
    return probability >= request.confidence


def _satisfies_limits(setting: MeasuredSetting, request: AdviceRequest) -> bool:
    for constraint in request.constraints:
        values = _values(setting.runs, constraint.quantity, request.prices)
        limited = MeasuredSetting(setting.setting, setting.runs, {constraint.quantity: values})
        if not values or not constraint.holds(limited.mean(constraint.quantity)):
            return False
    return True


def _advice(
    group: Group,
    objective: str,
    settings: list[MeasuredSetting],
    allowed: list[MeasuredSetting],
    best: MeasuredSetting,
    fastest: MeasuredSetting,
    request: AdviceRequest,
    notes: Sequence[Note],
) -> Advice:
    noise = _noise(settings, TIME)
    cost_noise = _noise(settings, objective)
    time_ratio = log_ratio(best.values[TIME], fastest.values[TIME], noise)
    cost_ratio = log_ratio(best.values[objective], fastest.values[objective], cost_noise)
    bound, probability = request.max_slowdown, None
    gain = slowdown = Interval(0.0, 0.0, 0.0)
    if best is not fastest:
        gain, slowdown = share_saved(interval(cost_ratio)), share_added(interval(time_ratio))
    if bound is not None:
        probability = 1.0 if best is fastest else probability_below(time_ratio, 1 + bound)
    slowdown_probability = None if best is fastest else probability
    comparison = AdviceComparison(
        objective=objective,
        gain=gain,
        slowdown=slowdown,
        limits=tuple(request.limits_as_text(slowdown_probability)),
        probability=None if request.constraints else slowdown_probability,
        baseline_satisfies_limits=fastest in allowed,
    )
    return Advice(
        group=group.key,
        minimise=objective,
        setting=best.setting,
        baseline=fastest.setting,
        predicted={
            TIME: _mean_interval(best.values[TIME], noise),
            objective: _mean_interval(best.values[objective], cost_noise),
        },
        gain=gain,
        slowdown=slowdown,
        probability_bound_holds=probability,
        words=advice_on_runs(group.key, best, fastest, settings, allowed, comparison),
        warnings=tuple(
            dict.fromkeys((*notes, *_notes(settings, best, fastest, bound, probability)))
        ),
    )


def _objective(runs: list[Run], minimise: str | None, prices: Prices) -> str:
    if minimise is None:
        is_measured = all(derive(run, ENERGY).status == "measured" for run in runs)
        boundaries = {energy(run)[1] for run in runs}
        return ENERGY if is_measured and len(boundaries) == 1 else DEVICE_TIME
    check_objective(runs, minimise, prices)
    return minimise


def check_objective(runs: list[Run], name: str, prices: Prices) -> None:
    """Raise FitError if a quantity includes estimated energy, or several boundaries."""
    if name == COST and prices.per_kwh:
        _check_energy(runs, ENERGY)
    elif is_energy(name):
        _check_energy(runs, name)


def _check_energy(runs: list[Run], name: str) -> None:
    if name == ENERGY:
        boundaries = {energy(run)[1] for run in runs} - {""}
        if len(boundaries) > 1:
            raise FitError(
                "runs measured energy within different boundaries "
                f"({', '.join(sorted(boundaries))}); name one"
            )
    statuses = {derive(run, name).status for run in runs} - {"missing"}
    if statuses == {"estimated"}:
        raise FitError(
            f"every {name} is an estimate, which only repeats the time; minimise {DEVICE_TIME} "
            "instead"
        )
    if "estimated" in statuses:
        raise FitError(
            f"{name} is measured in some runs and an estimate in others; they cannot be compared"
        )


def measured_settings(
    runs: list[Run], names: Sequence[str], prices: Prices
) -> list[MeasuredSetting]:
    """Return the settings of runs with some quantities, without settings that lack one of them."""
    by_setting: dict[tuple[tuple[str, Factor], ...], list[Run]] = {}
    for run in runs:
        by_setting.setdefault(tuple(sorted(factors(run).items())), []).append(run)
    found = []
    for members in by_setting.values():
        values = {name: _values(members, name, prices) for name in names}
        if all(values.values()):
            found.append(MeasuredSetting(members[0].setting, members, values))
    return found


def _values(runs: list[Run], name: str, prices: Prices) -> list[float]:
    readings = [priced(run, name, prices).value for run in runs]
    return [v for v in readings if v is not None and SMALLEST <= v <= LARGEST]


def _why_missing(runs: list[Run], objective: str, prices: Prices) -> str:
    for name in (TIME, objective):
        for run in runs:
            reading = priced(run, name, prices)
            if reading.value is None and reading.how:
                return reading.how
    return "the values are not positive numbers"


def _mean_interval(values: Sequence[float], noise: tuple[float, float]) -> Interval:
    # relative to an exact 1, so that only the noise of these repeats counts
    return interval(log_ratio(values, [1.0, 1.0], noise))


def _notes(
    settings: list[MeasuredSetting],
    best: MeasuredSetting,
    fastest: MeasuredSetting,
    bound: float | None,
    probability: float | None,
) -> list[Note]:
    found: list[Note] = []
    for setting in (best, fastest):
        for run in setting.runs:
            found += run.warnings
    if len(settings) == 1:
        found.append(
            Note("one_setting", "only one setting was run, so there is nothing to choose between")
        )
    if min(len(best.values[TIME]), len(fastest.values[TIME])) < 3:
        found.append(
            Note(
                "few_repeats",
                "fewer than 3 repeats of the settings compared; intervals are wide or missing",
            )
        )
    if bound is not None and probability is None:
        found.append(
            Note(
                "no_probability", "without repeats, the probability that the bound holds is unknown"
            )
        )
    return found
