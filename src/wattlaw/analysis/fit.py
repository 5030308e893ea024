"""Fit a law to each group of runs: a speedup, or the law with the least held-out error."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wattlaw.analysis.groups import (
    Group,
    Observed,
    check_factor,
    group_runs,
    group_title,
    is_energy,
    observe,
    summarise_faults,
    varied_numbers,
)
from wattlaw.core.errors import FitError, UnknownNameError
from wattlaw.core.findings import Fit, Interval
from wattlaw.core.plugins import LAWS, load, plugins
from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.law import Law, Observations, applies
from wattlaw.laws.statistics.repeats import summarise_repeats

AUTO = "auto"

TWO_SIZES = "speedup"
"""The law that ``auto`` takes for two sizes."""

SIMPLER_BY = 0.9
"""``auto`` takes a later law only below this share of the held-out error so far."""

FEW_REPEATS = 3
"""With fewer repeats of a setting an interval is wide, and a warning says so."""

IDEAL_MARGIN = 1.02
"""A speedup above the ideal by more than this factor gets a warning."""

Point = tuple[float, float, float, float]


def fit(
    runs: Iterable[Run], target: str = "time_per_sample_s", over: str = "devices", law: str = AUTO
) -> list[Fit]:
    """Fit one law to each group of runs that differ only in ``over``.

    ``law`` is a name from ``wattlaw list laws``, or "auto": a speedup from two sizes, and from
    three sizes the law with the least held-out error. With a fixed batch per device, N devices do N
    times the work in a step, so that a speedup compares the time per sample even if ``target``
    is the time of a step. Raises FitError if no group can be fitted, UnknownNameError for an
    unknown law or quantity.
    """
    return fit_groups(runs, target, over, law)[0]


def fit_groups(
    runs: Iterable[Run], target: str = "time_per_sample_s", over: str = "devices", law: str = AUTO
) -> tuple[list[Fit], tuple[Note, ...]]:
    """Fit as ``fit`` does; also return notes on what was left out."""
    quantity(target)
    varied: tuple[str, ...] = ()
    if law != AUTO:
        varied = _load_law(law).varied
    runs = list(runs)
    if runs:
        check_factor(runs, over)
    groups, notes = group_runs(runs, varied or (over,), split_layouts=not varied)
    fits: list[Fit] = []
    faults: list[tuple[str, str]] = []
    for group in groups:
        try:
            fits.append(_fit_group(group, target, over, law))
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    summary = summarise_faults(faults)
    if not fits:
        reasons = [note.message for note in notes]
        if faults:
            reasons.append(summary)
        reason = "; ".join(dict.fromkeys(reasons)) or "there is no run to fit"
        raise FitError(reason + _suggest_over(runs, over))
    if faults:
        notes = (*notes, Note("no_law", summary))
    return fits, notes


def _load_law(name: str) -> type[Law]:
    known = plugins(LAWS)
    if name not in known:
        raise UnknownNameError("law", name, [AUTO, *known])
    found: type[Law] = load(LAWS, name)
    return found


def _suggest_over(runs: list[Run], over: str) -> str:
    varied = varied_numbers(runs)
    if over in varied or not varied:
        return ""
    return f"; what varies here is {' and '.join(varied)}: fit over that (--over {varied[0]})"


def _fit_group(group: Group, target: str, over: str, law: str) -> Fit:
    observed = observe(group.runs, target, over)
    if is_energy(target) and observed.status == "estimated":
        raise FitError(f"{target} is an estimate here; a law of it would only repeat the time")
    x = observed.observations.x
    sizes = len(np.unique(x))
    if sizes < 2:
        few = (
            f"one value of {over} ({x[0]:g}); run at least two for a speedup, three for an exponent"
        )
        left_out = [note.message for note in observed.notes if note.name == "runs_left_out"]
        raise FitError("; ".join([few, *left_out]))
    if law != AUTO:
        return _fit_law(group, observed, law)
    if sizes == 2:
        return _fit_law(group, observed, TWO_SIZES)
    return _fit_law(group, observed, _best_law(group, target, over))


def _best_law(group: Group, target: str, over: str) -> str:
    """Return the law that is taken wherever it applies, or the best by held-out error."""
    candidates = []
    for name in plugins(LAWS):
        law = _load_law(name)
        if law.auto_order is not None and applies(law, over, target):
            candidates.append((law.auto_order, name, law))
    chosen, least = "", np.inf
    for order, name, law in sorted(candidates, key=lambda candidate: candidate[:2]):
        if order == 0:
            return name
        observations = observe(
            group.runs, target, over, law.covariates.get(target, ())
        ).observations
        error = law.held_out_error(observations)
        if not chosen or (error is not None and error < SIMPLER_BY * least):
            chosen, least = name, np.inf if error is None else error
    return chosen


def _fit_law(group: Group, observed: Observed, name: str) -> Fit:
    law = _load_law(name)
    over, target = observed.observations.over, observed.observations.target
    if not applies(law, over, target):
        targets = ", ".join(law.targets) or "any quantity"
        overs = " or ".join(law.over) or "any factor"
        raise FitError(
            f"law {name} explains {targets} over {overs}, not {target} over {over}; "
            "use power for any other"
        )
    covariates = law.covariates.get(target, ())
    if covariates:
        observed = observe(group.runs, target, over, covariates)
    observations = observed.observations
    found = law.fit(observations)
    parameters = found.parameters()
    curve = _curve(found, observations)
    notes = [*observed.notes, *law.notes]
    if not law.varied:
        notes += _repeat_notes(observations)
    if curve:
        notes += _weak_scaling(target, over)
    notes += _faster_than_ideal(parameters, float(observations.x.min()), over)
    return Fit(
        group=group.key,
        target=target,
        over=over,
        law=name,
        parameters=parameters,
        points=_points(law, observations),
        curve=curve,
        n=len(observations.x),
        sizes=len(np.unique(observations.x)),
        held_out_error=law.held_out_error(observations),
        status=observed.status,
        warnings=tuple(notes),
    )


def _curve(law: Law, observations: Observations) -> tuple[Point, ...]:
    grid = law.grid(observations)
    rows = []
    for x, found in zip(grid.x.tolist(), law.interval(grid), strict=True):
        rows.append(_point(x, found.value, found.low, found.high))
    return tuple(dict.fromkeys(rows))


def _points(law: type[Law], observations: Observations) -> tuple[Point, ...]:
    """Return the geometric means; each run if the group mixes settings."""
    pairs = list(zip(observations.x.tolist(), observations.y.tolist(), strict=True))
    if law.varied:
        return tuple(_point(x, y, y, y) for x, y in pairs)
    rows = []
    for x, values in _by_size(observations).items():
        found = summarise_repeats(values)
        rows.append(_point(x, found.value, found.low, found.high))
    return tuple(rows)


def _point(x: float, value: float, low: float | None, high: float | None) -> Point:
    if low is None or high is None:
        return x, value, value, value
    return x, value, low, high


def _by_size(observations: Observations) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {size: [] for size in np.unique(observations.x).tolist()}
    for x, y in zip(observations.x.tolist(), observations.y.tolist(), strict=True):
        found[x].append(y)
    return found


def _faster_than_ideal(parameters: dict[str, Interval], first: float, over: str) -> list[Note]:
    """Return a warning for the first speedup over devices whose low end is above the ideal."""
    for name, value in parameters.items() if over == "devices" else ():
        kind, _, number = name.rpartition("_")
        if kind != TWO_SIZES:
            continue
        size = float(number)
        _, _, low, high = _point(size, value.value, value.low, value.high)
        if low > size / first * IDEAL_MARGIN:
            ends = "" if value.low is None else f" [{low:.3g}, {high:.3g}]"
            speedup = f"{size:g} devices are {value.value:.3g}×{ends} as fast as {first:g}"
            message = f"{speedup}, more than the ideal {size / first:g}×"
            return [Note("faster_than_ideal", message)]
    return []


def _repeat_notes(observations: Observations) -> list[Note]:
    counts = {size: len(values) for size, values in _by_size(observations).items()}
    few = [f"{size:g}" for size, count in counts.items() if count < FEW_REPEATS]
    if not few:
        return []
    message = f"fewer than {FEW_REPEATS} repeats at {observations.over} {', '.join(few)}"
    is_single = [count == 1 for count in counts.values()]
    if all(is_single):
        if len(counts) == 2:
            message += "; with no repeat there is no interval"
    elif any(is_single):
        message += "; a setting that was run once is assumed to vary like the others"
    return [Note("few_repeats", message)]


def _weak_scaling(target: str, over: str) -> list[Note]:
    if target != "step_time_s" or over not in ("devices", "nodes"):
        return []
    message = (
        "with a fixed batch per device, a step on N devices does N times the work; "
        "see time_per_sample_s"
    )
    return [Note("weak_scaling", message)]
