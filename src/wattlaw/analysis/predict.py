"""Time, energy and cost of a setting that was not run, from laws fitted to the runs.

time(N, batch, nodes)   the weighted average of all forms that fit the group's runs
                        (laws/averaging.py); the α–β law has the prior of published runs, and
                        stragglers (laws/scaling.py)
× cap                   t(P) and E(P) of the group's runs with caps (laws/caps.py), relative to the
                        highest cap; on other device counts in proportion to their work
                        (caps_on_devices.py)
energy                  mean power of a device, as measured (run_laws.py), × devices × time

Uncertainty is propagated as posterior draws. With runs of a single size, the communication time is
that of a ring all-reduce, if the message size and the link bandwidth are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

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
    FAMILY_FACTORS,
    Group,
    baseline_runs,
    batch_of,
    batch_per_device_of,
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
    MAX_DEVICES,
    exposed_communication,
    ring_all_reduce,
    straggler_factor,
)
from wattlaw.laws.scaling import BEYOND_RUNS, EXTRAPOLATION_SD, Points
from wattlaw.laws.statistics.arrays import LARGEST, SMALLEST, WIDEST_SANE, Array, clipped_exp
from wattlaw.laws.statistics.posterior import Noise, draws_interval, predictive_draws

WIDEST_EXTRAPOLATION = 2.0
"""An extrapolation whose interval spans a larger factor is refused unless the user allows it."""

BACKWARD_SHARE = 2 / 3
"""Share of the backward pass in the compute of a step: twice the operations of the forward pass."""


class PredictionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The setting to predict, the work, and prices.

    devices, nodes, batch_per_device, power_cap_w    the setting; None keeps the value of the runs
    samples                                          samples to train; 1 gives figures per sample,
                                                     None the samples that reach the target
    price_per_device_hour, price_per_kwh             in any one currency
    pue                                              power of the building ÷ power of its machines
    step_spread                                      relative standard deviation of the step times
                                                     of one device, if known
    message_bytes, link_bytes_per_s, link_latency_s  gradient and slowest link, needed with runs of
                                                     one size
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
        """Return the prices; 0 if none was given."""
        return Prices(self.price_per_device_hour or 0.0, self.price_per_kwh or 0.0, self.pue)


_POSITIVE = (
    "batch_per_device",
    "power_cap_w",
    "samples",
    "price_per_device_hour",
    "price_per_kwh",
    "message_bytes",
    "link_bytes_per_s",
    "link_latency_s",
)


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction for one group.

    quantities     value and 90 % interval by name
    extrapolated   why this is an extrapolation; "" if it is not
    forms          weight of each law over devices in the average
    """

    group: dict[str, str]
    setting: dict[str, float]
    quantities: dict[str, Interval]
    extrapolated: str = ""
    forms: dict[str, float] = {}
    warnings: tuple[Note, ...] = ()


def predict(
    runs: Iterable[Run], request: PredictionRequest, extrapolate: bool = False
) -> list[Prediction]:
    """Predict the setting for each group of runs that differ only in devices, batch and cap.

    Raises UsageError for an invalid setting. Raises FitError if no group has enough runs, or
    if every prediction is an extrapolation with an interval wider than a factor of two
    (``extrapolate`` allows it).
    """
    check_request(request)
    groups, notes = group_runs(runs, (*FAMILY_FACTORS, "power_cap_w"), split_layouts=False)
    found, faults = [], []
    for group in groups:
        try:
            found.append(_predict_group(group, request, extrapolate, notes))
        except FitError as error:
            faults.append((group_title(group.key), str(error)))
    if not found:
        raise FitError(summarise_faults(faults) or "there is no run to predict from")
    if not faults:
        return found
    failed = Note("no_prediction", summarise_faults(faults))
    return [msgspec.structs.replace(each, warnings=(*each.warnings, failed)) for each in found]


def check_request(request: PredictionRequest) -> None:
    """Raise UsageError for an invalid setting, or for invalid prices."""
    if not 1 <= request.devices <= MAX_DEVICES:
        raise UsageError(f"devices is {request.devices}; give 1 to {MAX_DEVICES}")
    if request.nodes is not None and not 1 <= request.nodes <= request.devices:
        raise UsageError(f"nodes is {request.nodes}; give 1 to the number of devices")
    for name in _POSITIVE:
        value = getattr(request, name)
        if value is None:
            continue
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value}; give a positive number")
        if not SMALLEST <= value <= LARGEST:
            raise UsageError(f"{name} is {value}; give a number from {SMALLEST:g} to {LARGEST:g}")
    if not 0 <= request.step_spread < 1:
        raise UsageError(
            f"step_spread is {request.step_spread}; "
            "give a relative standard deviation from 0 to below 1"
        )
    request.prices().check()


class _Target(NamedTuple):
    # the setting to predict
    points: Points
    batch_per_device: float


class _Time(NamedTuple):
    # ln of the time per sample, s; law_draws are the draws without run-to-run variation
    middle: float
    draws: Array
    extrapolated: str
    forms: dict[str, float]
    notes: tuple[Note, ...] = ()
    law_draws: Array | None = None

    def of_law(self) -> LogDraws:
        return LogDraws(self.middle, self.draws if self.law_draws is None else self.law_draws)


def _predict_group(
    group: Group, request: PredictionRequest, extrapolate: bool, notes: tuple[Note, ...]
) -> Prediction:
    runs = [run for run in group.runs if rate_of(run) and batch_of(run)]
    if not runs:
        raise FitError("no run has both a rate and a batch")
    base = _base(runs, request.power_cap_w)
    base_cap_w = base[0].setting.power_cap_w
    target = _target(request, base)
    capped = None
    if request.power_cap_w not in (None, base_cap_w):
        laws = cap_laws_by_devices(runs)
        capped = nearest_cap_law(laws, request.devices, target.batch_per_device)
    time, *cap_times = _times(base, [target, *_targets_of_caps(capped, target.points)], request)
    log_time, watts = LogDraws(time.middle, time.draws), _power(base, request.devices)
    if capped is not None:
        log_time, watts = _under_cap(request, capped, base, cap_times, log_time, watts)
    samples = _samples(base, float(target.points.batches[0]), request)
    total = LogDraws(log_time.middle + samples.middle, log_time.draws + samples.draws)
    _check_width(_interval(total), target.points, time.extrapolated, extrapolate)
    setting = {
        "devices": request.devices,
        "nodes": float(target.points.nodes[0]),
        "batch_per_device": target.batch_per_device,
    }
    cap_w = request.power_cap_w or base_cap_w
    if cap_w:
        setting["power_cap_w"] = cap_w
    left_out = notes_on_left_out(group.runs, TIME)
    without_energy = () if watts else _without_energy(request, runs)
    return Prediction(
        group=group.key,
        setting=setting,
        quantities=_quantities(request, target, log_time, samples, watts),
        extrapolated=time.extrapolated,
        forms=time.forms,
        warnings=(*notes, *left_out, *time.notes, *without_energy),
    )


def _base(runs: list[Run], cap_w: float | None) -> list[Run]:
    """Return the runs for the law over devices: those at the cap, if it has as many sizes."""
    base, same_cap = baseline_runs(runs), [r for r in runs if r.setting.power_cap_w == cap_w]
    if cap_w is not None and count_device_numbers(same_cap) >= count_device_numbers(base):
        return same_cap
    return base


def _target(request: PredictionRequest, runs: list[Run]) -> _Target:
    per_node = max(run.setting.devices_per_node for run in runs)
    nodes = request.nodes or max(1, math.ceil(request.devices / per_node))
    largest = max(runs, key=lambda run: run.setting.devices)
    batch = float(request.batch_per_device or batch_per_device_of(largest))
    return _Target(Points.of([request.devices], [batch * request.devices], [nodes]), batch)


def _targets_of_caps(capped: CapLawOnDevices | None, points: Points) -> list[_Target]:
    """Return the setting with caps, and the requested devices at its batch per device."""
    if capped is None:
        return []
    nodes, batch = capped.runs[0].setting.nodes, capped.share
    at_caps = Points.of([capped.devices], [batch * capped.devices], [nodes])
    at_target = Points.of(points.devices, points.devices * batch, points.nodes)
    return [_Target(at_caps, batch), _Target(at_target, batch)]


def _times(runs: list[Run], targets: list[_Target], request: PredictionRequest) -> list[_Time]:
    """Predict the time at targets; draw i of every target uses draw i of the law."""
    known = {(run.setting.devices, batch_of(run)) for run in runs}
    if known == {(points.devices[0], points.batches[0]) for points, _ in targets}:
        measured = measured_time(runs, run_noise(runs), DRAWS)
        time = _Time(
            measured.middle, measured.of_run, "", {"as run": 1.0}, law_draws=measured.of_mean
        )
        return [time] * len(targets)
    if len(known) < 2:
        return [_time_by_formula(runs, target, request) for target in targets]
    law, _, rates = fit_scaling_to_runs(runs, request.step_spread)
    columns = zip(*(points for points, _ in targets), strict=True)
    points = Points(*(np.concatenate(values) for values in columns))
    is_beyond = law.extrapolates(points).tolist()
    found = []
    for each, beyond in zip(forecast(law, np.array(rates), points), is_beyond, strict=True):
        why = BEYOND_RUNS if beyond else ""
        found.append(_Time(each.middle, each.draws, why, each.shares, law_draws=each.of_law))
    return found


def _time_by_formula(runs: list[Run], target: _Target, request: PredictionRequest) -> _Time:
    if request.message_bytes is None or request.link_bytes_per_s is None:
        raise FitError(
            "runs of one size do not determine a law; run a second size, or give the message size "
            "and the link bandwidth"
        )
    first, batch = runs[0], target.batch_per_device
    if first.setting.devices != 1:
        raise FitError("the ring formula needs runs on one device; these runs used more")
    steps = [math.log((batch_of(run) or 1.0) / (rate_of(run) or 1.0)) for run in runs]
    step = math.exp(fmean(steps)) * (batch / (batch_of(first) or batch))
    n = float(target.points.devices[0])
    link = request.link_latency_s, request.link_bytes_per_s
    ring = ring_all_reduce([n], request.message_bytes, *link)
    exposed = float(exposed_communication(ring, BACKWARD_SHARE * step)[0])
    total = (step + exposed) * float(straggler_factor([n], request.step_spread)[0])
    log_time = math.log(total / (n * batch))
    note = Note(
        "formula",
        "communication comes from the formula of a ring; run two devices to check it",
    )
    noise = Noise(np.array([EXTRAPOLATION_SD * max(math.log(n), 1.0)]), 30.0)
    draws = predictive_draws(np.array([log_time]), np.ones(1), [noise], DRAWS)
    return _Time(log_time, draws, "communication was not measured", {"ring": 1.0}, (note,))


def _power(runs: list[Run], devices: int, of_run: bool = True) -> LogDraws | None:
    """Return ln of the mean power of one device, W; None if a run did not measure it."""
    power = fit_device_power(runs)
    if power is None:
        return None
    return LogDraws(*power.forecast(float(devices), DRAWS, of_run))


def _under_cap(
    request: PredictionRequest,
    capped: CapLawOnDevices,
    base: list[Run],
    cap_times: list[_Time],
    log_time: LogDraws,
    watts: LogDraws | None,
) -> tuple[LogDraws, LogDraws | None]:
    """Return time and power under the requested cap."""
    at_caps, at_target = (time.of_law() for time in cap_times)
    work = work_share(at_caps, at_target, request.devices, capped.devices)
    cap_power = _power(base, capped.devices, of_run=False)
    reference = CapBaseline(base[0].setting.power_cap_w, at_caps, cap_power)
    effect = capped.effect(request.power_cap_w or 0.0, work, reference)
    time = LogDraws(log_time.middle + effect.time.middle, log_time.draws + effect.time.draws)
    if watts is None or effect.power is None:
        return time, None
    middle = watts.middle + effect.power.middle
    return time, LogDraws(middle, watts.draws + effect.power.draws)


def _samples(runs: list[Run], batch: float, request: PredictionRequest) -> LogDraws:
    """Return ln of the samples to train."""
    if request.samples is None:
        return LogDraws(*samples_to_target(runs, batch, DRAWS))
    return LogDraws(math.log(request.samples), np.full(DRAWS, math.log(request.samples)))


def _check_width(time: Interval, points: Points, extrapolated: str, allowed: bool) -> None:
    factor = (time.high or math.inf) / (time.low or math.inf)
    message = f"the interval of {points.devices[0]:g} devices spans a factor of {factor:.2g}"
    if not factor < WIDEST_SANE:
        raise FitError(f"{message}: some runs are outliers; inspect them with `wattlaw runs show`")
    if extrapolated and factor > WIDEST_EXTRAPOLATION and not allowed:
        raise FitError(
            f"{message} ({extrapolated}); run a closer setting, or allow it with --extrapolate"
        )


def _quantities(
    request: PredictionRequest,
    target: _Target,
    time: LogDraws,
    samples: LogDraws,
    watts: LogDraws | None,
) -> dict[str, Interval]:
    found = {
        "time_per_sample_s": _interval(time),
        "step_time_s": _interval(time, math.log(target.batch_per_device * request.devices)),
    }
    if request.samples is None:
        found["samples"] = _interval(samples)
    total = LogDraws(time.middle + samples.middle, time.draws + samples.draws)
    log_devices = math.log(request.devices)
    found["time_s"] = _interval(total)
    found["device_hours"] = _interval(total, log_devices - math.log(3600))
    if watts is not None:
        energy = LogDraws(total.middle + watts.middle, total.draws + watts.draws)
        found["energy_j"] = _interval(energy, log_devices)
    prices = request.prices()
    if prices.are_set and (watts is not None or not prices.per_kwh):
        power = watts or LogDraws(0.0, np.zeros(DRAWS))
        found["cost"] = _cost(prices, total, power, log_devices)
    return found


def _cost(prices: Prices, time: LogDraws, watts: LogDraws, log_devices: float) -> Interval:
    device_s = math.exp(time.middle + log_devices)
    joules = math.exp(time.middle + watts.middle + log_devices)
    middle = float(np.log(prices.cost(device_s, joules)))
    all_device_s = np.exp(time.draws + log_devices)
    all_joules = np.exp(time.draws + watts.draws + log_devices)
    return _interval(LogDraws(middle, np.log(prices.cost(all_device_s, all_joules))))


def _without_energy(request: PredictionRequest, runs: list[Run]) -> tuple[Note, ...]:
    found = []
    measured = sum(measured_device_power(run) is not None for run in runs)
    if measured:
        message = f"only {measured} of {counted(len(runs), 'run')} measured it"
        found.append(Note("no_energy", f"energy is left out: {message}"))
    if request.price_per_kwh:
        message = "energy has a price, but not every run measured the energy of its GPUs"
        found.append(Note("no_cost", f"the cost is left out: {message}"))
    return tuple(found)


def _interval(logs: LogDraws, shift: float = 0.0) -> Interval:
    return draws_interval(float(clipped_exp(logs.middle + shift)), clipped_exp(logs.draws + shift))
