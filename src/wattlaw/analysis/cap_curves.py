"""Runs that differ in their power cap only, as a curve of time, energy and power."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattlaw.analysis.cap_choice import CapOption, weigh_caps
from wattlaw.analysis.groups import Group, grouped
from wattlaw.core.quantities import derive
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.caps import CapLaw, fit_caps
from wattlaw.laws.statistics.checks import LEAST, MOST

Array = NDArray[Any]


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


def cap_curves(
    runs: Iterable[Run], least: int = 3
) -> tuple[list[tuple[Group, CapCurve]], tuple[Note, ...]]:
    """Return the groups with measured energy at so many caps, each with its curve, and notes on the others."""
    groups, notes = grouped(runs, ("power_cap_w",))
    found = []
    for group in groups:
        curve = curve_of(group.runs)
        if curve is not None and len(curve.caps) >= least:
            found.append((group, curve))
    return found, notes


def curve_of(runs: Sequence[Run]) -> CapCurve | None:
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


def grid_of(curve: CapCurve, step_w: float = 5.0) -> list[float]:
    """Return the caps worth weighing: those measured, and every ``step_w`` between them."""
    low, high = float(curve.caps[0]), float(curve.caps[-1])
    between = np.arange(math.ceil(low / step_w) * step_w, high, step_w)
    return sorted({*curve.caps.tolist(), *between.tolist()})


def weighed(
    curve: CapCurve,
    bound: float,
    candidates: Sequence[float] | None = None,
    time_share: float = 0.0,
) -> list[CapOption]:
    """Weigh caps of a curve against its highest one; ``time_share`` is that of time in the cost there."""
    return weigh_caps(
        curve.law(), candidates or grid_of(curve), bound, curve.measured(), time_share
    )


def most_telling(
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
            is_sane = all(LEAST <= value <= MOST for value in (seconds, joules.value))
            return (seconds, joules.value) if is_sane else None
    return None
