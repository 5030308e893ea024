"""Compare two sets of runs, setting by setting: which differences are larger than the noise?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from wattlaw.analysis.groups import split_by
from wattlaw.core.factors import Factor, factors
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import derive, energy, quantity
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.statistics.ratios import interval, log_ratio, pooled_noise
from wattlaw.laws.statistics.repeats import summarise_repeats

QUANTITIES_COMPARED = ("step_time_s", "samples_per_s", "energy_per_sample_j")

_WIDEST = frozenset({"energy_j", "energy_per_sample_j", "energy_delay_product_js"})
"""Energies of the widest measured boundary; only the same boundaries are compared."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one setting, in two sets of runs.

    a, b      geometric means over the runs of each set; ``runs_a``, ``runs_b`` are their numbers
    ratio     b/a with its 90 % interval; no ends without repeats
    larger_than_noise   whether the interval excludes 1; None if there is no interval
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


class _Pair(NamedTuple):
    # the runs of one setting in both sets
    a: list[Run]
    b: list[Run]


def compare(
    a: Iterable[Run], b: Iterable[Run], quantities: Sequence[str] = QUANTITIES_COMPARED
) -> Comparison:
    """Match two sets of runs by setting and compare ``quantities``, b with a.

    Machines may differ. Repeats are compared as logarithms by Welch's t; see ratios.py. For a
    setting with one run in a set, the noise is pooled over the other settings of the set. Failed
    runs are left out. Raises UnknownNameError for an unknown quantity.
    """
    for name in quantities:
        quantity(name)
    left, right = _by_setting(a), _by_setting(b)
    pairs = [_Pair(runs, right[key]) for key, runs in left.items() if key in right]
    found: list[Difference] = []
    notes = _notes(pairs)
    for name in quantities:
        comparable = [pair for pair in pairs if _is_comparable(name, pair)]
        found += _compare_one(name, comparable)
        if len(comparable) < len(pairs):
            first = next(pair for pair in pairs if not _is_comparable(name, pair))
            notes.append(_other_boundary_note(name, first))
    if pairs and (not found or tuple(quantities) != QUANTITIES_COMPARED):
        compared = {difference.quantity for difference in found}
        first = pairs[0]
        for name in quantities:
            if name not in compared:
                notes.append(_not_compared(name, [*first.a, *first.b]))
    found.sort(key=lambda difference: repr(sorted(difference.group.items())))
    only_a, only_b = len(left) - len(pairs), len(right) - len(pairs)
    return Comparison(found, len(pairs), only_a, only_b, tuple(notes))


def _by_setting(runs: Iterable[Run]) -> dict[tuple[str, ...], list[Run]]:
    def setting(run: Run) -> tuple[str, ...]:
        return tuple(sorted(f"{name}={value!r}" for name, value in _factors(run).items()))

    return split_by((run for run in runs if run.state == "done"), setting)


def _factors(run: Run) -> dict[str, Factor]:
    # the requested type of device, not the device found: machines may differ between the sets
    found = factors(run)
    found.pop("device_name", None)
    return found | {"device_type": run.setting.device_type}


def _compare_one(name: str, pairs: list[_Pair]) -> list[Difference]:
    sides = [(_values(pair.a, name), _values(pair.b, name)) for pair in pairs]
    noise_a = pooled_noise([values for values, _ in sides if values])
    noise_b = pooled_noise([values for _, values in sides if values])
    noise = _pooled(noise_a, noise_b)
    found = []
    for pair, (x, y) in zip(pairs, sides, strict=True):
        if not x or not y:
            continue
        ratio = interval(log_ratio(y, x, noise))
        statuses = {derive(run, name).status for run in (*pair.a, *pair.b)}
        shared = _factors(pair.a[0])
        group: dict[str, Factor] = {n: v for n, v in shared.items() if v not in (None, "")}
        found.append(
            Difference(
                group=group,
                quantity=name,
                a=summarise_repeats(x).value,
                b=summarise_repeats(y).value,
                ratio=ratio,
                larger_than_noise=_excludes_1(ratio),
                verdict=_verdict(ratio, quantity(name).better),
                runs_a=len(x),
                runs_b=len(y),
                status="estimated" if "estimated" in statuses else "measured",
            )
        )
    return found


def _is_comparable(name: str, pair: _Pair) -> bool:
    return name not in _WIDEST or _boundaries(pair.a) == _boundaries(pair.b)


def _boundaries(runs: list[Run]) -> set[str]:
    """Return the boundary and status of the energies of runs, such as "gpu+cpu, measured"."""
    found = set()
    for run in runs:
        reading, boundary = energy(run)
        if reading.value is not None:
            found.add(f"{boundary}, {reading.status}")
    return found


def _other_boundary_note(name: str, pair: _Pair) -> Note:
    a, b = ("; ".join(sorted(_boundaries(runs))) or "missing" for runs in pair)
    return Note("unlike_energies", f"{name} is not compared where it holds {a} in a and {b} in b")


def _not_compared(name: str, runs: list[Run]) -> Note:
    why = "no value is above 0"
    for run in runs:
        reading = derive(run, name)
        if reading.value is None and reading.how:
            why = reading.how
            break
    return Note("not_compared", f"{name} is missing in one or both sets: {why}")


def _values(runs: list[Run], name: str) -> list[float]:
    found = []
    for run in runs:
        value = derive(run, name).value
        if value is not None and 0 < value < math.inf:
            found.append(value)
    return found


def _pooled(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    (deviation_a, df_a), (deviation_b, df_b) = a, b
    df = df_a + df_b
    if not df:
        return 0.0, 0.0
    return ((deviation_a**2 * df_a + deviation_b**2 * df_b) / df) ** 0.5, df


def _excludes_1(ratio: Interval) -> bool | None:
    if ratio.low is None or ratio.high is None:
        return None
    return not ratio.low <= 1 <= ratio.high


def _verdict(ratio: Interval, better: int) -> str:
    match _excludes_1(ratio):
        case None:
            return "too few repeats"
        case False:
            return "no difference"
    is_higher = ratio.value > 1
    if better == 0:
        return "higher" if is_higher else "lower"
    is_better = is_higher == (better > 0)
    return "better" if is_better else "worse"


def _notes(pairs: list[_Pair]) -> list[Note]:
    notes: list[Note] = []
    machines: dict[str, set[str]] = {"a": set(), "b": set()}
    for pair in pairs:
        for side, runs in zip(machines, pair, strict=True):
            for run in runs:
                machines[side].add(run.machine.device_name)
                notes += run.warnings
    for side, names in machines.items():
        if len(names) > 1:
            message = f"runs of {side} come from {', '.join(sorted(names))}"
            notes.append(Note("several_machines", message))
    return list(dict.fromkeys(notes))
