"""Choose a power cap by the cap law, among all caps between the lowest and the highest run.

Caps and device counts are chosen together in power_cap_candidates.py and device_counts.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wattlaw.advice.request import AdviceRequest
from wattlaw.advice.sentences import AdviceComparison, advice_on_cap
from wattlaw.advice.verdict import is_unclear_gain_for_time, share_saved, transform
from wattlaw.analysis.cap_curves import (
    CapCurve,
    CapOption,
    choose_cap,
    evaluate_curve,
    find_cap_curves,
    most_informative_cap,
)
from wattlaw.analysis.groups import Group
from wattlaw.analysis.prices import COST, Prices
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Advice, Interval
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, GPU_ENERGY, TIME
from wattlaw.core.reading import Note

_ENERGIES = (None, GPU_ENERGY, ENERGY)
_TIMES = (TIME, DEVICE_TIME)

_ANY_SLOWDOWN = 10.0
"""Slowdown allowed if the request sets no bound; larger than that of any usable cap."""


def advise_cap(group: Group, request: AdviceRequest, notes: Sequence[Note]) -> Advice | None:
    """Advise a cap for the fastest setting with three caps or more.

    Limits on time, device time, energy and cost per sample hold for the expected values. Returns
    None if no setting has three caps with GPU energy, or the request names other quantities.
    Raises FitError if no cap satisfies the limits.
    """
    known = (*_ENERGIES, *_TIMES, COST)
    names = [constraint.quantity for constraint in request.constraints]
    if request.minimise not in known or any(name not in known for name in names):
        return None
    curves = [curve for _, curve in find_cap_curves(group.runs)[0]]
    if not curves:
        return None
    curve = min(curves, key=lambda c: float(c.times[-1]))
    bound = _ANY_SLOWDOWN if request.max_slowdown is None else request.max_slowdown
    share = _time_share(curve, request.minimise, request.prices)
    try:
        options = evaluate_curve(curve, bound, time_share=share)
    except FitError:
        return None
    allowed = [option for option in options if _satisfies_limits(curve, option, request)]
    if not allowed:
        raise FitError(f"no cap satisfies {' and '.join(map(str, request.constraints))}")
    chosen = choose_clear_cap(allowed, request.confidence)
    return _advice(group, curve, options, chosen, request, notes)


def choose_clear_cap(options: Sequence[CapOption], confidence: float) -> CapOption:
    """Return the cheapest cap within the bound, excluding slower caps without a clear gain.

    The highest cap is the baseline; if the limits exclude it, every cap that satisfies
    them is considered.
    """
    if not any(option.slowdown.value == 0 for option in options):
        return choose_cap(options, confidence)
    clear = []
    for option in options:
        if not is_unclear_gain_for_time(share_saved(option.cost), option.slowdown):
            clear.append(option)
    return choose_cap(clear, confidence)


def _time_share(curve: CapCurve, minimise: str | None, prices: Prices) -> float:
    if minimise in _TIMES:
        return 1.0
    if minimise != COST:
        return 0.0
    seconds, joules = _at_highest_cap(curve)
    device_seconds = curve.devices * seconds
    return float(prices.cost(device_seconds, 0.0) / prices.cost(device_seconds, joules))


def _at_highest_cap(curve: CapCurve) -> tuple[float, float]:
    return float(curve.times[-1]), float(curve.energies[-1])


def _satisfies_limits(curve: CapCurve, option: CapOption, request: AdviceRequest) -> bool:
    seconds, joules = _at_highest_cap(curve)
    seconds *= 1 + option.slowdown.value
    joules *= option.energy.value
    expected = {
        TIME: seconds,
        DEVICE_TIME: curve.devices * seconds,
        ENERGY: joules,
        GPU_ENERGY: joules,
        COST: float(request.prices.cost(curve.devices * seconds, joules)),
    }
    return all(c.holds(expected[c.quantity]) for c in request.constraints)


def _advice(
    group: Group,
    curve: CapCurve,
    options: list[CapOption],
    chosen: CapOption,
    request: AdviceRequest,
    notes: Sequence[Note],
) -> Advice:
    objective = GPU_ENERGY if request.minimise in _ENERGIES else request.minimise or GPU_ENERGY
    baseline = max(curve.runs, key=lambda r: r.setting.power_cap_w or 0.0).setting
    probability = None if request.max_slowdown is None else chosen.probability
    next_option = most_informative_cap(options, chosen)
    comparison = AdviceComparison(
        objective=objective,
        gain=share_saved(chosen.cost),
        slowdown=chosen.slowdown,
        limits=tuple(request.limits_as_text(probability)),
        probability=None if request.constraints else probability,
        baseline_satisfies_limits=_satisfies_limits(curve, options[-1], request),
    )
    warnings = [*notes]
    for run in curve.runs:
        warnings += run.warnings
    return Advice(
        group=group.key,
        minimise=objective,
        setting=msgspec.structs.replace(baseline, power_cap_w=chosen.cap_w),
        baseline=baseline,
        predicted=_predicted(curve, chosen, request),
        gain=comparison.gain,
        slowdown=chosen.slowdown,
        probability_bound_holds=probability,
        is_measured=chosen.is_measured,
        next_run=next_option and msgspec.structs.replace(baseline, power_cap_w=next_option.cap_w),
        words=_words(group, curve, chosen, comparison, next_option),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _predicted(curve: CapCurve, chosen: CapOption, request: AdviceRequest) -> dict[str, Interval]:
    seconds, joules = _at_highest_cap(curve)
    found = {
        TIME: transform(chosen.slowdown, lambda share: seconds * (1 + share)),
        GPU_ENERGY: transform(chosen.energy, lambda ratio: joules * ratio),
    }
    if request.minimise == COST:
        cost = float(request.prices.cost(curve.devices * seconds, joules))
        found[COST] = transform(chosen.cost, lambda ratio: cost * ratio)
    return found


def _words(
    group: Group,
    curve: CapCurve,
    chosen: CapOption,
    comparison: AdviceComparison,
    next_option: CapOption | None,
) -> str:
    # the curve has one batch and one device count, which the key of the group does not contain
    setting = curve.runs[0].setting
    key = dict(group.key)
    if setting.batch_per_device:
        key["batch_per_device"] = str(setting.batch_per_device)
    if setting.devices > 1:
        key["devices"] = str(setting.devices)
    origin = "" if chosen.is_measured else " (not run; predicted by the cap law)"
    next_cap = "" if next_option is None else f"{next_option.cap_w:g} W"
    caps = f"{chosen.cap_w:g} W", origin, f"{curve.caps[-1]:g} W"
    return advice_on_cap(key, *caps, comparison, next_cap)
