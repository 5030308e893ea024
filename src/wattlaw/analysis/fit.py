"""Fits a law to each group of runs: a speedup from two sizes, from three a law chosen by its held-out error."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wattlaw.analysis.cap_curves import CapCurve, candidate_caps, cap_curve
from wattlaw.analysis.groups import (
    Group,
    Measurements,
    check_factor,
    group_runs,
    group_title,
    is_energy,
    measurements,
    summarise_faults,
    varied_numbers,
)
from wattlaw.analysis.run_laws import fit_scaling_to_runs
from wattlaw.core.errors import FitError, UnknownNameError
from wattlaw.core.findings import Fit, Interval
from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws import usl
from wattlaw.laws.power import fit_power, held_out_error
from wattlaw.laws.priors import shipped_prior
from wattlaw.laws.scaling import Points, fit_scaling
from wattlaw.laws.statistics.arrays import Array
from wattlaw.laws.statistics.ratios import interval, log_ratio, pooled_noise

LAWS = ("auto", "speedup", "power", "amdahl", "usl", "alpha-beta", "cap")

SIMPLER_BY = 0.9
"""A law with more parameters is chosen only where its held-out error is below this share of a simpler one's."""

_CAP_TARGETS = ("time_per_sample_s", "elapsed_s", "gpu_energy_per_sample_j", "gpu_energy_j")

_TIMES = ("time_per_sample_s", "device_time_per_sample_s", "step_time_s", "elapsed_s")

FEW_REPEATS = 3
"""Below so many repeats of a setting an interval is wide, and a warning says so."""


def fit(
    runs: Iterable[Run], target: str = "time_per_sample_s", over: str = "devices", law: str = "auto"
) -> list[Fit]:
    """Fit one law to each group of runs that differ only in ``over``.

    ``law`` is "speedup" (any number of sizes, each against the smallest); from three sizes "power", and for
    the time per sample over devices "amdahl", "usl" and "alpha-beta" (devices, nodes and batch at once); or
    "auto": a speedup from two sizes, and from three the law whose held-out error is least. With the batch per
    device fixed, N devices do N times the work in a step, so a speedup compares time per sample even where
    ``target`` is the time of a step.
    Raises FitError where no group can be fitted, UnknownNameError for an unknown law or quantity.
    """
    return fit_groups(runs, target, over, law)[0]


def fit_groups(
    runs: Iterable[Run], target: str = "time_per_sample_s", over: str = "devices", law: str = "auto"
) -> tuple[list[Fit], tuple[Note, ...]]:
    """Fit as ``fit`` does; return the fits, and notes: what was left out, and what no law could be fitted to."""
    quantity(target)
    if law not in LAWS:
        raise UnknownNameError("law", law, LAWS)
    runs = list(runs)
    if runs:
        check_factor(runs, over)
    if law == "alpha-beta":
        groups, notes = group_runs(runs, ("devices", "batch_per_device"), split_layouts=False)
    else:
        groups, notes = group_runs(runs, (over,))
    fits: list[Fit] = []
    faults: list[tuple[str, str]] = []
    for group in groups:
        try:
            fits.append(_fit_group(group, target, over, law))
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not fits:
        said = [*(n.message for n in notes), *([summarise_faults(faults)] if faults else [])]
        raise FitError(
            ("; ".join(dict.fromkeys(said)) or "there is no run to fit") + _other(runs, over)
        )
    return fits, (*notes, *([Note("no_law", summarise_faults(faults))] if faults else []))


def _other(runs: list[Run], over: str) -> str:
    """Say which other number these runs differ in, as ``over`` may be forgotten."""
    varied = varied_numbers(runs)
    if over in varied or not varied:
        return ""
    return (
        f"; what varies here is {' and '.join(varied)}: fit over that (--over {next(iter(varied))})"
    )


def _fit_group(group: Group, target: str, over: str, law: str) -> Fit:
    data = measurements(group.runs, target, over)
    if is_energy(target) and data.status == "estimated":
        raise FitError(f"{target} is an estimate here; a law of it would only repeat the time")
    sizes = len(set(data.x))
    if sizes < 2:
        left_out = "".join(f"; {n.message}" for n in data.notes if n.name == "runs_left_out")
        few = f"one value of {over} ({data.x[0]:g}); run at least two for a speedup, three for an exponent"
        raise FitError(few + left_out)
    if law == "speedup" or (law == "auto" and sizes == 2):
        return _speedup(group, data, target, over)
    if law == "auto":
        return _best(group, data, target, over)
    if law == "alpha-beta":
        return fit_alpha_beta(group, data)
    if law == "cap":
        return _cap(group, data, target, over)
    return _curve(group, data, target, over, law)


def _best(group: Group, data: Measurements, target: str, over: str) -> Fit:
    if over == "power_cap_w" and target in _CAP_TARGETS:
        return _cap(group, data, target, over)
    # in order of parameters: a richer law must earn its place on sizes that it has not seen
    chosen, least = "power", held_out_error(data.x, data.y)
    if target == "time_per_sample_s" and over == "devices":
        for form in ("amdahl", "usl"):
            error = usl.held_out_error(data.x, data.y, _form(form))
            if error < SIMPLER_BY * least:
                chosen, least = form, error
    return _curve(group, data, target, over, chosen)


def _cap(group: Group, data: Measurements, target: str, over: str) -> Fit:
    if over != "power_cap_w" or target not in _CAP_TARGETS:
        raise FitError(
            f"the cap law explains {', '.join(_CAP_TARGETS)} over power_cap_w, not {target} over {over}"
        )
    curve = cap_curve(group.runs)
    if curve is None or len(curve.caps) < 3:
        raise FitError("a cap law needs a measured GPU energy at three power caps")
    law = curve.law()
    # energies of all devices, where the law speaks of one
    scale = curve.devices if is_energy(target) else 1
    grid = candidate_caps(curve)
    found = zip(grid, law.band(grid, energy=is_energy(target)), strict=True)
    rows = [
        (w, scale * t.value, scale * (t.low or t.value), scale * (t.high or t.value))
        for w, t in found
    ]
    return Fit(
        group=group.key,
        target=target,
        over=over,
        law="cap",
        parameters=law.parameters(),
        points=_points(data),
        curve=tuple(rows),
        n=len(data.x),
        sizes=len(curve.caps),
        held_out_error=_cap_held_out(curve, is_energy(target)),
        status=data.status,
        warnings=(*data.notes, *_repeat_notes(data, over)),
    )


def _cap_held_out(curve: CapCurve, energy: bool) -> float | None:
    # each cap between the ends, predicted from the others
    errors = []
    for hidden in range(1, len(curve.caps) - 1) if len(curve.caps) > 3 else ():
        law = curve.at([i for i in range(len(curve.caps)) if i != hidden]).law()
        predict, truth = (law.log_energy, curve.energies) if energy else (law.log_time, curve.times)
        expected = float(np.exp(predict([curve.caps[hidden]])[0][0])) * (
            curve.devices if energy else 1
        )
        errors.append(abs(expected / float(truth[hidden]) - 1))
    return float(np.median(errors)) if errors else None


def _curve(group: Group, data: Measurements, target: str, over: str, law: str) -> Fit:
    if law == "power":
        return _power(group, data, target, over)
    if target != "time_per_sample_s" or over != "devices":
        raise FitError(
            f"{law} explains time_per_sample_s over devices, not {target} over {over}; use power"
        )
    found = usl.fit_usl(data.x, data.y, _form(law))
    grid = np.geomspace(min(data.x), max(data.x), 50)
    return Fit(
        group=group.key,
        target=target,
        over=over,
        law=law,
        parameters=found.parameters(),
        points=_points(data),
        curve=_rows(grid, found.band(grid)),
        n=len(data.x),
        sizes=len(set(data.x)),
        held_out_error=usl.held_out_error(data.x, data.y, _form(law)),
        status=data.status,
        warnings=(*data.notes, *_repeat_notes(data, over)),
    )


def _form(law: str) -> usl.Form:
    return "amdahl" if law == "amdahl" else "usl"


def _power(group: Group, data: Measurements, target: str, over: str) -> Fit:
    line = fit_power(data.x, data.y)
    grid = np.geomspace(min(data.x), max(data.x), 50)
    return Fit(
        group=group.key,
        target=target,
        over=over,
        law="power",
        parameters=_named(line.parameters(), target),
        points=_points(data),
        curve=_rows(grid, line.band(grid)),
        n=len(data.x),
        sizes=len(set(data.x)),
        held_out_error=held_out_error(data.x, data.y),
        status=data.status,
        warnings=(*data.notes, *_repeat_notes(data, over), *_weak_scaling(target, over)),
    )


def _named(parameters: dict[str, Interval], target: str) -> dict[str, Interval]:
    # of an energy people ask by what power it grows: E ∝ x^elasticity
    beta = parameters["beta"]
    if not is_energy(target) or beta.low is None or beta.high is None:
        return parameters
    return {**parameters, "elasticity": Interval(-beta.value, -beta.high, -beta.low)}


def _speedup(group: Group, data: Measurements, target: str, over: str) -> Fit:
    # a step of N devices does N times the work, so times are compared per sample
    compared = (
        measurements(group.runs, "time_per_sample_s", over) if target == "step_time_s" else data
    )
    by_size = _by_size(compared)
    first = min(by_size)
    noise = pooled_noise(list(by_size.values()))
    parameters = {}
    for size in sorted(by_size)[1:]:
        of_first = interval(log_ratio(by_size[first], by_size[size], noise))
        of_size = interval(log_ratio(by_size[size], by_size[first], noise))
        is_time = target in _TIMES and target != "device_time_per_sample_s"
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
        warnings=(*data.notes, *_repeat_notes(compared, over), *_too_good(parameters, first, over)),
    )


MARGIN = 1.02
"""What a speed-up may lie above the ideal before it is called too good to be true."""


def _too_good(parameters: dict[str, Interval], first: float, over: str) -> list[Note]:
    """Return a warning for the first speed-up over devices whose low end lies above the ideal."""
    for name, value in parameters.items() if over == "devices" else ():
        size = float(name.partition("_")[2])
        least = value.value if value.low is None else value.low
        if name.startswith("speedup_") and least > size / first * MARGIN:
            ends = (
                ""
                if value.low is None or value.high is None
                else f" [{value.low:.3g}, {value.high:.3g}]"
            )
            told = f"{size:g} devices are {value.value:.3g}×{ends} as fast as {first:g}"
            return [Note("faster_than_ideal", f"{told}, more than the ideal {size / first:g}×")]
    return []


def _by_size(data: Measurements) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for x, y in zip(data.x, data.y, strict=True):
        found.setdefault(x, []).append(y)
    return found


def _points(data: Measurements) -> tuple[tuple[float, float, float, float], ...]:
    rows = ((x, float(np.median(ys)), min(ys), max(ys)) for x, ys in sorted(_by_size(data).items()))
    return tuple(rows)


def _rows(grid: Array, band: Array) -> tuple[tuple[float, float, float, float], ...]:
    return tuple(zip(*(v.tolist() for v in (grid, *band)), strict=True))


def _repeat_notes(data: Measurements, over: str) -> tuple[Note, ...]:
    by_size = _by_size(data)
    few = [f"{x:g}" for x, ys in sorted(by_size.items()) if len(ys) < FEW_REPEATS]
    if not few:
        return ()
    where = f"fewer than {FEW_REPEATS} repeats at {over} {', '.join(few)}"
    if all(len(ys) == 1 for ys in by_size.values()):
        without = "; with no repeat there is no interval" if len(by_size) == 2 else ""
        return (Note("few_repeats", where + without),)
    if any(len(ys) == 1 for ys in by_size.values()):
        where += "; what was run once is taken to scatter like the rest"
    return (Note("few_repeats", where),)


def _weak_scaling(target: str, over: str) -> tuple[Note, ...]:
    if target != "step_time_s" or over not in ("devices", "nodes"):
        return ()
    message = "with the batch per device fixed a step of N devices does N times the work; see time_per_sample_s"
    return (Note("weak_scaling", message),)


def fit_alpha_beta(group: Group, data: Measurements) -> Fit:
    """Return the law of a group, drawn for its own settings from the fewest devices to the most."""
    law, points, rates = fit_scaling_to_runs(group.runs)
    order = np.lexsort((points.batches, points.devices))
    ordered = Points(*(values[order] for values in points))
    curve = [
        (float(n), 1 / rate.value, 1 / (rate.high or rate.value), 1 / (rate.low or rate.value))
        for n, rate in zip(ordered.devices, law.rate(ordered, of_a_run=False), strict=True)
    ]
    notes = (
        Note(
            "prior",
            "times of communication start from what published MLPerf runs teach; see laws/pooling.py",
        ),
    )
    return Fit(
        group=group.key,
        target="time_per_sample_s",
        over="devices",
        law="alpha-beta",
        parameters=law.parameters(),
        points=tuple(
            (float(n), 1 / r, 1 / r, 1 / r) for n, r in zip(points.devices, rates, strict=True)
        ),
        curve=tuple(dict.fromkeys(curve)),
        n=len(rates),
        sizes=len(set(points.devices.tolist())),
        held_out_error=_alpha_beta_held_out(points, rates, group.runs[0].setting.workload),
        status=data.status,
        warnings=(*data.notes, *notes),
    )


def _alpha_beta_held_out(points: Points, rates: list[float], task: str) -> float | None:
    sizes = sorted(set(points.devices.tolist()))
    errors = []
    for size in sizes if len(sizes) > 2 else []:
        keep = points.devices != size
        law = fit_scaling(
            Points(*(v[keep] for v in points)), np.array(rates)[keep], shipped_prior(task)
        )
        middle, _ = law.log_rate(Points(*(v[~keep] for v in points)))
        errors.append(float(np.abs(np.expm1(middle - np.log(np.array(rates)[~keep]))).mean()))
    return float(np.median(errors)) if errors else None
