"""Advice on a power cap over all caps between those that were run, by the cap law."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Advice, Interval
from wattlaw.core.reading import Note
from wattlaw.laws.capchoice import CONFIDENCE, CapOption, choose_cap
from wattlaw.laws.capruns import CapCurve, cap_curves, most_telling, weighed
from wattlaw.laws.groups import Group, title
from wattlaw.laws.words import ranged

_ENERGIES = (None, "energy", "energy_j", "gpu_energy_j", "gpu_energy_per_sample_j", "energy_per_sample_j")


def advise_cap(
    group: Group, minimise: str | None, bound: float | None, confidence: float, notes: Sequence[Note]
) -> Advice | None:
    """Advise the cap of the group's fastest curve; None where it has too few caps or another quantity is asked for."""
    if minimise not in _ENERGIES:
        return None
    curves = [curve for _, curve in cap_curves(group.runs)[0]]
    if not curves:
        return None
    curve = min(curves, key=lambda c: float(c.times[-1]))
    limit = 10.0 if bound is None else bound
    try:
        options = weighed(curve, limit)
    except FitError:
        return None
    chosen = choose_cap(options, max(confidence, CONFIDENCE))
    return _advice(group, curve, options, chosen, bound, notes)


def _advice(
    group: Group,
    curve: CapCurve,
    options: list[CapOption],
    chosen: CapOption,
    bound: float | None,
    notes: Sequence[Note],
) -> Advice:
    baseline = max(curve.runs, key=lambda r: r.setting.power_cap_w or 0.0).setting
    setting = msgspec.structs.replace(baseline, power_cap_w=chosen.cap_w)
    gain = Interval(
        1 - chosen.energy.value, *(None if v is None else 1 - v for v in (chosen.energy.high, chosen.energy.low))
    )
    telling = most_telling(options, chosen)
    return Advice(
        group=group.key,
        minimise="gpu_energy_per_sample_j",
        setting=setting,
        baseline=baseline,
        predicted={
            "time_per_sample_s": _scaled(chosen.slowdown, float(curve.times[-1]), 1.0),
            "gpu_energy_per_sample_j": _scaled(chosen.energy, float(curve.energies[-1]), 0.0),
        },
        gain=gain,
        slowdown=chosen.slowdown,
        probability_bound_holds=None if bound is None else chosen.probability,
        is_measured=chosen.is_measured,
        words=_words(group, curve, chosen, gain, bound, telling),
        warnings=tuple(dict.fromkeys([*notes, *(n for r in curve.runs for n in r.warnings)])),
    )


def _words(
    group: Group, curve: CapCurve, chosen: CapOption, gain: Interval, bound: float | None, telling: CapOption | None
) -> str:
    highest = f"{curve.caps[-1]:g} W"
    if chosen.cap_w == curve.caps[-1]:
        text = f"{_name(group, curve)}: leave the cap at {highest}: no lower one saves energy within the bound"
    else:
        run = "" if chosen.is_measured else " (not run; the cap law says so)"
        text = (
            f"{_name(group, curve)}: cap each device at {chosen.cap_w:g} W{run}: {ranged(gain, percent=True)} less GPU "
            f"energy for {ranged(chosen.slowdown, percent=True)} more time than at {highest}"
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
    return f"{title(group.key)}{batch}{devices}"


def _scaled(value: Interval, factor: float, shift: float) -> Interval:
    return Interval(
        factor * (shift + value.value), *(None if v is None else factor * (shift + v) for v in (value.low, value.high))
    )
