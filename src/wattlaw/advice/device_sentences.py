"""Advice on a number of devices as one sentence for people, and one on what to run next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wattlaw.advice.candidates import Option
from wattlaw.advice.sentences import batch_words, describe, differing, ranged
from wattlaw.analysis.groups import group_title
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import TIME, quantity

_MANY = 4.0
"""More than so many times as much is told in times, not in percent."""

_TIMES = "×"


class Said(NamedTuple):
    """What is told of an advice: the quantity made small, its ratio and that of time to the fastest setting run.

    ``bounds`` in words ("" for none) hold with ``chance``; ``fastest_keeps`` says whether they do at the fastest
    setting, more likely than not. A run of ``telling`` is expected to save the share ``saves``, and one run scatters
    by ``noise``.
    """

    what: str
    cost: Interval
    time: Interval
    bounds: str
    chance: float | None
    fastest_keeps: bool
    telling: Option
    saves: float
    noise: float


def sentence(
    key: Mapping[str, str], best: Option, fastest: Option, options: Sequence[Option], said: Said
) -> str:
    """Return such as "schnet: take 6 GPUs (not run; …): 12 % less … for 30 % more time than …"."""
    names = differing(o.run for o in options)
    chosen = f"{group_title(dict(key))}: take {describe(best.run, names)}{_standing(best)}"
    kept = (
        f"; {said.bounds} {_hold(said.bounds)} with probability {said.chance:.2f}"
        if said.chance is not None
        else ""
    )
    if best is fastest:
        within = " within the bounds" if kept else ""
        text = f"{chosen}: the fastest setting that was run, and no other promises less {_noun(said.what)}{within}"
    else:
        kept_not = "" if said.fastest_keeps else "; the bounds rule it out"
        against = f"the fastest that was run ({describe(fastest.run, names)}{kept_not})"
        parts = [] if said.what == TIME else [_changed(said.cost, _noun(said.what))]
        told = " and ".join([*parts, _changed(said.time, "time")])
        text = f"{chosen}: {told}{', against' if _TIMES in told else ' than'} {against}"
    return f"{text}{kept}. {_next(said, names)}{batch_words(best.run.setting, fastest.run.setting)}"


def _standing(option: Option) -> str:
    if option.is_measured:
        return ""
    return " (not run, beyond the runs)" if option.is_beyond else " (not run)"


def _changed(ratio: Interval, noun: str) -> str:
    low, high = (ratio.value if v is None else v for v in (ratio.low, ratio.high))
    if ratio.value <= 1:
        return f"{ranged(Interval(1 - ratio.value, 1 - high, 1 - low), percent=True)} less {noun}"
    if ratio.value > _MANY:
        return f"{ranged(ratio)} the {noun}"
    return f"{ranged(Interval(ratio.value - 1, low - 1, high - 1), percent=True)} more {noun}"


def _next(said: Said, names: Sequence[str]) -> str:
    if said.saves <= said.noise:
        return (
            f"Nothing more is worth running for this: the best run is expected to save {_percent(said.saves)}, "
            f"and one run scatters by {_percent(said.noise)}."
        )
    again = "Another run" if said.telling.is_measured else "A run"
    return f"{again} on {describe(said.telling.run, names)} would tell most: expected to save {_percent(said.saves)}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _hold(bounds: str) -> str:
    return "hold" if " and " in bounds else "holds"


def _noun(what: str) -> str:
    return quantity(what).title
