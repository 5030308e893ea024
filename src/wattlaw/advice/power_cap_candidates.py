"""Power caps on any number of devices that may be taken, from caps that were tried on some (capping.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from wattlaw.advice.candidates import Array, Option, Watts
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

STEPS = 6
"""Caps weighed between the lowest and the highest that were run, at round numbers, beside those that were run."""

ROUND_W = 5.0


def cap_options(
    base: Sequence[Run],
    laws: Sequence[CapLawOnDevices],
    options: Sequence[Option],
    taken: Sequence[Option],
    prior: Array | None = None,
) -> list[Option]:
    """Return ``options`` at caps between those that were run, but none that is ``taken``.

    base     runs of several numbers of devices without a cap, or at the highest; ``options`` are of these. Of one
             number of devices those without a cap, if caps were tried on it
    laws     what caps do, of runs that differ from the base in devices, batch and cap only
    Options at a batch a device at which no caps were tried get none.
    """
    known = {_place(o, o.run.setting.power_cap_w) for o in taken}
    found: list[Option] = []
    shares = sorted({law.share for law in laws})
    for share in shares:
        here = [
            o for o in options if o.is_advisable and math.isclose(batch_per_device_of(o.run), share)
        ]
        mine = [law for law in laws if law.share == share]
        for option, (law, work, against) in zip(
            here, _works(base, mine, here, share, prior), strict=True
        ):
            new = [cap for cap in _caps(law) if _place(option, cap) not in known]
            found += [_capped(option, law, cap, law.effect(cap, work, against)) for cap in new]
    return found


def _works(
    base: Sequence[Run],
    laws: list[CapLawOnDevices],
    options: list[Option],
    share: float,
    prior: Array | None,
) -> Iterator[tuple[CapLawOnDevices, LogDraws, CapBaseline]]:
    # the law nearest to each option, how much a device works there against where its caps were tried, and what the
    # base gives there; all stand on the same draws of one law
    if count_device_numbers(base) < 2:
        for option in options:
            watts = option.watts and LogDraws(*option.watts)
            yield (
                nearest_cap_law(laws, option.devices, share),
                equal_work(),
                CapBaseline(None, LogDraws(option.log_t, option.of_mean), watts),
            )
        return
    law, _, rates = fit_scaling_to_runs(list(base), prior=prior)
    layouts = {o.devices: o.run.setting.nodes for o in options}
    layouts |= {each.devices: each.runs[0].setting.nodes for each in laws}
    devices = np.array(sorted(layouts), float)
    told = forecast(
        law,
        np.array(rates),
        Points.of(devices, devices * share, [layouts[n] for n in sorted(layouts)]),
    )
    power = fit_device_power(base)
    times = {
        n: LogDraws(each.middle, each.of_law) for n, each in zip(sorted(layouts), told, strict=True)
    }
    for option in options:
        near = nearest_cap_law(laws, option.devices, share)
        here, there = times[near.devices], times[option.devices]
        work = work_share(here, there, option.devices, near.devices)
        watts = (
            None if power is None else LogDraws(*power.forecast(near.devices, DRAWS, of_run=False))
        )
        yield near, work, CapBaseline(base[0].setting.power_cap_w, here, watts)


def _caps(law: CapLawOnDevices) -> list[float]:
    grid = ROUND_W * np.round(np.linspace(law.caps_w[0], law.caps_w[-1], STEPS + 2) / ROUND_W)
    inside = grid[(grid > law.caps_w[0]) & (grid < law.caps_w[-1])]
    return sorted({*law.caps_w, *inside.tolist()})


def _capped(option: Option, law: CapLawOnDevices, cap_w: float, effect: CapEffect) -> Option:
    setting = msgspec.structs.replace(option.run.setting, power_cap_w=cap_w)
    watts = None
    if option.watts and effect.power:
        watts = Watts(
            option.watts.middle + effect.power.middle, option.watts.draws + effect.power.draws
        )
    return option._replace(
        run=msgspec.structs.replace(option.run, setting=setting),
        basis=(*option.basis, *law.runs),
        log_t=option.log_t + effect.time.middle,
        of_mean=option.of_mean + effect.time.draws,
        of_run=option.of_run + effect.time.draws,
        watts=watts,
        is_measured=False,
        is_at_new_cap=True,
    )


def _place(option: Option, cap_w: float | None) -> tuple[int, float, float | None]:
    return option.devices, round(batch_per_device_of(option.run), 6), cap_w
