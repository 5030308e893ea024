"""Candidate power caps on any number of devices, from caps that were run on some numbers.

The cap laws come from analysis/caps_on_devices.py; device_counts.py chooses among the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from wattlaw.advice.candidates import Candidate
from wattlaw.analysis.caps_on_devices import (
    CapBaseline,
    CapEffect,
    CapLawOnDevices,
    LogDraws,
    equal_work,
    nearest_cap_law,
    work_share,
)
from wattlaw.analysis.groups import batch_per_device_of, count_device_numbers
from wattlaw.analysis.run_laws import fit_device_power, fit_scaling_to_runs
from wattlaw.core.run import Run
from wattlaw.laws.averaging import DRAWS, forecast
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.arrays import Array

STEPS = 6
"""Number of round caps considered between the lowest and the highest cap that were run."""

ROUND_W = 5.0
"""Round caps are multiples of this."""


def cap_candidates(
    base: Sequence[Run],
    laws: Sequence[CapLawOnDevices],
    candidates: Sequence[Candidate],
    known: Sequence[Candidate],
    prior: Array | None = None,
) -> list[Candidate]:
    """Return each of ``candidates`` at other power caps, except for settings that are ``known``.

    base        runs that the law over devices is fitted to: those without a cap, or else at the
                highest; ``candidates`` come from these
    laws        cap laws of runs that differ from the base only in devices, batch and cap

    A batch per device at which no caps were run gets no candidates.
    """
    known_settings = {_key(c, c.run.setting.power_cap_w) for c in known}
    found: list[Candidate] = []
    for batch in sorted({law.share for law in laws}):
        here = []
        for candidate in candidates:
            same_batch = math.isclose(batch_per_device_of(candidate.run), batch)
            if candidate.is_advisable and same_batch:
                here.append(candidate)
        laws_here = [law for law in laws if law.share == batch]
        bases = _cap_bases(base, laws_here, here, batch, prior)
        for candidate, (law, work, baseline) in zip(here, bases, strict=True):
            for cap_w in _caps_to_consider(law):
                if _key(candidate, cap_w) not in known_settings:
                    effect = law.effect(cap_w, work, baseline)
                    found.append(_at_cap(candidate, law, cap_w, effect))
    return found


def _cap_bases(
    base: Sequence[Run],
    laws: list[CapLawOnDevices],
    candidates: list[Candidate],
    batch: float,
    prior: Array | None,
) -> Iterator[tuple[CapLawOnDevices, LogDraws, CapBaseline]]:
    """Yield for each candidate the nearest cap law, the share of work, and the baseline of caps.

    All share the draws of one law over devices.
    """
    if count_device_numbers(base) < 2:
        for candidate in candidates:
            law = nearest_cap_law(laws, candidate.devices, batch)
            time = LogDraws(candidate.log_t, candidate.of_mean)
            yield law, equal_work(), CapBaseline(None, time, candidate.power)
        return
    times = _times_by_devices(base, laws, candidates, batch, prior)
    power = fit_device_power(base)
    for candidate in candidates:
        law = nearest_cap_law(laws, candidate.devices, batch)
        at_caps, at_target = times[law.devices], times[candidate.devices]
        work = work_share(at_caps, at_target, candidate.devices, law.devices)
        watts = None
        if power is not None:
            watts = LogDraws(*power.forecast(law.devices, DRAWS, of_run=False))
        yield law, work, CapBaseline(base[0].setting.power_cap_w, at_caps, watts)


def _times_by_devices(
    base: Sequence[Run],
    laws: list[CapLawOnDevices],
    candidates: list[Candidate],
    batch: float,
    prior: Array | None,
) -> dict[int, LogDraws]:
    # ln of the time per sample that the law over devices gives each candidate and each cap law
    nodes_of = {c.devices: c.run.setting.nodes for c in candidates}
    nodes_of |= {law.devices: law.runs[0].setting.nodes for law in laws}
    counts = sorted(nodes_of)
    law, _, rates = fit_scaling_to_runs(list(base), prior=prior)
    devices = np.array(counts, float)
    points = Points.of(devices, devices * batch, [nodes_of[n] for n in counts])
    times = forecast(law, np.array(rates), points)
    return {n: LogDraws(t.middle, t.of_law) for n, t in zip(counts, times, strict=True)}


def _caps_to_consider(law: CapLawOnDevices) -> list[float]:
    low, high = law.caps_w[0], law.caps_w[-1]
    grid = ROUND_W * np.round(np.linspace(low, high, STEPS + 2) / ROUND_W)
    between = grid[(grid > low) & (grid < high)]
    return sorted({*law.caps_w, *between.tolist()})


def _at_cap(
    candidate: Candidate, law: CapLawOnDevices, cap_w: float, effect: CapEffect
) -> Candidate:
    setting = msgspec.structs.replace(candidate.run.setting, power_cap_w=cap_w)
    power, change = candidate.power, effect.power
    if power is not None and change is not None:
        power = LogDraws(power.middle + change.middle, power.draws + change.draws)
    else:
        power = None
    return candidate._replace(
        run=msgspec.structs.replace(candidate.run, setting=setting),
        basis=(*candidate.basis, *law.runs),
        log_t=candidate.log_t + effect.time.middle,
        of_mean=candidate.of_mean + effect.time.draws,
        of_run=candidate.of_run + effect.time.draws,
        power=power,
        is_measured=False,
        is_at_new_cap=True,
    )


def _key(candidate: Candidate, cap_w: float | None) -> tuple[int, float, float | None]:
    return candidate.devices, round(batch_per_device_of(candidate.run), 6), cap_w
