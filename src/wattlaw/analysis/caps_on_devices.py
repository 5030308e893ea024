"""What a power cap does to a setting of more or fewer devices than those on which caps were tried.

A cap slows the work of a device and not its waiting (caps.py), and devices that wait for one another work less. Let
w be the share of the time that a device works on N devices over that on the N₀ where caps were tried. Time per sample
and device goes as 1/w where the batch a device is the same, so the law over devices tells it. How much of what is
lost to communication a cap leaves alone is not known: kernels of a collective draw power too. So w counts as w^v, with
v anywhere from 0 (all of it answers like work) to 1 (none does). This is an assumption of ours, for want of published
measurements.

Where the law over devices is of runs without a cap, or at one that was not among those tried, it also says what the
setting on which caps were tried takes. What the highest cap tried does to that counts too, on other numbers of devices
as far as they work there: nobody knows at which cap a device without one runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from wattlaw.analysis.groups import batch_of, rate_of
from wattlaw.analysis.run_laws import measured_device_power
from wattlaw.core.errors import FitError
from wattlaw.core.run import Run
from wattlaw.laws.averaging import DRAWS
from wattlaw.laws.caps import CapLaw, fit_caps, response, with_work
from wattlaw.laws.statistics.arrays import Array

_MIDDLE = 0.5
"""The middle of v."""


class LogDraws(NamedTuple):
    """ln of a ratio: its middle, and equally likely draws (n,)."""

    middle: float
    draws: Array


class CapEffect(NamedTuple):
    """What a cap does against the highest one: to the time per sample, and to a device's power where it is known."""

    time: LogDraws
    power: LogDraws | None


class CapBaseline(NamedTuple):
    """What caps are set against: the cap of the runs behind the law over devices, None being no cap.

    ``time`` and ``power`` are ln of the time per sample, s, and of a device's power, W, that this law gives where caps
    were tried.
    """

    cap_w: float | None
    time: LogDraws
    power: LogDraws | None


class CapLawOnDevices(NamedTuple):
    """The law of runs on ``devices`` devices, ``share`` samples a device, at three caps or more."""

    law: CapLaw
    devices: int
    share: float
    caps_w: tuple[float, ...]
    runs: tuple[Run, ...]

    def effect(self, cap_w: float, work: LogDraws, base: CapBaseline | None = None) -> CapEffect:
        """Return what a cap does where a device works the share exp(``work``) of the time that it worked here.

        It does so against ``base``, by default the highest cap. Raises FitError for a cap outside those that were run.
        """
        law = self.law
        if not law.lowest_w <= cap_w <= law.scale_w:
            raise FitError(
                f"a cap of {cap_w:g} W is outside the caps that were run, {law.lowest_w:g} to {law.scale_w:g} W"
            )
        at = None if base is None else base.cap_w
        is_tried = base is None or (at is not None and law.lowest_w <= at <= law.scale_w)
        caps = np.array([cap_w, at if at and is_tried else law.scale_w]) / law.scale_w
        rng = np.random.default_rng(3)
        picked = law.posterior.draws[law.posterior.picked(len(work.draws), seed=3)]
        stays = rng.permutation((np.arange(len(picked)) + 0.5) / len(picked))
        best = with_work(
            law.posterior.best[None, :-1], np.array([_MIDDLE * work.middle]), law.prior
        )
        draws = with_work(picked[:, :-1], stays * work.draws, law.prior)
        (middle_t, middle_p), (time, power) = (response(z, caps, law.prior) for z in (best, draws))
        found = CapEffect(
            _against(middle_t, time), _against(middle_p, power) if law.has_power else None
        )
        if base is None or is_tried:
            return found
        works = LogDraws(math.exp(_MIDDLE * work.middle), np.exp(stays * work.draws))
        highest = self._highest(picked, base)
        of_power = (
            _with(found.power, highest.power, works) if found.power and highest.power else None
        )
        return CapEffect(_with(found.time, highest.time, works), of_power)

    def _highest(self, picked: Array, base: CapBaseline) -> CapEffect:
        # what the highest cap tried does to the setting on which caps were tried, against the base
        law = self.law
        (best_t, best_p), (time, power) = (
            response(z[:, :-1], np.ones(1), law.prior) for z in (law.posterior.best[None], picked)
        )
        level = law.centre + law.posterior.best[-1] - base.time.middle
        of_time = LogDraws(
            float(best_t[0, 0] + level), time[:, 0] + law.centre + picked[:, -1] - base.time.draws
        )
        if base.power is None:
            return CapEffect(of_time, None)
        watts = math.log(law.scale_w)
        middle = float(best_p[0, 0] + watts - base.power.middle)
        return CapEffect(of_time, LogDraws(middle, power[:, 0] + watts - base.power.draws))


def _against(middle: Array, draws: Array) -> LogDraws:
    return LogDraws(float(middle[0, 0] - middle[0, 1]), draws[:, 0] - draws[:, 1])


def _with(effect: LogDraws, highest: LogDraws, works: LogDraws) -> LogDraws:
    return LogDraws(
        effect.middle + works.middle * highest.middle, effect.draws + works.draws * highest.draws
    )


def equal_work(count: int = DRAWS) -> LogDraws:
    """Return the share of work of the setting on which caps were tried: the same."""
    return LogDraws(0.0, np.zeros(count))


def work_share(here: LogDraws, there: LogDraws, devices: int, tried_on: int) -> LogDraws:
    """Return ln of the share of work on ``devices`` over that on ``tried_on``, from ln of both times per sample.

    The draws of both are to belong together.
    """
    if devices == tried_on:
        return equal_work(len(here.draws))
    shift = math.log(tried_on / devices)
    return LogDraws(here.middle - there.middle + shift, here.draws - there.draws + shift)


def cap_laws_by_devices(runs: Iterable[Run], any_batch: bool = False) -> list[CapLawOnDevices]:
    """Return the cap law of each number of devices and batch that was run at three caps or more.

    The runs are to differ in devices, batch and cap only. With ``any_batch`` those without a recorded batch count, too.
    """
    found: dict[tuple[int, float], list[Run]] = {}
    for run in runs:
        batch = batch_of(run) or (1.0 if any_batch else None)
        if run.setting.power_cap_w is not None and batch and rate_of(run):
            found.setdefault((run.setting.devices, batch / run.setting.devices), []).append(run)
    made = []
    for (devices, share), members in sorted(found.items()):
        caps = tuple(sorted({r.setting.power_cap_w or 0.0 for r in members}))
        if len(caps) >= 3:
            made.append(CapLawOnDevices(_law(members), devices, share, caps, tuple(members)))
    return made


def nearest_cap_law(
    found: Sequence[CapLawOnDevices], devices: int, share: float
) -> CapLawOnDevices:
    """Return the one of the batch a device asked for, if any, and of the nearest number of devices.

    Raises FitError where there is none at all.
    """
    if not found:
        raise FitError(
            "a cap law needs runs at three power caps of one number of devices and one batch"
        )
    return min(
        found, key=lambda c: (not math.isclose(c.share, share), abs(math.log(devices / c.devices)))
    )


def _law(runs: list[Run]) -> CapLaw:
    powers = [measured_device_power(r) for r in runs]
    watts = None if any(p is None for p in powers) else [p for p in powers if p is not None]
    return fit_caps(
        [r.setting.power_cap_w or 0.0 for r in runs], [1 / (rate_of(r) or 1.0) for r in runs], watts
    )
