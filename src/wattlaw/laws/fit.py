"""Fits a law to each group of runs: a speedup from two sizes, a power law from three or more."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wattlaw.core.errors import FitError, UnknownNameError
from wattlaw.core.findings import Fit, Interval
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.units import quantity
from wattlaw.laws.groups import Group, Sample, check_factor, grouped, is_energy, sample, title
from wattlaw.laws.power import fit_power, held_out_error
from wattlaw.laws.ratios import interval, log_ratio, pooled_noise

LAWS = ("auto", "speedup", "power")

FEW_REPEATS = 3
"""Below so many repeats of a setting an interval is wide, and a warning says so."""


def fit(runs: Iterable[Run], target: str = "time_per_sample_s", over: str = "devices", law: str = "auto") -> list[Fit]:
    """Fit one law to each group of runs that differ only in ``over``.

    ``law`` is "speedup" (any number of sizes, each against the smallest), "power" (three or more) or
    "auto". With the batch per device fixed, N devices do N times the work in a step, so a speedup
    compares time per sample even where ``target`` is the time of a step.
    Raises FitError where no group can be fitted, UnknownNameError for an unknown law or quantity.
    """
    return fit_groups(runs, target, over, law)[0]


def fit_groups(
    runs: Iterable[Run], target: str = "time_per_sample_s", over: str = "devices", law: str = "auto"
) -> tuple[list[Fit], tuple[Note, ...]]:
    """Fit as ``fit`` does; return the fits, and a note for each group that no law could be fitted to."""
    quantity(target)
    if law not in LAWS:
        raise UnknownNameError("law", law, LAWS)
    runs = list(runs)
    if runs:
        check_factor(runs, over)
    groups, notes = grouped(runs, (over,))
    fits: list[Fit] = []
    for group in groups:
        try:
            fits.append(_fit_group(group, target, over, law))
        except FitError as error:
            notes = (*notes, Note("no law", f"{title(group.key)}: {error}"))
    if not fits:
        raise FitError("; ".join(dict.fromkeys(n.message for n in notes)) or "there is no run to fit")
    return fits, notes


def _fit_group(group: Group, target: str, over: str, law: str) -> Fit:
    data = sample(group.runs, target, over)
    if is_energy(target) and data.status == "estimated":
        raise FitError(f"{target} is an estimate here; a law of it would only repeat the time")
    sizes = len(set(data.x))
    if sizes < 2:
        raise FitError(f"one value of {over} ({data.x[0]:g}); run at least two for a speedup, three for an exponent")
    chosen = ("power" if sizes >= 3 else "speedup") if law == "auto" else law
    if chosen == "speedup":
        return _speedup(group, data, target, over)
    return _power(group, data, target, over)


def _power(group: Group, data: Sample, target: str, over: str) -> Fit:
    line = fit_power(data.x, data.y)
    grid = np.geomspace(min(data.x), max(data.x), 50)
    return Fit(
        group=group.key,
        target=target,
        over=over,
        law="power",
        parameters=line.parameters(),
        points=_points(data),
        curve=tuple(_row(x, line.interval(x)) for x in grid.tolist()),
        n=len(data.x),
        sizes=len(set(data.x)),
        held_out_error=held_out_error(data.x, data.y),
        status=data.status,
        warnings=(*data.notes, *_repeat_notes(data, over), *_weak_scaling(target, over)),
    )


def _speedup(group: Group, data: Sample, target: str, over: str) -> Fit:
    # a step of N devices does N times the work, so times are compared per sample
    compared = sample(group.runs, "time_per_sample_s", over) if target == "step_time_s" else data
    by_size = _by_size(compared)
    first = min(by_size)
    noise = pooled_noise(list(by_size.values()))
    parameters = {}
    for size in sorted(by_size)[1:]:
        of_first = interval(log_ratio(by_size[first], by_size[size], noise))
        of_size = interval(log_ratio(by_size[size], by_size[first], noise))
        is_time = target in ("step_time_s", "time_per_sample_s", "elapsed_s")
        word, value = ("speedup", of_first) if is_time else ("ratio", of_size)
        parameters[f"{word}_{size:g}"] = value
    return Fit(
        group=group.key,
        target=target,
        over=over,
        law="speedup",
        parameters=parameters,
        points=_points(data),
        n=len(data.x),
        sizes=len(by_size),
        status=data.status,
        warnings=(*data.notes, *_repeat_notes(compared, over)),
    )


def _by_size(data: Sample) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for x, y in zip(data.x, data.y, strict=True):
        found.setdefault(x, []).append(y)
    return found


def _points(data: Sample) -> tuple[tuple[float, float, float, float], ...]:
    rows = ((x, float(np.median(ys)), min(ys), max(ys)) for x, ys in sorted(_by_size(data).items()))
    return tuple(rows)


def _row(x: float, t: Interval) -> tuple[float, float, float, float]:
    return x, t.value, t.low if t.low is not None else t.value, t.high if t.high is not None else t.value


def _repeat_notes(data: Sample, over: str) -> tuple[Note, ...]:
    by_size = _by_size(data)
    few = [f"{x:g}" for x, ys in sorted(by_size.items()) if len(ys) < FEW_REPEATS]
    if not few:
        return ()
    where = f"fewer than {FEW_REPEATS} repeats at {over} {', '.join(few)}"
    if all(len(ys) == 1 for ys in by_size.values()):
        without = "; with no repeat there is no interval" if len(by_size) == 2 else ""
        return (Note("too few repeats", where + without),)
    if any(len(ys) == 1 for ys in by_size.values()):
        where += "; what was run once is taken to scatter like the rest"
    return (Note("few repeats", where),)


def _weak_scaling(target: str, over: str) -> tuple[Note, ...]:
    if target != "step_time_s" or over not in ("devices", "nodes"):
        return ()
    message = "with the batch per device fixed a step of N devices does N times the work; see time_per_sample_s"
    return (Note("weak scaling", message),)
