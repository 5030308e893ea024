"""Time, energy and cost of a setting that nobody has run, composed of the laws of those that were.

time(N, batch, nodes)   every form that fits the group's runs, as far as it foretold the larger of them (choose.py); the
                        α–β one has the prior of published runs, and stragglers (scaling.py)
× cap                   t(P) and E(P) of the group's capped runs (caps.py), against the highest cap; on another number
                        of devices as far as they work there (capping.py)
energy                  mean power of a device, as measured (devicepower.py), × devices × time

Uncertainty is carried as draws of each. With runs of one size only, communication comes from the ring formula where
message and link are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any, NamedTuple

import msgspec
import numpy as np

from wattlaw.analysis.caps_on_devices import (
    CapBaseline,
    CapLawOnDevices,
    LogDraws,
    cap_laws_by_devices,
    nearest_cap_law,
    work_share,
)
from wattlaw.analysis.groups import (
    Group,
    baseline_runs,
    batch_of,
    count_device_numbers,
    group_runs,
    group_title,
    notes_on_left_out,
    rate_of,
    summarise_faults,
)
from wattlaw.analysis.prices import Prices
from wattlaw.analysis.run_laws import (
    fit_device_power,
    fit_scaling_to_runs,
    measured_device_power,
    measured_time,
    run_noise,
    samples_to_target,
)
from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import TIME
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.units import counted
from wattlaw.laws.averaging import DRAWS, forecast
from wattlaw.laws.network import (
    MOST_DEVICES,
    exposed_communication,
    ring_all_reduce,
    straggler_factor,
)
from wattlaw.laws.scaling import BEYOND_RUNS, EXTRAPOLATION_SD, Points
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, WIDEST_SANE, Array, clipped_exp
from wattlaw.laws.statistics.posterior import Noise, draws_interval, predictive_draws


class PredictionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The setting asked about, and what prices it.

    devices, nodes, batch_per_device, power_cap_w    the setting; None keeps what the runs had
    samples                                          work to be done; 1 gives figures per sample, None what the target
                                                     of the runs takes (laws/target.py)
    price_per_device_hour, price_per_kwh             in any one currency
    pue                                              power of the building over that of its machines
    step_spread                                      relative standard deviation of one device's step times, where known
    message_bytes, link_bytes_per_s, link_latency_s  gradient and slowest link, where one size only was run
    """

    devices: int
    nodes: int | None = None
    batch_per_device: int | None = None
    power_cap_w: float | None = None
    samples: float | None = 1.0
    price_per_device_hour: float | None = None
    price_per_kwh: float | None = None
    pue: float = 1.0
    step_spread: float = 0.0
    message_bytes: float | None = None
    link_bytes_per_s: float | None = None
    link_latency_s: float = 1e-5

    def prices(self) -> Prices:
        """Return the prices; 0 where none was given."""
        return Prices(self.price_per_device_hour or 0.0, self.price_per_kwh or 0.0, self.pue)


_POSITIVE = (
    "batch_per_device", "power_cap_w", "samples", "price_per_device_hour", "price_per_kwh", "message_bytes",
    "link_bytes_per_s", "link_latency_s",
)  # fmt: skip


def check_request(wanted: PredictionRequest) -> None:
    """Raise UsageError for a setting that is impossible, and prices that mean nothing."""
    if not 1 <= wanted.devices <= MOST_DEVICES:
        raise UsageError(f"devices is {wanted.devices}; give 1 to {MOST_DEVICES}")
    if wanted.nodes is not None and not 1 <= wanted.nodes <= wanted.devices:
        raise UsageError(f"nodes is {wanted.nodes}; give 1 to the number of devices")
    for name in _POSITIVE:
        value = getattr(wanted, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value}; give a positive number")
        if value is not None and not SMALLEST <= value <= LARGEST:
            raise UsageError(f"{name} is {value}; give a number from {SMALLEST:g} to {LARGEST:g}")
    if not 0 <= wanted.step_spread < 1:
        raise UsageError(
            f"step_spread is {wanted.step_spread}; give a relative standard deviation from 0 to below 1"
        )
    wanted.prices().check()


WIDEST_EXTRAPOLATION = 2.0
"""An extrapolation whose interval spans more than this factor is refused unless it is asked for."""

BACKWARD_SHARE = 2 / 3
"""Share of a step's compute in the backward pass: twice the forward pass's operations."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One group's prediction; ``quantities`` holds value and 90 % interval by name, ``extrapolated`` says why if so.

    ``forms`` holds the share of each form of the law over devices.
    """

    group: dict[str, str]
    setting: dict[str, float]
    quantities: dict[str, Interval]
    extrapolated: str = ""
    forms: dict[str, float] = {}
    warnings: tuple[Note, ...] = ()


def predict(
    runs: Iterable[Run], wanted: PredictionRequest, extrapolate: bool = False
) -> list[Prediction]:
    """Predict the setting for each group of runs that differ in devices, batch and cap only.

    Raises UsageError for an impossible setting, and FitError where no group tells enough, or where every
    prediction reaches beyond the runs with an interval wider than a factor of two (``extrapolate`` allows it).
    """
    check_request(wanted)
    groups, notes = group_runs(
        runs, ("devices", "batch_per_device", "power_cap_w"), split_layouts=False
    )
    found, faults = [], []
    for group in groups:
        try:
            found.append(_predict_group(group, wanted, extrapolate, notes))
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not found:
        raise FitError(summarise_faults(faults) or "there is no run to predict from")
    others = (Note("no_prediction", summarise_faults(faults)),) if faults else ()
    return [msgspec.structs.replace(p, warnings=(*p.warnings, *others)) for p in found]


def _predict_group(
    group: Group, wanted: PredictionRequest, extrapolate: bool, notes: tuple[Note, ...]
) -> Prediction:
    runs = [r for r in group.runs if rate_of(r) and batch_of(r)]
    if not runs:
        raise FitError("no run gives both a rate and a batch")
    base = _base(runs, wanted.power_cap_w)
    point, share = _point(wanted, base)
    cap_w, of_base = wanted.power_cap_w, base[0].setting.power_cap_w
    capping = (
        None
        if cap_w in (None, of_base)
        else nearest_cap_law(cap_laws_by_devices(runs), wanted.devices, share)
    )
    found, *beside = _times(base, [(point, share), *_beside(capping, point)], wanted)
    log_t, draws, why = found.middle, found.draws, found.why
    power = fit_device_power(base)
    watts = None if power is None else power.forecast(float(point.devices[0]), len(draws))
    if capping is not None and cap_w is not None:
        tried = (
            None
            if power is None
            else LogDraws(*power.forecast(capping.devices, len(draws), of_run=False))
        )
        here, there = (
            LogDraws(each.middle, each.draws if each.of_law is None else each.of_law)
            for each in beside
        )
        work = work_share(here, there, wanted.devices, capping.devices)
        effect = capping.effect(cap_w, work, CapBaseline(of_base, here, tried))
        log_t, draws = log_t + effect.time.middle, draws + effect.time.draws
        of_power = effect.power
        watts = watts and of_power and (watts[0] + of_power.middle, watts[1] + of_power.draws)
    need = _need(base, float(point.batches[0]), wanted, len(draws))
    time = _spread(log_t + need[0], draws + need[1])
    _check_width(time, point, why, extrapolate)
    return Prediction(
        group=group.key,
        setting={"devices": wanted.devices, "nodes": float(point.nodes[0]), "batch_per_device": share,
                 **({"power_cap_w": cap} if (cap := cap_w or of_base) else {})},
        quantities=_quantities((log_t, draws), watts, wanted, share, need),
        extrapolated=why,
        forms=found.forms,
        warnings=(*notes, *notes_on_left_out(group.runs, TIME), *found.notes, *_without_energy(wanted, runs, watts)),
    )  # fmt: skip


def _check_width(time: Interval, point: Points, why: str, extrapolate: bool) -> None:
    factor = (time.high or math.inf) / (time.low or math.inf)
    said = f"the interval of {point.devices[0]:g} devices spans a factor of {factor:.2g}"
    if not factor < WIDEST_SANE:
        raise FitError(
            f"{said}: some runs are far off the others; look at them with `wattlaw runs show`"
        )
    if why and factor > WIDEST_EXTRAPOLATION and not extrapolate:
        raise FitError(
            f"{said} ({why}); run nearer to it, or extrapolate all the same (--extrapolate)"
        )


def _base(runs: list[Run], cap_w: float | None) -> list[Run]:
    # at the cap asked for, where as many numbers of devices were run there
    base, there = baseline_runs(runs), [r for r in runs if r.setting.power_cap_w == cap_w]
    return (
        there
        if cap_w is not None and count_device_numbers(there) >= count_device_numbers(base)
        else base
    )


def _need(
    runs: list[Run], batch: float, wanted: PredictionRequest, count: int
) -> tuple[float, Array]:
    # ln of the samples to be trained: middle and draws
    if wanted.samples is None:
        return samples_to_target(runs, batch, count)
    return math.log(wanted.samples), np.full(count, math.log(wanted.samples))


class _Time(NamedTuple):
    # ln of the time per sample: middle and draws, what makes it an extrapolation, the forms' shares; of_law are the
    # draws without what one run scatters by
    middle: float
    draws: Array
    why: str
    forms: dict[str, float]
    notes: tuple[Note, ...] = ()
    of_law: Array | None = None


def _times(
    runs: list[Run], points: list[tuple[Points, float]], wanted: PredictionRequest
) -> list[_Time]:
    # draw i of each stands on the same draw of the law
    known = {(r.setting.devices, batch_of(r)) for r in runs}
    if known == {(point.devices[0], point.batches[0]) for point, _ in points}:
        ran = measured_time(runs, run_noise(runs), DRAWS)
        return [_Time(ran.middle, ran.of_run, "", {"as run": 1.0}, of_law=ran.of_mean)] * len(
            points
        )
    if len(known) < 2:
        return [_by_formula(runs, point, share, wanted) for point, share in points]
    law, _, rates = fit_scaling_to_runs(runs, wanted.step_spread)
    targets = Points(
        *(np.concatenate(values) for values in zip(*(point for point, _ in points), strict=True))
    )
    why = [BEYOND_RUNS if far else "" for far in law.extrapolates(targets)]
    told = zip(forecast(law, np.array(rates), targets), why, strict=True)
    return [
        _Time(each.middle, each.draws, far, each.shares, of_law=each.of_law) for each, far in told
    ]


def _beside(capping: CapLawOnDevices | None, point: Points) -> list[tuple[Points, float]]:
    # where caps were tried, and the devices asked about at the same batch each
    if capping is None:
        return []
    nodes, share = capping.runs[0].setting.nodes, capping.share
    tried = Points.of([capping.devices], [share * capping.devices], [nodes])
    return [(tried, share), (Points.of(point.devices, point.devices * share, point.nodes), share)]


def _by_formula(runs: list[Run], point: Points, share: float, wanted: PredictionRequest) -> _Time:
    if wanted.message_bytes is None or wanted.link_bytes_per_s is None:
        raise FitError(
            "runs of one size say nothing of another; run a second, or give message and link bandwidth"
        )
    first = runs[0]
    if first.setting.devices != 1:
        raise FitError("the formula starts from runs on one device; these used more")
    step = math.exp(fmean(math.log((batch_of(r) or 1.0) / (rate_of(r) or 1.0)) for r in runs))
    step *= share / (batch_of(first) or share)
    n = float(point.devices[0])
    ring = ring_all_reduce(
        [n], wanted.message_bytes, wanted.link_latency_s, wanted.link_bytes_per_s
    )
    total = (step + float(exposed_communication(ring, BACKWARD_SHARE * step)[0])) * float(
        straggler_factor([n], wanted.step_spread)[0]
    )
    log_t = math.log(total / (n * share))
    note = Note(
        "formula", "communication is the ring's formula, not measured; run two devices to check it"
    )
    reach = Noise(np.array([EXTRAPOLATION_SD * max(math.log(n), 1.0)]), 30.0)
    draws = predictive_draws(np.array([log_t]), np.ones(1), [reach], DRAWS)
    return _Time(log_t, draws, "communication was never measured", {"ring": 1.0}, (note,))


def _point(wanted: PredictionRequest, runs: list[Run]) -> tuple[Points, float]:
    each = max(r.setting.devices_per_node for r in runs)
    nodes = wanted.nodes or max(1, math.ceil(wanted.devices / each))
    largest = max(runs, key=lambda r: r.setting.devices)
    share = float(wanted.batch_per_device or (batch_of(largest) or 1.0) / largest.setting.devices)
    return Points.of([wanted.devices], [share * wanted.devices], [nodes]), share


def _quantities(
    time: tuple[float, Array],
    watts: tuple[float, Array] | None,
    wanted: PredictionRequest,
    share: float,
    need: tuple[float, Array],
) -> dict[str, Interval]:
    log_t, draws = time
    found = {
        "time_per_sample_s": _spread(log_t, draws),
        "step_time_s": _spread(log_t, draws, math.log(share * wanted.devices)),
    }
    if wanted.samples is None:
        found["samples"] = _spread(*need)
    log_t, draws = log_t + need[0], draws + need[1]
    device_s = math.log(wanted.devices)
    found["time_s"] = _spread(log_t, draws)
    found["device_hours"] = _spread(log_t, draws, device_s - math.log(3600))
    if watts is not None:
        found["energy_j"] = _spread(log_t + watts[0], draws + watts[1], device_s)
    prices = wanted.prices()
    if prices.are_set and (watts is not None or not prices.per_kwh):
        log_w, of_watts = watts or (0.0, 0.0)
        cost = prices.cost(np.exp(draws + device_s), np.exp(draws + of_watts + device_s))
        middle = prices.cost(math.exp(log_t + device_s), math.exp(log_t + log_w + device_s))
        found["cost"] = _spread(float(np.log(middle)), np.log(cost))
    return found


def _without_energy(wanted: PredictionRequest, runs: list[Run], watts: Any) -> tuple[Note, ...]:
    if watts is not None:
        return ()
    found = []
    if known := sum(measured_device_power(r) is not None for r in runs):
        found.append(
            Note(
                "no_energy",
                f"energy is left out: only {known} of {counted(len(runs), 'run')} measured it",
            )
        )
    if wanted.price_per_kwh:
        told = (
            "the cost is left out: energy has a price, but not every run measured its GPUs' energy"
        )
        found.append(Note("no_cost", told))
    return tuple(found)


def _spread(log_value: float, draws: Array, shift: float = 0.0) -> Interval:
    return draws_interval(float(clipped_exp(log_value + shift)), clipped_exp(draws + shift))
