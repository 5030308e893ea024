"""The effect of a power cap on device counts other than those at which caps were run.

A cap slows the work of a device and not its waiting (laws/caps.py), and devices that wait for each
other work less. Let w be the share of the time that a device works on N devices, relative to that
on the N₀ devices with caps. At the same batch per device the time per sample and device is
proportional to 1/w, so that w follows from the law over devices. How much of the communication a
cap leaves unchanged is unknown, since collective kernels draw power too. Therefore w enters as w^v,
with v anywhere from 0 (all communication is slowed like work) to 1 (none is). This is an
assumption, because no measurements of it are published.

If the law over devices was fitted to runs without a cap, or at a cap outside those that were
run, it also predicts the setting with caps. The effect of the highest cap is then included, on
other device counts in proportion to their work, since it is unknown at which cap a device
without one runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from wattlaw.analysis.groups import batch_of, rate_of, split_by
from wattlaw.analysis.run_laws import measured_device_power
from wattlaw.core.errors import FitError
from wattlaw.core.run import Run
from wattlaw.laws.averaging import DRAWS
from wattlaw.laws.caps import CapLaw, fit_caps, response, with_work
from wattlaw.laws.statistics.arrays import Array

_MIDDLE = 0.5
"""Midpoint of the range of v."""


class LogDraws(NamedTuple):
    """ln of a quantity or of a ratio: its middle, and equally likely draws (n,)."""

    middle: float
    draws: Array


class CapEffect(NamedTuple):
    """Ratios of the time per sample, and of the power of a device if it is known."""

    time: LogDraws
    power: LogDraws | None


class CapBaseline(NamedTuple):
    """What caps are compared with: the cap of the runs behind the law over devices; None is no cap.

    ``time`` and ``power`` are the time per sample, s, and the power of a device, W, that this law
    predicts for the setting with caps.
    """

    cap_w: float | None
    time: LogDraws
    power: LogDraws | None


class CapLawOnDevices(NamedTuple):
    """The cap law of runs on ``devices`` devices with ``share`` samples per device."""

    law: CapLaw
    devices: int
    share: float
    caps_w: tuple[float, ...]
    runs: tuple[Run, ...]

    def effect(self, cap_w: float, work: LogDraws, base: CapBaseline | None = None) -> CapEffect:
        """Return the effect of a cap on a device that works exp(``work``) times as much.

        It is relative to ``base``, by default the highest cap. Raises FitError for a cap outside
        those that were run.
        """
        law = self.law
        if not law.lowest_w <= cap_w <= law.scale_w:
            known = f"{law.lowest_w:g} to {law.scale_w:g} W"
            raise FitError(f"a cap of {cap_w:g} W is outside the caps that were run, {known}")
        reference_w = law.scale_w
        is_run = base is None
        if base is not None and base.cap_w is not None:
            is_run = law.lowest_w <= base.cap_w <= law.scale_w
            reference_w = base.cap_w if is_run else law.scale_w
        caps = np.array([cap_w, reference_w]) / law.scale_w
        draws = law.posterior.draws[law.posterior.equal_draws(len(work.draws), seed=3)]
        v = np.random.default_rng(3).permutation((np.arange(len(draws)) + 0.5) / len(draws))
        best = law.posterior.best[None, :-1]
        best = with_work(best, np.array([_MIDDLE * work.middle]), law.prior)
        best_time, best_power = response(best, caps, law.prior)
        worked = with_work(draws[:, :-1], v * work.draws, law.prior)
        times, powers = response(worked, caps, law.prior)
        power = _first_over_second(best_power, powers) if law.has_power else None
        found = CapEffect(_first_over_second(best_time, times), power)
        if base is None or is_run:
            return found
        weight = LogDraws(math.exp(_MIDDLE * work.middle), np.exp(v * work.draws))
        highest = self._highest_cap(draws, base)
        time = _add_weighted(found.time, highest.time, weight)
        if not (power and highest.power):
            return CapEffect(time, None)
        return CapEffect(time, _add_weighted(power, highest.power, weight))

    def _highest_cap(self, draws: Array, base: CapBaseline) -> CapEffect:
        """Return the effect of the highest cap on the setting with caps, relative to the base."""
        law = self.law
        best = law.posterior.best
        best_time, best_power = response(best[None, :-1], np.ones(1), law.prior)
        times, powers = response(draws[:, :-1], np.ones(1), law.prior)
        middle = float(best_time[0, 0] + law.centre + best[-1] - base.time.middle)
        time = LogDraws(middle, times[:, 0] + law.centre + draws[:, -1] - base.time.draws)
        if base.power is None:
            return CapEffect(time, None)
        watts = math.log(law.scale_w)
        middle = float(best_power[0, 0] + watts - base.power.middle)
        return CapEffect(time, LogDraws(middle, powers[:, 0] + watts - base.power.draws))


def _first_over_second(middle: Array, draws: Array) -> LogDraws:
    return LogDraws(float(middle[0, 0] - middle[0, 1]), draws[:, 0] - draws[:, 1])


def _add_weighted(effect: LogDraws, highest: LogDraws, weight: LogDraws) -> LogDraws:
    middle = effect.middle + weight.middle * highest.middle
    return LogDraws(middle, effect.draws + weight.draws * highest.draws)


def equal_work(count: int = DRAWS) -> LogDraws:
    """Return the share of work of the setting with caps relative to itself: 1."""
    return LogDraws(0.0, np.zeros(count))


def work_share(at_caps: LogDraws, at_target: LogDraws, devices: int, cap_devices: int) -> LogDraws:
    """Return ln of the share of work on ``devices`` relative to that on ``cap_devices`` devices.

    ``at_caps`` and ``at_target`` are the times per sample on ``cap_devices`` and ``devices``, with
    paired draws.
    """
    if devices == cap_devices:
        return equal_work(len(at_caps.draws))
    shift = math.log(cap_devices / devices)
    return LogDraws(
        at_caps.middle - at_target.middle + shift, at_caps.draws - at_target.draws + shift
    )


def cap_laws_by_devices(runs: Iterable[Run], any_batch: bool = False) -> list[CapLawOnDevices]:
    """Return the cap law of each device count and batch with runs at three or more caps.

    The runs may differ only in devices, batch and cap. With ``any_batch`` runs without a recorded
    batch are included.
    """
    usable = []
    for run in runs:
        has_batch = any_batch or batch_of(run)
        if run.setting.power_cap_w is not None and has_batch and rate_of(run):
            usable.append(run)

    def devices_and_batch(run: Run) -> tuple[int, float]:
        return run.setting.devices, (batch_of(run) or 1.0) / run.setting.devices

    found = []
    for (devices, batch), members in sorted(split_by(usable, devices_and_batch).items()):
        caps = tuple(sorted({run.setting.power_cap_w or 0.0 for run in members}))
        if len(caps) >= 3:
            found.append(CapLawOnDevices(_law(members), devices, batch, caps, tuple(members)))
    return found


def nearest_cap_law(
    found: Sequence[CapLawOnDevices], devices: int, batch_per_device: float
) -> CapLawOnDevices:
    """Return the law of the same batch per device, if any, and of the nearest device count.

    Raises FitError if there is no law.
    """
    if not found:
        raise FitError(
            "a cap law needs runs at three power caps with one device count and one batch"
        )

    def distance(law: CapLawOnDevices) -> tuple[bool, float]:
        is_other_batch = not math.isclose(law.share, batch_per_device)
        return is_other_batch, abs(math.log(devices / law.devices))

    return min(found, key=distance)


def _law(runs: list[Run]) -> CapLaw:
    caps = [run.setting.power_cap_w or 0.0 for run in runs]
    times = [1 / (rate_of(run) or 1.0) for run in runs]
    powers = [power for power in map(measured_device_power, runs) if power is not None]
    return fit_caps(caps, times, powers if len(powers) == len(runs) else None)
