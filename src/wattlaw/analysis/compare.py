"""Compares two sets of runs, setting by setting: which differences are larger than the noise?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

import msgspec

from wattlaw.core.factors import Factor, factors
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import derive, energy, quantity
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.statistics.ratios import interval, log_ratio, pooled_noise

QUANTITIES_COMPARED = ("step_time_s", "samples_per_s", "energy_per_sample_j")

_WIDEST = frozenset({"energy_j", "energy_per_sample_j", "energy_delay_product_js"})
"""Quantities that hold whatever was measured: two of them compare only where that is the same."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one setting, in two sets of runs.

    a, b      medians over the runs of each set; ``runs_a``, ``runs_b`` say how many
    ratio     b/a of the geometric means, with its interval (90 %); no ends without repeats
    larger_than_noise   whether the interval leaves 1 out; None where there is no interval
    verdict   "better", "worse", "higher" or "lower" in b, "no difference", or "too few repeats"
    """

    group: dict[str, Factor]
    quantity: str
    a: float
    b: float
    ratio: Interval
    larger_than_noise: bool | None
    verdict: str
    runs_a: int
    runs_b: int
    status: str = "measured"


class Comparison(msgspec.Struct, frozen=True):
    """The differences, and how many settings are in both sets or in one only."""

    differences: list[Difference]
    matched: int
    only_a: int
    only_b: int
    warnings: tuple[Note, ...] = ()


def compare(
    a: Iterable[Run], b: Iterable[Run], quantities: Sequence[str] = QUANTITIES_COMPARED
) -> Comparison:
    """Match two sets of runs by setting, machines aside, and compare ``quantities`` (b against a).

    Repeats are compared as logarithms by Welch's t, see ratios. Where a setting has one run on a side,
    the noise pooled over that side's other settings stands in. Runs that failed are left out.
    Raises UnknownNameError for a name that is no quantity.
    """
    for name in quantities:
        quantity(name)
    left, right = _by_setting(a), _by_setting(b)
    both = [key for key in left if key in right]
    found: list[Difference] = []
    notes = _notes(left, right, both)
    for name in quantities:
        unlike = [
            key
            for key in both
            if name in _WIDEST and _boundaries(left[key]) != _boundaries(right[key])
        ]
        apart = set(unlike)
        found += _compare_one(name, [(left[key], right[key]) for key in both if key not in apart])
        if unlike:
            notes = (*notes, _unlike(name, left[unlike[0]], right[unlike[0]]))
    if both and (not found or tuple(quantities) != QUANTITIES_COMPARED):
        missing = [name for name in quantities if not any(d.quantity == name for d in found)]
        notes = (
            *notes,
            *(_not_compared(name, [*left[both[0]], *right[both[0]]]) for name in missing),
        )
    found.sort(key=lambda d: repr(sorted(d.group.items())))
    return Comparison(found, len(both), len(left) - len(both), len(right) - len(both), notes)


Members = dict[tuple[str, ...], list[Run]]


def _by_setting(runs: Iterable[Run]) -> Members:
    found: Members = {}
    for run in runs:
        if run.state == "done":
            found.setdefault(
                tuple(sorted(f"{n}={v!r}" for n, v in _factors(run).items())), []
            ).append(run)
    return found


def _factors(run: Run) -> dict[str, Factor]:
    # the kind of device that was asked for, not the one that was found: machines are what may differ
    found = {n: v for n, v in factors(run).items() if n != "device_name"}
    return found | {"device_type": run.setting.device_type}


def _compare_one(name: str, pairs: list[tuple[list[Run], list[Run]]]) -> list[Difference]:
    sides = [(_values(a, name), _values(b, name)) for a, b in pairs]
    noise = (pooled_noise([a for a, _ in sides if a]), pooled_noise([b for _, b in sides if b]))
    found = []
    for (runs_a, runs_b), (x, y) in zip(pairs, sides, strict=True):
        if not x or not y:
            continue
        ratio = interval(log_ratio(y, x, _pooled(noise)))
        estimated = any(derive(run, name).status == "estimated" for run in (*runs_a, *runs_b))
        found.append(
            Difference(
                group={n: v for n, v in _factors(runs_a[0]).items() if v not in (None, "")},
                quantity=name,
                a=median(x),
                b=median(y),
                ratio=ratio,
                larger_than_noise=_leaves_out_1(ratio),
                verdict=_verdict(ratio, quantity(name).better),
                runs_a=len(x),
                runs_b=len(y),
                status="estimated" if estimated else "measured",
            )
        )
    return found


def _boundaries(runs: list[Run]) -> set[str]:
    """Return what the energies of runs hold, and whether they were measured: "gpu+cpu, measured"."""
    found = [energy(run) for run in runs]
    return {
        f"{boundary}, {reading.status}" for reading, boundary in found if reading.value is not None
    }


def _unlike(name: str, *sides: list[Run]) -> Note:
    a, b = ("; ".join(sorted(_boundaries(runs))) or "missing" for runs in sides)
    return Note("unlike_energies", f"{name} is not compared where it holds {a} in a and {b} in b")


def _not_compared(name: str, runs: list[Run]) -> Note:
    why = next(
        (r.how for run in runs if (r := derive(run, name)).value is None and r.how),
        "no value is above 0",
    )
    return Note("not_compared", f"{name} is in no setting of both: {why}")


def _values(runs: list[Run], name: str) -> list[float]:
    return [v for run in runs if (v := derive(run, name).value) is not None and 0 < v < math.inf]


def _pooled(noise: tuple[tuple[float, float], tuple[float, float]]) -> tuple[float, float]:
    (deviation_a, df_a), (deviation_b, df_b) = noise
    df = df_a + df_b
    return (((deviation_a**2 * df_a + deviation_b**2 * df_b) / df) ** 0.5, df) if df else (0.0, 0.0)


def _leaves_out_1(ratio: Interval) -> bool | None:
    if ratio.low is None or ratio.high is None:
        return None
    return not ratio.low <= 1 <= ratio.high


def _verdict(ratio: Interval, better: int) -> str:
    match _leaves_out_1(ratio):
        case None:
            return "too few repeats"
        case False:
            return "no difference"
    up = ratio.value > 1
    if better == 0:
        return "higher" if up else "lower"
    return "better" if up == (better > 0) else "worse"


def _notes(left: Members, right: Members, both: list[tuple[str, ...]]) -> tuple[Note, ...]:
    notes = [note for key in both for run in (*left[key], *right[key]) for note in run.warnings]
    for side, members in (("a", left), ("b", right)):
        machines = sorted({run.machine.device_name for key in both for run in members[key]})
        if len(machines) > 1:
            notes.append(
                Note("several_machines", f"runs of {side} come from {', '.join(machines)}")
            )
    return tuple(dict.fromkeys(notes))
