"""Settings that no other beats in both of two quantities: the Pareto front of what was run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from wattlaw.advice.advise import Choice, check_energy, choices_of, mean_of
from wattlaw.advice.request import check_prices, per_sample
from wattlaw.advice.sentences import describe, differing
from wattlaw.analysis.groups import Group, group_runs, group_title, is_energy, summarise_faults
from wattlaw.analysis.prices import COST, NO_PRICES, Prices
from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.options import TUNABLE
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, TIME
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting


class FrontPoint(msgspec.Struct, frozen=True):
    """A setting that no other of its group beats in both quantities: their means over ``n`` runs, and it in words."""

    setting: Setting
    values: dict[str, float]
    n: int
    words: str
    group: dict[str, str] = {}


def pareto(
    runs: Iterable[Run], x: str = TIME, y: str = DEVICE_TIME, prices: Prices = NO_PRICES
) -> list[list[Run]]:
    """Return the runs of each setting on the front of two quantities, both to be small, by ascending ``x``.

    ``x`` and ``y`` are quantities, or "time", "energy", "cost", "device_hours", each per sample. A setting stands at
    the geometric mean of its repeats; settings that lack either quantity are left out.
    """
    return [choice.runs for choice in _front(runs, per_sample(x), per_sample(y), prices)[0]]


def pareto_points(
    runs: Iterable[Run], x: str, y: str, prices: Prices = NO_PRICES
) -> list[FrontPoint]:
    """Return the front of each group of runs that differ in what a user may choose, each setting with its means.

    Raises FitError where no group gives both, as estimates of energy and energies of unlike boundaries do not.
    """
    x, y = per_sample(x), per_sample(y)
    groups, _ = group_runs(runs, TUNABLE, split_layouts=False)
    found: list[FrontPoint] = []
    faults: list[tuple[str, str]] = []
    for group in groups:
        try:
            found += _points_of(group, x, y, prices)
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not found:
        raise FitError(summarise_faults(faults) or f"no run gives both {x} and {y}")
    return found


def _points_of(group: Group, x: str, y: str, prices: Prices) -> list[FrontPoint]:
    found, choices = _front(group.runs, x, y, prices)
    for name in (x, y):
        if is_energy(name) or (name == COST and prices.per_kwh):
            check_energy(group.runs, ENERGY if name == COST else name)
    if not found:
        raise FitError(f"no run gives both {x} and {y}")
    names = differing(c.runs[0] for c in choices)
    return [
        FrontPoint(
            c.setting,
            {x: mean_of(c.time), y: mean_of(c.cost)},
            len(c.runs),
            describe(c.runs[0], names),
            group.key,
        )
        for c in found
    ]


def _front(
    runs: Iterable[Run], x: str, y: str, prices: Prices
) -> tuple[list[Choice], list[Choice]]:
    # the settings on the front, and all
    if x == y:
        raise UsageError(f"a front needs two quantities; both are {x}")
    check_prices(prices, (x, y))
    choices = choices_of([r for r in runs if r.state == "done"], x, y, prices)
    return [
        choices[i] for i in front([(mean_of(c.time), mean_of(c.cost)) for c in choices])
    ], choices


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points on the front, both quantities to be small, by ascending first."""
    order = sorted(range(len(points)), key=lambda i: points[i])
    found: list[int] = []
    best = float("inf")
    for index in order:
        if points[index][1] < best:
            best = points[index][1]
            found.append(index)
    return found
