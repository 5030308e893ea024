"""The Pareto front of what was run: the settings that no other beats in both of two quantities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from wattlaw.advice.advise import MeasuredSetting, check_objective, measured_settings
from wattlaw.advice.request import check_prices, check_tunable, objective_of
from wattlaw.advice.sentences import describe, differing
from wattlaw.analysis.groups import Group, group_runs, group_title, summarise_faults
from wattlaw.analysis.prices import NO_PRICES, Prices
from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.options import TUNABLE
from wattlaw.core.quantities import DEVICE_TIME, TIME
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting


class FrontPoint(msgspec.Struct, frozen=True):
    """A setting on the front, with the means of both quantities over ``n`` runs."""

    setting: Setting
    values: dict[str, float]
    n: int
    words: str
    group: dict[str, str] = {}


def pareto(
    runs: Iterable[Run], x: str = TIME, y: str = DEVICE_TIME, prices: Prices = NO_PRICES
) -> list[list[Run]]:
    """Return the runs of each setting on the front of two quantities, by ascending ``x``.

    ``x`` and ``y`` are quantities, or "time", "device_time", "energy" or "cost", each per sample. A
    setting counts with the geometric mean of its repeats; a setting that lacks either quantity is
    left out.
    """
    on_front, _ = _front(runs, objective_of(x), objective_of(y), prices)
    return [setting.runs for setting in on_front]


def pareto_points(
    runs: Iterable[Run],
    x: str,
    y: str,
    prices: Prices = NO_PRICES,
    tunable: Sequence[str] = (),
) -> list[FrontPoint]:
    """Return the front of each group of runs that train the same thing.

    ``tunable`` names options of the user's own code that change its speed only.
    Raises FitError if no group has both quantities; estimates of energy do not count, nor
    energies of different boundaries.
    """
    x, y = objective_of(x), objective_of(y)
    runs = list(runs)
    check_tunable(runs, tunable)
    groups, _ = group_runs(runs, (*TUNABLE, *tunable), split_layouts=False)
    found: list[FrontPoint] = []
    faults: list[tuple[str, str]] = []
    for group in groups:
        try:
            found += _points_of(group, x, y, prices)
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not found:
        raise FitError(summarise_faults(faults) or f"no run has both {x} and {y}")
    return found


def _points_of(group: Group, x: str, y: str, prices: Prices) -> list[FrontPoint]:
    on_front, settings = _front(group.runs, x, y, prices)
    for name in (x, y):
        check_objective(group.runs, name, prices)
    if not on_front:
        raise FitError(f"no run has both {x} and {y}")
    names = differing(s.runs[0] for s in settings)
    found = []
    for setting in on_front:
        means = {name: setting.mean(name) for name in (x, y)}
        words = describe(setting.runs[0], names)
        found.append(FrontPoint(setting.setting, means, len(setting.runs), words, group.key))
    return found


def _front(
    runs: Iterable[Run], x: str, y: str, prices: Prices
) -> tuple[list[MeasuredSetting], list[MeasuredSetting]]:
    """Return the settings on the front, and all that have both quantities."""
    if x == y:
        raise UsageError(f"a front needs two quantities; both are {x}")
    check_prices(prices, (x, y))
    done = [run for run in runs if run.state == "done"]
    settings = measured_settings(done, (x, y), prices)
    indices = front([(s.mean(x), s.mean(y)) for s in settings])
    return [settings[i] for i in indices], settings


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points on the front, both values minimised, by the first value."""
    order = sorted(range(len(points)), key=lambda i: points[i])
    found: list[int] = []
    best = float("inf")
    for index in order:
        if points[index][1] < best:
            best = points[index][1]
            found.append(index)
    return found
