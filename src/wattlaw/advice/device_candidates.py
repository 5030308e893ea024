"""Numbers of devices that may be taken: those that were run as measured, others as the law over devices forecasts.

Time comes from every form that fits the runs (choose.py), energy from the mean power of a device (devicepower.py).
Draws of all options belong together: draw i of each stands on the same draw of the law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from wattlaw.advice.candidates import Array, Option, Watts
from wattlaw.advice.power_cap_candidates import cap_options
from wattlaw.analysis.caps_on_devices import cap_laws_by_devices
from wattlaw.analysis.groups import (
    FAMILY_FACTORS,
    baseline_runs,
    batch_of,
    batch_per_device_of,
    count_device_numbers,
    group_runs,
    rate_of,
)
from wattlaw.analysis.predict import WIDEST_EXTRAPOLATION
from wattlaw.analysis.run_laws import (
    DevicePower,
    fit_device_power,
    fit_scaling_to_runs,
    measured_time,
    run_noise,
)
from wattlaw.core.factors import repeats
from wattlaw.core.quantities import GPU_ENERGY, derive
from wattlaw.core.run import Run
from wattlaw.laws.averaging import DRAWS, Forecast, forecast
from wattlaw.laws.network import MOST_DEVICES
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.posterior import Noise


def device_options(
    runs: Sequence[Run],
    wanted: Sequence[tuple[int, float]] | None = None,
    prior: Array | None = None,
) -> list[Option]:
    """Return the settings of some runs, and other numbers of devices at the batch a device that was run.

    Where caps were tried on some of several numbers of devices, each is weighed at other caps too (capoptions.py), as
    is the only one that was run where it ran without a cap, too.

    wanted  (devices, batch a device) to weigh instead of those that ``numbers`` and ``batches_at`` give
    prior   of the scaling law, (8, 2), instead of the one that ships
    None of the others where no two numbers of devices were run alike. The nearest number beyond the runs whose 90 %
    interval of time spans more than a factor of ``predict.WIDEST`` is not advisable; those beyond it are left out.
    """
    known = [r for r in runs if rate_of(r)]
    noise = run_noise(known)
    measured = [_measured(members, noise, seed) for seed, members in enumerate(repeats(known))]
    found = list(measured)
    for whole in group_runs(known, (*FAMILY_FACTORS, "power_cap_w"), split_layouts=False)[0]:
        base = baseline_runs(whole.runs)
        caps = cap_laws_by_devices(whole.runs, any_batch=count_device_numbers(base) == 1)
        most = count_device_numbers(base) if caps else 0
        by_cap = [
            family.runs for family in group_runs(whole.runs, FAMILY_FACTORS, split_layouts=False)[0]
        ]
        # few sizes at some cap tell less than what that cap does to the law of many
        told = [
            o
            for runs in by_cap
            if count_device_numbers(runs) >= most
            for o in _forecast_options(runs, wanted, prior)
        ]
        found += told
        if most == 1:
            # runs of one size at caps alone have an advice of their own (capadvice.py)
            caps = [
                c
                for c in caps
                if base[0].setting.power_cap_w is None and c.devices == base[0].setting.devices
            ]
        if caps:
            ids = {id(r) for r in base}
            at_base = [o for o in (*measured, *told) if ids & {id(r) for r in o.basis}]
            found += cap_options(base, caps, at_base, found, prior)
    return found


def numbers(per_node: int, most: int = MOST_DEVICES) -> list[int]:
    """Return the numbers of devices worth weighing, ascending.

    Powers of two and three quarters of each: of devices up to a whole node, which counts too, beyond it of nodes. A
    node is taken to hold the most devices a node that were run.
    """
    steps = _steps(most)
    within = [*(n for n in steps if n < per_node), per_node]
    return sorted({n for n in (*within, *(per_node * n for n in steps)) if n <= most})


def _steps(most: int) -> list[int]:
    doubled = [2**i for i in range(most.bit_length())]
    return sorted({*doubled, *(3 * n // 4 for n in doubled[2:])})


def batches_at(devices: int, seen: Sequence[tuple[int, float]]) -> list[float]:
    """Return the batches a device at which a number of devices is weighed; ``seen`` holds (devices, batch a device).

    Every batch that was run at two numbers or more. Where there is none but the global batch was always the same, its
    part, if it divides evenly; else the batch of the next smaller number that was run.
    """
    at: dict[float, set[int]] = {}
    for n, batch in seen:
        at.setdefault(batch, set()).add(n)
    if common := sorted(b for b, sizes in at.items() if len(sizes) > 1):
        return common
    totals = {round(n * batch, 6) for n, batch in seen}
    if len(totals) == 1:
        (total,) = totals
        return [total / devices] if total % devices == 0 else []
    below = [pair for pair in seen if pair[0] <= devices]
    return [max(below)[1] if below else min(seen)[1]]


def _measured(members: list[Run], noise: Noise, seed: int) -> Option:
    ran = measured_time(members, noise, DRAWS, seed)
    return Option(members[0], tuple(members), *ran, _watts(members, ran.middle), True)


def _watts(members: list[Run], log_t: float) -> Watts | None:
    joules = [derive(r, GPU_ENERGY) for r in members]
    values = [
        j.value for j in joules if j.status == "measured" and j.value is not None and j.value > 0
    ]
    if len(values) < len(members):
        return None
    middle = (
        math.fsum(map(math.log, values)) / len(values)
        - log_t
        - math.log(members[0].setting.devices)
    )
    return Watts(middle, np.full(DRAWS, middle))


def _forecast_options(
    runs: list[Run], wanted: Sequence[tuple[int, float]] | None, prior: Array | None
) -> list[Option]:
    runs = [r for r in runs if batch_of(r)]
    seen = sorted({(r.setting.devices, batch_per_device_of(r)) for r in runs})
    ran = sorted({n for n, _ in seen})
    if len(ran) < 2:
        return []
    per_node = max(r.setting.devices_per_node for r in runs)
    if wanted is None:
        wanted = [(n, b) for n in numbers(per_node) for b in batches_at(n, seen)]
    new = [pair for pair in wanted if pair not in seen]
    if not new:
        return []
    law, _, rates = fit_scaling_to_runs(runs, prior=prior)
    devices, shares = np.array(new, float).T
    targets = Points.of(devices, devices * shares, np.maximum(1, np.ceil(devices / per_node)))
    told = forecast(law, np.array(rates), targets)
    power = fit_device_power(runs)
    found = [
        _told(runs, n, b, per_node, each, power) for (n, b), each in zip(new, told, strict=True)
    ]
    beyond = law.extrapolates(targets).tolist()
    return _near([o._replace(is_beyond=far) for o, far in zip(found, beyond, strict=True)], ran)


def _told(
    runs: list[Run],
    devices: int,
    batch: float,
    per_node: int,
    told: Forecast,
    power: DevicePower | None,
) -> Option:
    nodes = max(1, math.ceil(devices / per_node))
    near = min(runs, key=lambda r: (abs(math.log(r.setting.devices / devices)), r.trial))
    # several devices may share a sample
    share = round(batch) if near.setting.batch_per_device is not None and batch >= 1 else None
    setting = msgspec.structs.replace(
        near.setting, nodes=nodes, devices_per_node=devices // nodes, batch_per_device=share
    )
    run = msgspec.structs.replace(near, setting=setting)
    watts = None if power is None else Watts(*power.forecast(devices, len(told.draws)))
    return Option(run, tuple(runs), told.middle, told.of_law, told.draws, watts, False)


def _near(options: list[Option], ran: list[int]) -> list[Option]:
    # outward from the runs up to the first one whose time nobody can tell, which may be run but not advised
    wide = [o.devices for o in options if o.is_beyond and _factor(o) > WIDEST_EXTRAPOLATION]
    least = max([n for n in wide if n < ran[0]], default=0)
    most = min([n for n in wide if n > ran[-1]], default=math.inf)
    return [
        o._replace(is_advisable=o.devices not in wide)
        for o in options
        if least <= o.devices <= most
    ]


def _factor(option: Option) -> float:
    low, high = np.quantile(option.of_run, [0.05, 0.95])
    return float(np.exp(high - low))
