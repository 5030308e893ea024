"""Time, energy and cost of a setting that nobody has run, composed of the laws of those that were.

rate(N, batch, nodes)   the α–β law of the group's runs, with the prior of published ones (scaling.py)
× cap                   t(P) and E(P) of the group's capped runs (caps.py), against the highest cap
× stragglers            the maximum of N step times grows with N (network.py), beyond the largest N that was run
energy                  mean power of a device, as measured, × devices × time
With runs of one size only, communication comes from the ring formula where message and link are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

import msgspec
import numpy as np

from wattlaw.core.derive import derive
from wattlaw.core.errors import FitError, UsageError
from wattlaw.core.findings import Interval
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.laws.alphabeta import scaling_of
from wattlaw.laws.caps import CapLaw, fit_caps
from wattlaw.laws.families import batch_of, rate_of
from wattlaw.laws.groups import Group, grouped
from wattlaw.laws.network import MOST_DEVICES, exposed, ring_all_reduce, straggling
from wattlaw.laws.scaling import REACH, Points

WIDEST = 2.0
"""An extrapolation whose interval spans more than this factor is refused unless it is asked for."""

BACKWARD_SHARE = 2 / 3
"""Share of a step's compute in the backward pass: twice the forward pass's operations."""

_J_PER_KWH = 3.6e6


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The setting asked about, and what prices it.

    devices, nodes, batch_per_device, power_cap_w    the setting; None keeps what the runs had
    samples                                          work to be done; 1 gives figures per sample
    price_per_device_hour, price_per_kwh             in any one currency
    step_spread                                      relative standard deviation of one device's step times
    message_bytes, link_bytes_per_s, link_latency_s  gradient and slowest link, where one size only was run
    """

    devices: int
    nodes: int | None = None
    batch_per_device: int | None = None
    power_cap_w: float | None = None
    samples: float = 1.0
    price_per_device_hour: float | None = None
    price_per_kwh: float | None = None
    step_spread: float = 0.0
    message_bytes: float | None = None
    link_bytes_per_s: float | None = None
    link_latency_s: float = 1e-5


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One group's prediction; ``quantities`` holds value and 90 % interval by name, ``extrapolated`` says why if so."""

    group: dict[str, str]
    setting: dict[str, float]
    quantities: dict[str, Interval]
    extrapolated: str = ""
    warnings: tuple[Note, ...] = ()


def predict(runs: Iterable[Run], wanted: Wanted, extrapolate: bool = False) -> list[Prediction]:
    """Predict the setting for each group of runs that differ in devices, batch and cap only.

    Raises UsageError for an impossible setting, and FitError where no group tells enough, or where every
    prediction reaches beyond the runs with an interval wider than a factor of two (``extrapolate`` allows it).
    """
    _check(wanted)
    groups, notes = grouped(runs, ("devices", "batch_per_device", "power_cap_w"), split_layouts=False)
    found, faults = [], []
    for group in groups:
        try:
            found.append(_predict_group(group, wanted, extrapolate, notes))
        except FitError as error:
            faults.append(f"{', '.join(group.key.values())}: {error}")
    if not found:
        raise FitError("; ".join(faults) or "there is no run to predict from")
    return found


def _predict_group(group: Group, wanted: Wanted, extrapolate: bool, notes: tuple[Note, ...]) -> Prediction:
    runs = [r for r in group.runs if rate_of(r) and batch_of(r)]
    if not runs:
        raise FitError("no run gives both a rate and a batch")
    base = _uncapped(runs)
    point, share = _point(wanted, base)
    log_t, draws, why, more = _time(base, point, share, wanted)
    energy = _power(base)
    if wanted.power_cap_w is not None:
        slower, dearer = _cap(runs, wanted.power_cap_w)
        log_t, draws = log_t + slower[0], draws + slower[1]
        energy = None if energy is None or dearer is None else energy + (dearer[0] - slower[0])
    time = _spread(log_t, draws)
    if why and time.high and time.low and time.high / time.low > WIDEST and not extrapolate:
        raise FitError(
            f"the interval of {point.devices[0]:g} devices spans a factor of {time.high / time.low:.2g} ({why}); "
            f"run nearer to it, or ask for extrapolation"
        )
    return Prediction(
        group=group.key,
        setting={"devices": wanted.devices, "nodes": float(point.nodes[0]), "batch_per_device": share,
                 **({"power_cap_w": wanted.power_cap_w} if wanted.power_cap_w else {})},
        quantities=_quantities(log_t, draws, energy, wanted, share),
        extrapolated=why,
        warnings=(*notes, *more),
    )  # fmt: skip


def _time(
    runs: list[Run], point: Points, share: float, wanted: Wanted
) -> tuple[float, np.ndarray, str, tuple[Note, ...]]:
    sizes = {(r.setting.devices, batch_of(r)) for r in runs}
    if len(sizes) < 2:
        return _by_formula(runs, point, share, wanted)
    law, seen, _ = scaling_of(runs)
    middle, columns = law.log_rate(point)
    draws, log_t = -columns[law.posterior.picked(), 0], -float(middle[0])
    for noise in law.noises(point)[0]:
        draws = draws + _noise(float(np.sqrt(law.posterior.weights @ noise.scale**2)), noise.df, len(draws))
    if wanted.step_spread:
        most = float(seen.devices.max())
        factor = straggling([wanted.devices, min(wanted.devices, most)], wanted.step_spread)
        log_t, draws = log_t + math.log(factor[0] / factor[1]), draws + math.log(factor[0] / factor[1])
    why = "outside the devices or the batch a device that were run" if law.extrapolates(point)[0] else ""
    return log_t, draws, why, ()


def _by_formula(
    runs: list[Run], point: Points, share: float, wanted: Wanted
) -> tuple[float, np.ndarray, str, tuple[Note, ...]]:
    if wanted.message_bytes is None or wanted.link_bytes_per_s is None:
        raise FitError("runs of one size say nothing of another; run a second, or give message and link bandwidth")
    first = runs[0]
    if first.setting.devices != 1:
        raise FitError("the formula starts from runs on one device; these used more")
    step = math.exp(fmean(math.log((batch_of(r) or 1.0) / (rate_of(r) or 1.0)) for r in runs))
    step *= share / (batch_of(first) or share)
    n = float(point.devices[0])
    ring = ring_all_reduce([n], wanted.message_bytes, wanted.link_latency_s, wanted.link_bytes_per_s)
    total = (step + float(exposed(ring, BACKWARD_SHARE * step)[0])) * float(straggling([n], wanted.step_spread)[0])
    log_t = math.log(total / (n * share))
    note = Note("formula", "communication is the ring's formula, not measured; run two devices to check it")
    draws = log_t + _noise(REACH * max(math.log(n), 1.0), 30.0, 512)
    return log_t, draws, "communication was never measured", (note,)


def _cap(runs: list[Run], cap: float) -> tuple[tuple[float, np.ndarray], tuple[float, np.ndarray] | None]:
    # time and energy at the cap against the highest cap that was run
    capped = [r for r in runs if r.setting.power_cap_w is not None]
    sizes: dict[int, list[Run]] = {}
    for run in capped:
        sizes.setdefault(run.setting.devices, []).append(run)
    probes = max(sizes.values(), key=lambda rs: len({r.setting.power_cap_w for r in rs}), default=[])
    powers = [_device_power(r) for r in probes]
    watts = None if any(p is None for p in powers) else [p for p in powers if p is not None]
    law = fit_caps([r.setting.power_cap_w or 0.0 for r in probes], [1 / (rate_of(r) or 1.0) for r in probes], watts)
    if cap < law.lowest_w or cap > law.scale_w:
        raise FitError(f"a cap of {cap:g} W is outside the caps that were run, {law.lowest_w:g} to {law.scale_w:g} W")
    picked = law.posterior.picked(seed=3)
    return _against(law, law.log_time([cap, law.scale_w]), picked), (
        _against(law, law.log_energy([cap, law.scale_w]), picked) if law.has_power else None
    )


def _against(law: CapLaw, both: tuple[np.ndarray, np.ndarray], picked: np.ndarray) -> tuple[float, np.ndarray]:
    best, draws = both
    return float(best[0] - best[1]), (draws[:, 0] - draws[:, 1])[picked]


def _uncapped(runs: list[Run]) -> list[Run]:
    # the runs that the device law is made of: without a cap, or at the highest
    free = [r for r in runs if r.setting.power_cap_w is None]
    if free:
        return free
    most = max(r.setting.power_cap_w or 0.0 for r in runs)
    return [r for r in runs if r.setting.power_cap_w == most]


def _point(wanted: Wanted, runs: list[Run]) -> tuple[Points, float]:
    each = max(r.setting.devices_per_node for r in runs)
    nodes = wanted.nodes or max(1, math.ceil(wanted.devices / each))
    largest = max(runs, key=lambda r: r.setting.devices)
    share = float(wanted.batch_per_device or (batch_of(largest) or 1.0) / largest.setting.devices)
    return Points.of([wanted.devices], [share * wanted.devices], [nodes]), share


def _device_power(run: Run) -> float | None:
    reading = derive(run, "gpu_mean_power_w")
    if reading.value is not None and reading.status == "measured":
        return reading.value / run.setting.devices
    joules, seconds = derive(run, "gpu_energy_j"), derive(run, "elapsed_s").value
    if joules.value is None or joules.status != "measured" or not seconds:
        return None
    return joules.value / seconds / run.setting.devices


def _power(runs: list[Run]) -> float | None:
    # ln of the mean power of one device, where every run measured it
    powers = [_device_power(r) for r in runs]
    known = [p for p in powers if p is not None and p > 0]
    return fmean(math.log(p) for p in known) if known and len(known) == len(powers) else None


def _quantities(
    log_t: float, draws: np.ndarray, log_watt: float | None, wanted: Wanted, share: float
) -> dict[str, Interval]:
    hours = math.log(wanted.samples * wanted.devices / 3600)
    found = {
        "time_per_sample_s": _spread(log_t, draws),
        "step_time_s": _spread(log_t, draws, math.log(share * wanted.devices)),
        "time_s": _spread(log_t, draws, math.log(wanted.samples)),
        "device_hours": _spread(log_t, draws, hours),
    }
    money = wanted.price_per_device_hour or 0.0
    if log_watt is not None:
        joules = log_watt + math.log(wanted.devices * wanted.samples)
        found["energy_j"] = _spread(log_t, draws, joules)
        # per device-hour, so that both parts of the cost share one time
        money += (wanted.price_per_kwh or 0.0) * math.exp(log_watt) * 3600 / _J_PER_KWH
    if money:
        found["cost"] = _spread(log_t, draws, hours + math.log(money))
    return found


def _spread(log_value: float, draws: np.ndarray, shift: float = 0.0) -> Interval:
    low, high = np.quantile(draws, [0.05, 0.95])
    value = math.exp(log_value + shift)
    return Interval(value, min(math.exp(low + shift), value), max(math.exp(high + shift), value))


def _noise(scale: float, df: float, count: int) -> np.ndarray:
    from scipy import special

    uniform = np.random.default_rng(7).permutation((np.arange(count) + 0.5) / count)
    found: np.ndarray = scale * special.stdtrit(df, uniform)
    return found


def _check(wanted: Wanted) -> None:
    if not 1 <= wanted.devices <= MOST_DEVICES:
        raise UsageError(f"devices is {wanted.devices}; give 1 to {MOST_DEVICES}")
    if wanted.nodes is not None and not 1 <= wanted.nodes <= wanted.devices:
        raise UsageError(f"nodes is {wanted.nodes}; give 1 to the number of devices")
    for name in ("batch_per_device", "power_cap_w", "samples", "price_per_device_hour", "price_per_kwh"):
        value = getattr(wanted, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value}; give a positive number")
