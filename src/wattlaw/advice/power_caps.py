"""Advice on a power cap over all caps between those that were run, by the cap law."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wattlaw.advice.request import Asked
from wattlaw.advice.sentences import ranged
from wattlaw.analysis.cap_curves import (
    CapCurve,
    CapOption,
    choose_cap,
    evaluate_curve,
    find_cap_curves,
    most_informative_cap,
)
from wattlaw.analysis.groups import Group, group_title
from wattlaw.analysis.prices import COST, Prices
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Advice, Interval
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, GPU_ENERGY, TIME
from wattlaw.core.reading import Note

_ENERGIES = (None, GPU_ENERGY, ENERGY)
_TIMES = (TIME, DEVICE_TIME)


def advise_cap(group: Group, asked: Asked, notes: Sequence[Note]) -> Advice | None:
    """Advise the cap of the group's fastest curve; None where it has too few caps or another quantity is asked for.

    Limits on time, device time, energy and cost per sample hold for the expected values.
    """
    known = (*_ENERGIES, *_TIMES, COST)
    if asked.minimise not in known or any(name not in known for name in asked.limits):
        return None
    curves = [curve for _, curve in find_cap_curves(group.runs)[0]]
    if not curves:
        return None
    curve = min(curves, key=lambda c: float(c.times[-1]))
    share = _time_share(curve, asked.minimise, asked.prices)
    try:
        options = evaluate_curve(
            curve, 10.0 if asked.bound is None else asked.bound, time_share=share
        )
    except FitError:
        return None
    limits = asked.limits.items()
    within = [
        o
        for o in options
        if all(_expected(curve, o, name, asked.prices) <= most for name, most in limits)
    ]
    if not within:
        raise FitError(f"no cap keeps {asked.limits_in_words()}")
    chosen = choose_cap(within, asked.confidence)
    return _advice(group, curve, options, chosen, asked, notes)


def _time_share(curve: CapCurve, minimise: str | None, prices: Prices) -> float:
    if minimise in _TIMES:
        return 1.0
    if minimise != COST:
        return 0.0
    seconds, joules = curve.devices * float(curve.times[-1]), float(curve.energies[-1])
    return float(prices.cost(seconds, 0.0) / prices.cost(seconds, joules))


def _expected(curve: CapCurve, option: CapOption, name: str, prices: Prices) -> float:
    seconds = (1 + option.slowdown.value) * float(curve.times[-1])
    joules = option.energy.value * float(curve.energies[-1])
    if name in _TIMES:
        return seconds * (1 if name == _TIMES[0] else curve.devices)
    return float(prices.cost(curve.devices * seconds, joules)) if name == COST else joules


def _advice(
    group: Group,
    curve: CapCurve,
    options: list[CapOption],
    chosen: CapOption,
    asked: Asked,
    notes: Sequence[Note],
) -> Advice:
    minimise, bound = asked.minimise or GPU_ENERGY, asked.bound
    baseline = max(curve.runs, key=lambda r: r.setting.power_cap_w or 0.0).setting
    ends = (None if v is None else 1 - v for v in (chosen.cost.high, chosen.cost.low))
    gain = Interval(1 - chosen.cost.value, *ends)
    seconds, joules = float(curve.times[-1]), float(curve.energies[-1])
    predicted = {
        TIME: _scaled(chosen.slowdown, seconds, 1.0),
        GPU_ENERGY: _scaled(chosen.energy, joules, 0.0),
    }
    telling = most_informative_cap(options, chosen)
    if minimise == COST:
        predicted[COST] = _scaled(
            chosen.cost, float(asked.prices.cost(curve.devices * seconds, joules)), 0.0
        )
    return Advice(
        group=group.key,
        minimise=GPU_ENERGY if minimise in _ENERGIES else minimise,
        setting=msgspec.structs.replace(baseline, power_cap_w=chosen.cap_w),
        baseline=baseline,
        predicted=predicted,
        gain=gain,
        slowdown=chosen.slowdown,
        probability_bound_holds=None if bound is None else chosen.probability,
        is_measured=chosen.is_measured,
        next_run=telling and msgspec.structs.replace(baseline, power_cap_w=telling.cap_w),
        words=_words(group, curve, chosen, gain, bound, telling, _NOUNS.get(minimise, "time")),
        warnings=tuple(dict.fromkeys([*notes, *(n for r in curve.runs for n in r.warnings)])),
    )


_NOUNS = {**dict.fromkeys((GPU_ENERGY, ENERGY), "GPU energy"), COST: "cost"}


def _words(
    group: Group,
    curve: CapCurve,
    chosen: CapOption,
    gain: Interval,
    bound: float | None,
    telling: CapOption | None,
    noun: str,
) -> str:
    highest = f"{curve.caps[-1]:g} W"
    if chosen.cap_w == curve.caps[-1]:
        text = f"{_name(group, curve)}: leave the cap at {highest}: no lower one takes less {noun} within the bounds"
    else:
        run = "" if chosen.is_measured else " (not run; the cap law says so)"
        text = (
            f"{_name(group, curve)}: cap each device at {chosen.cap_w:g} W{run}: {ranged(gain, percent=True)} "
            f"less {noun} for {ranged(chosen.slowdown, percent=True)} more time than at {highest}"
        )
        if bound is not None:
            text += f"; the bound of {100 * bound:.3g} % holds with probability {chosen.probability:.2f}"
    if telling is None:
        return f"{text}. No further run would change this much."
    return f"{text}. A run at {telling.cap_w:g} W would tell most."


def _name(group: Group, curve: CapCurve) -> str:
    # the curve is that of one batch and one number of devices, which the group leaves open
    setting = curve.runs[0].setting
    batch = f" at batch {setting.batch_per_device}" if setting.batch_per_device else ""
    devices = f" on {setting.devices} devices" if setting.devices > 1 else ""
    return f"{group_title(group.key)}{batch}{devices}"


def _scaled(value: Interval, factor: float, shift: float) -> Interval:
    return Interval(
        factor * (shift + value.value),
        *(None if v is None else factor * (shift + v) for v in (value.low, value.high)),
    )
