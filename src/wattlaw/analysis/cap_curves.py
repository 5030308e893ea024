"""Runs that differ in their power cap only, as a curve of time, energy and power."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from wattlaw.analysis.groups import Group, group_runs
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.caps import CapLaw, fit_caps
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, Array
from wattlaw.laws.statistics.posterior import Noise, weighted_interval

CONFIDENCE = 0.5
"""Least probability with which the bound must hold: more likely kept than not."""


class CapOption(NamedTuple):
    """What one cap is expected to do, against the reference cap: ``energy`` and ``cost`` as ratios, a slowdown's share.

    ``cost`` is what is to be small; it is the energy unless time has a price too.
    """

    cap_w: float
    cost: Interval
    energy: Interval
    slowdown: Interval
    probability: float
    is_measured: bool


def evaluate_caps(
    law: CapLaw,
    candidates_w: Sequence[float],
    max_slowdown: float,
    measured: Mapping[float, tuple[float, float]],
    time_share: float = 0.0,
) -> list[CapOption]:
    """Weigh each candidate cap against the highest measured one.

    ``measured`` maps a cap to its measured (time, energy). A measured cap stands at its measurement, any other at
    the law, and both are compared with what was measured at the highest cap: against the law's own value there,
    bounds on published curves of either device are forecast worse. The probability that the bound holds allows
    for the noise of a measurement. ``time_share`` is the share of time in the cost at the highest cap; the rest is
    energy's (0: the energy is to be small, 1: the time).
    Raises FitError where nothing was measured or the law knows no energy.
    """
    if not measured:
        raise FitError("no measured cap to compare with")
    reference = max(measured)
    return [_weigh(law, cap, max_slowdown, measured, reference, time_share) for cap in candidates_w]


def choose_cap(options: Sequence[CapOption], confidence: float = CONFIDENCE) -> CapOption:
    """Return the option of least cost among those that keep the bound with the confidence asked for."""
    if not options:
        raise FitError("no cap to choose from")
    allowed = [o for o in options if o.probability >= confidence]
    return min(allowed or [max(options, key=lambda o: o.cap_w)], key=lambda o: o.cost.value)


def _weigh(
    law: CapLaw,
    cap: float,
    bound: float,
    measured: Mapping[float, tuple[float, float]],
    reference: float,
    time_share: float,
) -> CapOption:
    if cap == reference:
        return CapOption(
            cap,
            Interval(1.0, 1.0, 1.0),
            Interval(1.0, 1.0, 1.0),
            Interval(0.0, 0.0, 0.0),
            1.0,
            True,
        )
    noise, weights = law.posterior.noise, law.posterior.weights
    if cap in measured:
        noise = tuple(Noise(np.array([float(weights @ n.scale)]), n.df) for n in noise)
        slower = np.array([np.log(measured[cap][0] / measured[reference][0])])
        dearer = np.array([np.log(measured[cap][1] / measured[reference][1])])
        slowdown, saving, weights = float(slower[0]), float(dearer[0]), np.ones(1)
    else:
        (time,), slower = law.log_time([cap])
        (energy,), dearer = law.log_energy([cap])
        at_time, at_energy = np.log(measured[reference])
        slowdown, slower = float(time - at_time), slower[:, 0] - at_time
        saving, dearer = float(energy - at_energy), dearer[:, 0] - at_energy
    margin = (np.log1p(bound) - slower) / noise[0].scale
    probability = float(weights @ special.stdtr(noise[0].df, margin))
    ratio = weighted_interval(slower, weights, float(np.exp(slowdown)), noise[:1])
    cost = np.log(time_share * np.exp(slower) + (1 - time_share) * np.exp(dearer))
    middle = time_share * np.exp(slowdown) + (1 - time_share) * np.exp(saving)
    return CapOption(
        cap,
        weighted_interval(cost, weights, float(middle), noise if time_share < 1 else noise[:1]),
        weighted_interval(dearer, weights, float(np.exp(saving)), noise),
        Interval(ratio.value - 1, (ratio.low or 0) - 1, (ratio.high or 0) - 1),
        probability,
        cap in measured,
    )


class CapCurve(NamedTuple):
    """Caps, W, ascending; times and energies of the same work at each, geometric means over ``repeats`` runs.

    The work is a sample where rates were recorded, else the window. Energies are those of all devices.
    """

    caps: Array
    times: Array
    energies: Array
    devices: int
    repeats: Array
    runs: list[Run]

    @property
    def powers(self) -> Array:
        """Mean power of one device, W."""
        found: Array = self.energies / self.times / self.devices
        return found

    def at(self, indices: Sequence[int]) -> CapCurve:
        """Return the curve at some of its caps."""
        keep = list(indices)
        return self._replace(
            caps=self.caps[keep],
            times=self.times[keep],
            energies=self.energies[keep],
            repeats=self.repeats[keep],
        )

    def law(self) -> CapLaw:
        """Return the law fitted to the curve. Raises FitError for fewer than three caps."""
        return fit_caps(self.caps, self.times, self.powers)

    def measured(self) -> dict[float, tuple[float, float]]:
        """Return (time, energy of one device) by cap."""
        rows = zip(
            self.caps.tolist(),
            self.times.tolist(),
            (self.energies / self.devices).tolist(),
            strict=True,
        )
        return {cap: (time, energy) for cap, time, energy in rows}


def find_cap_curves(
    runs: Iterable[Run], least: int = 3
) -> tuple[list[tuple[Group, CapCurve]], tuple[Note, ...]]:
    """Return the groups with measured energy at so many caps, each with its curve, and notes on the others."""
    groups, notes = group_runs(runs, ("power_cap_w",))
    found = []
    for group in groups:
        curve = cap_curve(group.runs)
        if curve is not None and len(curve.caps) >= least:
            found.append((group, curve))
    return found, notes


def cap_curve(runs: Sequence[Run]) -> CapCurve | None:
    """Return the curve of runs alike but for the cap; None where none has a cap and a measured energy."""
    by_cap: dict[float, list[tuple[float, float]]] = {}
    for run in runs:
        point = _point(run)
        if point and run.setting.power_cap_w:
            by_cap.setdefault(run.setting.power_cap_w, []).append(point)
    if not by_cap:
        return None
    caps = sorted(by_cap)
    means = np.array([np.exp(np.log(by_cap[c]).mean(axis=0)) for c in caps])
    repeats = np.array([len(by_cap[c]) for c in caps])
    return CapCurve(
        np.array(caps), means[:, 0], means[:, 1], runs[0].setting.devices, repeats, list(runs)
    )


def candidate_caps(curve: CapCurve, step_w: float = 5.0) -> list[float]:
    """Return the caps worth weighing: those measured, and every ``step_w`` between them."""
    low, high = float(curve.caps[0]), float(curve.caps[-1])
    between = np.arange(math.ceil(low / step_w) * step_w, high, step_w)
    return sorted({*curve.caps.tolist(), *between.tolist()})


def evaluate_curve(
    curve: CapCurve,
    bound: float,
    candidates: Sequence[float] | None = None,
    time_share: float = 0.0,
) -> list[CapOption]:
    """Weigh caps of a curve against its highest one; ``time_share`` is that of time in the cost there."""
    return evaluate_caps(
        curve.law(), candidates or candidate_caps(curve), bound, curve.measured(), time_share
    )


def most_informative_cap(
    options: Sequence[CapOption], chosen: CapOption, worth: float = 0.002
) -> CapOption | None:
    """Return the unmeasured cap whose run would tell most: what it may still save times the doubt about it.

    None where no cap promises more than ``worth`` of the cost, so that nothing is worth running.
    """

    def promise(option: CapOption) -> float:
        low = option.cost.value if option.cost.low is None else option.cost.low
        return (
            max(chosen.cost.value - low, 0.0) * min(option.probability, 1 - option.probability) * 2
        )

    open_ones = [o for o in options if not o.is_measured]
    best = max(open_ones, key=promise, default=None)
    return best if best is not None and promise(best) > worth else None


def _point(run: Run) -> tuple[float, float] | None:
    for time, energy in (
        ("time_per_sample_s", "gpu_energy_per_sample_j"),
        ("elapsed_s", "gpu_energy_j"),
    ):
        seconds, joules = derive(run, time).value, derive(run, energy)
        if seconds and joules.value and joules.status == "measured":
            is_sane = all(SMALLEST <= value <= LARGEST for value in (seconds, joules.value))
            return (seconds, joules.value) if is_sane else None
    return None
