"""Curves over the power cap, and how candidate caps compare with the highest."""

from __future__ import annotations

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
from wattlaw.laws.caps import CapLaw, fit_caps, round_caps
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, Array
from wattlaw.laws.statistics.posterior import Noise, weighted_interval

CONFIDENCE = 0.5
"""Minimum probability with which the constraint must hold: more likely than not."""

MIN_PROMISE = 0.002
"""A further run is not recommended if it can save only a smaller share of the cost."""

_SAME = Interval(1.0, 1.0, 1.0)


class CapOption(NamedTuple):
    """The expected effect of one cap, compared with the reference cap.

    cost          ratio of what is minimised: the energy, unless time has a price too
    energy        ratio of energies
    slowdown      ratio of times, minus 1
    probability   that the constraint on the slowdown holds
    is_measured   whether the cap was run
    """

    cap_w: float
    cost: Interval
    energy: Interval
    slowdown: Interval
    probability: float
    is_measured: bool


class CapCurve(NamedTuple):
    """Caps, W, ascending, with geometric means over ``repeats`` runs of the same work at each.

    The work is a sample if rates were recorded, else the window. Energies are those of all
    devices.
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
        energies = (self.energies / self.devices).tolist()
        pairs = zip(self.times.tolist(), energies, strict=True)
        return dict(zip(self.caps.tolist(), pairs, strict=True))


def find_cap_curves(
    runs: Iterable[Run], least: int = 3
) -> tuple[list[tuple[Group, CapCurve]], tuple[Note, ...]]:
    """Return the curves of groups with measured energy at ``least`` caps, and notes."""
    groups, notes = group_runs(runs, ("power_cap_w",))
    found = []
    for group in groups:
        curve = cap_curve(group.runs)
        if curve is not None and len(curve.caps) >= least:
            found.append((group, curve))
    return found, notes


def cap_curve(runs: Sequence[Run]) -> CapCurve | None:
    """Return the curve of runs that differ only in the cap.

    None if no run has both a cap and a measured energy.
    """
    by_cap: dict[float, list[tuple[float, float]]] = {}
    for run in runs:
        point = _time_and_energy(run)
        if point and run.setting.power_cap_w:
            by_cap.setdefault(run.setting.power_cap_w, []).append(point)
    if not by_cap:
        return None
    caps = sorted(by_cap)
    times, energies = np.array([np.exp(np.log(by_cap[cap]).mean(axis=0)) for cap in caps]).T
    repeats = np.array([len(by_cap[cap]) for cap in caps])
    devices = runs[0].setting.devices
    return CapCurve(np.array(caps), times, energies, devices, repeats, list(runs))


def candidate_caps(curve: CapCurve) -> list[float]:
    """Return the caps to evaluate, W: those measured, and the multiples of 5 W between them."""
    return round_caps(curve.caps)


def evaluate_curve(
    curve: CapCurve,
    max_slowdown: float,
    candidates: Sequence[float] | None = None,
    time_share: float = 0.0,
) -> list[CapOption]:
    """Compare caps of a curve with its highest one; see ``evaluate_caps``."""
    chosen = candidates or candidate_caps(curve)
    return evaluate_caps(curve.law(), chosen, max_slowdown, curve.measured(), time_share)


def evaluate_caps(
    law: CapLaw,
    candidates_w: Sequence[float],
    max_slowdown: float,
    measured: Mapping[float, tuple[float, float]],
    time_share: float = 0.0,
) -> list[CapOption]:
    """Compare each candidate cap with the highest measured one.

    ``measured`` maps a cap to its measured (time, energy). Measured caps use their measurements,
    other caps the law. Both are compared with the measurement at the highest cap, not with the law
    there, because that predicted constraints on published curves better. The probability that the
    constraint holds includes the noise of a measurement.
    ``time_share`` is the share of time in the cost at the highest cap; the rest is the share of
    energy (0: minimise energy, 1: minimise time). Raises FitError if nothing was measured or the
    law was fitted without power.
    """
    if not measured:
        raise FitError("no measured cap to compare with")
    reference = max(measured)
    found = []
    for cap in candidates_w:
        if cap == reference:
            no_slowdown = Interval(0.0, 0.0, 0.0)
            found.append(CapOption(cap, _SAME, _SAME, no_slowdown, 1.0, True))
            continue
        effect = _effect(law, cap, measured, reference)
        found.append(_option(cap, effect, max_slowdown, time_share, cap in measured))
    return found


def choose_cap(options: Sequence[CapOption], confidence: float = CONFIDENCE) -> CapOption:
    """Return the cheapest option that satisfies the constraint with this confidence.

    If none satisfies it, return the highest cap.
    """
    if not options:
        raise FitError("no cap to choose from")
    allowed = [option for option in options if option.probability >= confidence]
    if not allowed:
        return max(options, key=lambda option: option.cap_w)
    return min(allowed, key=lambda option: option.cost.value)


def most_informative_cap(
    options: Sequence[CapOption], chosen: CapOption, least_promise: float = MIN_PROMISE
) -> CapOption | None:
    """Return the unmeasured cap whose run would be most informative.

    It has the largest product of possible saving and uncertainty of the constraint. None if no cap
    can save more than ``least_promise`` of the cost.
    """

    def promise(option: CapOption) -> float:
        low = option.cost.value if option.cost.low is None else option.cost.low
        doubt = 2 * min(option.probability, 1 - option.probability)
        return max(chosen.cost.value - low, 0.0) * doubt

    unmeasured = [option for option in options if not option.is_measured]
    best = max(unmeasured, key=promise, default=None)
    return best if best is not None and promise(best) > least_promise else None


class _LogEffect(NamedTuple):
    # ln of time and energy relative to the reference: middle, weighted draws, and noise
    time: float
    energy: float
    times: Array
    energies: Array
    weights: Array
    noise: tuple[Noise, ...]


def _effect(
    law: CapLaw, cap: float, measured: Mapping[float, tuple[float, float]], reference: float
) -> _LogEffect:
    noise, weights = law.posterior.noise, law.posterior.weights
    reference_time, reference_energy = np.log(measured[reference])
    if cap in measured:
        means = [Noise(np.array([float(weights @ n.scale)]), n.df) for n in noise]
        time = float(np.log(measured[cap][0] / measured[reference][0]))
        energy = float(np.log(measured[cap][1] / measured[reference][1]))
        one = np.ones(1)
        return _LogEffect(time, energy, one * time, one * energy, one, tuple(means))
    (time,), times = law.log_time([cap])
    (energy,), energies = law.log_energy([cap])
    return _LogEffect(
        float(time - reference_time),
        float(energy - reference_energy),
        times[:, 0] - reference_time,
        energies[:, 0] - reference_energy,
        weights,
        noise,
    )


def _option(
    cap: float, effect: _LogEffect, max_slowdown: float, time_share: float, is_measured: bool
) -> CapOption:
    time_noise, weights = effect.noise[:1], effect.weights
    margin = (np.log1p(max_slowdown) - effect.times) / time_noise[0].scale
    probability = float(weights @ special.stdtr(time_noise[0].df, margin))
    ratio = weighted_interval(effect.times, weights, float(np.exp(effect.time)), time_noise)
    slowdown = Interval(ratio.value - 1, (ratio.low or 0) - 1, (ratio.high or 0) - 1)
    energy = weighted_interval(effect.energies, weights, float(np.exp(effect.energy)), effect.noise)
    costs = time_share * np.exp(effect.times) + (1 - time_share) * np.exp(effect.energies)
    middle = time_share * np.exp(effect.time) + (1 - time_share) * np.exp(effect.energy)
    cost_noise = effect.noise if time_share < 1 else time_noise
    cost = weighted_interval(np.log(costs), weights, float(middle), cost_noise)
    return CapOption(cap, cost, energy, slowdown, probability, is_measured)


_WORK = (("time_per_sample_s", "gpu_energy_per_sample_j"), ("elapsed_s", "gpu_energy_j"))
"""Time and energy of the same work, preferred first."""


def _time_and_energy(run: Run) -> tuple[float, float] | None:
    for time, energy in _WORK:
        seconds, joules = derive(run, time).value, derive(run, energy)
        if seconds and joules.value and joules.status == "measured":
            low, high = sorted((seconds, joules.value))
            return (seconds, joules.value) if low >= SMALLEST and high <= LARGEST else None
    return None
