"""Candidate device counts: those that were run, and others that the law over devices predicts.

Time is averaged over every law that fits the runs (laws/averaging.py). Energy follows from the mean
power of a device (analysis/run_laws.py). Draw i of every candidate uses draw i of the law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from wattlaw.advice.candidates import Candidate
from wattlaw.advice.power_cap_candidates import cap_candidates
from wattlaw.analysis.caps_on_devices import CapLawOnDevices, LogDraws, cap_laws_by_devices
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
from wattlaw.laws.network import MAX_DEVICES
from wattlaw.laws.scaling import Points
from wattlaw.laws.statistics.arrays import Array
from wattlaw.laws.statistics.posterior import Noise


def device_candidates(
    runs: Sequence[Run],
    pairs: Sequence[tuple[int, float]] | None = None,
    prior: Array | None = None,
) -> list[Candidate]:
    """Return the settings of runs, then other device counts, then both at other power caps.

    pairs   (devices, batch per device) to consider; by default what ``device_counts`` and
            ``candidate_batches`` return
    prior   of the scaling law, (8, 2), instead of the shipped one

    A device count that was not run needs two that were run in otherwise equal settings. The
    nearest number beyond the runs whose 90 % interval of time spans more than a factor of
    ``WIDEST_EXTRAPOLATION`` is not advisable; numbers beyond that one are left out.
    """
    known = [run for run in runs if rate_of(run)]
    noise = run_noise(known)
    measured = [_measured(members, noise, seed) for seed, members in enumerate(repeats(known))]
    found = list(measured)
    for group in group_runs(known, (*FAMILY_FACTORS, "power_cap_w"), split_layouts=False)[0]:
        base = baseline_runs(group.runs)
        sizes = count_device_numbers(base)
        laws = cap_laws_by_devices(group.runs, any_batch=sizes == 1)
        # with cap laws, the law over devices at the base cap beats few sizes at another cap
        least_sizes = sizes if laws else 0
        predicted: list[Candidate] = []
        for family in group_runs(group.runs, FAMILY_FACTORS, split_layouts=False)[0]:
            if count_device_numbers(family.runs) >= least_sizes:
                predicted += _predicted_candidates(family.runs, pairs, prior)
        found += predicted
        if sizes == 1:
            laws = _laws_of_uncapped(base, laws)
        if laws:
            at_base = _based_on(base, [*measured, *predicted])
            found += cap_candidates(base, laws, at_base, found, prior)
    return found


def _laws_of_uncapped(base: list[Run], laws: list[CapLawOnDevices]) -> list[CapLawOnDevices]:
    # with one size, power_caps.py gives the advice at caps; only runs without a cap matter here
    if base[0].setting.power_cap_w is not None:
        return []
    return [law for law in laws if law.devices == base[0].setting.devices]


def _based_on(base: list[Run], candidates: list[Candidate]) -> list[Candidate]:
    base_ids = {id(run) for run in base}
    found = []
    for candidate in candidates:
        if not base_ids.isdisjoint(map(id, candidate.basis)):
            found.append(candidate)
    return found


def device_counts(per_node: int, most: int = MAX_DEVICES) -> list[int]:
    """Return the device counts to consider, ascending, up to ``most``.

    These are 1, 2, 3, 4, 6, 8, 12, … devices up to a whole node, a whole node, and these numbers
    of whole nodes. A node holds ``per_node`` devices.
    """
    steps = _powers_of_two_and_three_quarters(most)
    within_node = [n for n in steps if n < per_node]
    whole_nodes = [per_node * n for n in steps]
    return sorted({n for n in (*within_node, per_node, *whole_nodes) if n <= most})


def _powers_of_two_and_three_quarters(most: int) -> list[int]:
    doubled = [2**i for i in range(most.bit_length())]
    return sorted({*doubled, *(3 * n // 4 for n in doubled[2:])})


def candidate_batches(devices: int, seen: Sequence[tuple[int, float]]) -> list[float]:
    """Return the batches per device to consider on ``devices`` devices.

    ``seen`` holds the (devices, batch per device) that were run. The batches are those that were
    run with two or more device counts. If there is none but all runs had one global batch, it is
    that batch divided by the devices, if it divides evenly. Otherwise it is the batch of the
    next smaller number that was run.
    """
    devices_of: dict[float, set[int]] = {}
    for n, batch in seen:
        devices_of.setdefault(batch, set()).add(n)
    common = sorted(batch for batch, sizes in devices_of.items() if len(sizes) > 1)
    if common:
        return common
    totals = {round(n * batch, 6) for n, batch in seen}
    if len(totals) == 1:
        (total,) = totals
        return [total / devices] if total % devices == 0 else []
    below = [pair for pair in seen if pair[0] <= devices]
    return [max(below)[1] if below else min(seen)[1]]


def _measured(members: list[Run], noise: Noise, seed: int) -> Candidate:
    time = measured_time(members, noise, DRAWS, seed)
    power = _measured_power(members, time.middle)
    return Candidate(members[0], tuple(members), *time, power, True)


def _measured_power(members: list[Run], log_t: float) -> LogDraws | None:
    values = []
    for run in members:
        joules = derive(run, GPU_ENERGY)
        if joules.status != "measured" or joules.value is None or joules.value <= 0:
            return None
        values.append(joules.value)
    mean = math.fsum(map(math.log, values)) / len(values)
    middle = mean - log_t - math.log(members[0].setting.devices)
    return LogDraws(middle, np.full(DRAWS, middle))


def _predicted_candidates(
    runs: list[Run], pairs: Sequence[tuple[int, float]] | None, prior: Array | None
) -> list[Candidate]:
    runs = [run for run in runs if batch_of(run)]
    seen = sorted({(run.setting.devices, batch_per_device_of(run)) for run in runs})
    measured_counts = sorted({n for n, _ in seen})
    if len(measured_counts) < 2:
        return []
    per_node = max(run.setting.devices_per_node for run in runs)
    if pairs is None:
        counts = device_counts(per_node)
        pairs = [(n, batch) for n in counts for batch in candidate_batches(n, seen)]
    new = [pair for pair in pairs if pair not in seen]
    if not new:
        return []
    law, _, rates = fit_scaling_to_runs(runs, prior=prior)
    devices, batches = np.array(new, float).T
    nodes = np.maximum(1, np.ceil(devices / per_node))
    points = Points.of(devices, devices * batches, nodes)
    times = forecast(law, np.array(rates), points)
    power = fit_device_power(runs)
    found = []
    for (n, batch), time, is_beyond in zip(new, times, law.extrapolates(points), strict=True):
        candidate = _predicted(runs, n, batch, per_node, time, power)
        found.append(candidate._replace(is_beyond=bool(is_beyond)))
    return _within_reach(found, measured_counts)


def _predicted(
    runs: list[Run],
    devices: int,
    batch: float,
    per_node: int,
    time: Forecast,
    power: DevicePower | None,
) -> Candidate:
    nodes = max(1, math.ceil(devices / per_node))
    near = min(runs, key=lambda r: (abs(math.log(r.setting.devices / devices)), r.trial))
    # below 1, several devices share a sample
    has_batch = near.setting.batch_per_device is not None and batch >= 1
    setting = msgspec.structs.replace(
        near.setting,
        nodes=nodes,
        devices_per_node=devices // nodes,
        batch_per_device=round(batch) if has_batch else None,
    )
    run = msgspec.structs.replace(near, setting=setting)
    watts = None
    if power is not None:
        watts = LogDraws(*power.forecast(devices, len(time.draws)))
    return Candidate(run, tuple(runs), time.middle, time.of_law, time.draws, watts, False)


def _within_reach(candidates: list[Candidate], measured_counts: list[int]) -> list[Candidate]:
    # the first too uncertain count on each side may be run but not advised; those beyond it are
    # left out
    uncertain = [c.devices for c in candidates if c.is_beyond and _spans_too_much(c)]
    least = max([n for n in uncertain if n < measured_counts[0]], default=0)
    most = min([n for n in uncertain if n > measured_counts[-1]], default=math.inf)
    found = []
    for candidate in candidates:
        if least <= candidate.devices <= most:
            is_advisable = candidate.devices not in uncertain
            found.append(candidate._replace(is_advisable=is_advisable))
    return found


def _spans_too_much(candidate: Candidate) -> bool:
    low, high = np.quantile(candidate.of_run, [0.05, 0.95])
    return float(np.exp(high - low)) > WIDEST_EXTRAPOLATION
