"""Advice as one sentence for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from wattlaw.analysis.groups import Factor, factors, group_title
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import quantity
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.laws.statistics.ratios import interval, log_ratio, pooled_noise

_NOUNS = {"cpu": ("process", "processes"), "cuda": ("GPU", "GPUs")}


class Tried(Protocol):
    """A setting that was run: its repeats and their times per sample, s."""

    @property
    def setting(self) -> Setting: ...
    @property
    def runs(self) -> list[Run]: ...
    @property
    def time(self) -> list[float]: ...


def sentence(
    group: Mapping[str, str],
    what: str,
    best: Tried,
    fastest: Tried,
    choices: Sequence[Tried],
    gain: Interval,
    slowdown: Interval,
    bound: float | None,
    chance: float | None,
) -> str:
    """Return the advice in words, such as "schnet: take 2 processes at batch 64: …"."""
    name = group_title(dict(group))
    telling = differing(c.runs[0] for c in choices)
    chosen = describe(best.runs[0], telling)
    if len(choices) == 1:
        return (
            f"{name}: {chosen} is the only setting that was run; run a second one for a comparison."
        )
    if best is fastest:
        least = (
            f"; it also needs the least {_title(what)}"
            if bound is None
            else _bound_words(what, bound, None)
        )
        return f"{name}: take {chosen}: {_fastest(best, choices, telling)}{_speedup(best, choices)}{least}."
    cost = f"{ranged(gain, percent=True)} less {_title(what)}"
    price = f"{ranged(slowdown, percent=True)} more time than the fastest ({describe(fastest.runs[0], telling)})"
    kept = _bound_words(what, bound, chance) if bound is not None else ""
    return f"{name}: take {chosen}: {cost} for {price}{kept}.{batch_words(best.setting, fastest.setting)}"


def describe(run: Run, telling: Sequence[str]) -> str:
    """Return a setting as people say it, naming only what tells the settings apart."""
    values = factors(run)
    words = [_devices(run.setting.devices, str(values["device_type"]))]
    if run.setting.nodes > 1 and "nodes" in telling:
        words[0] += f" on {run.setting.nodes} nodes"
    if "batch_per_device" in telling and run.setting.batch_per_device:
        words[0] += f" at batch {run.setting.batch_per_device}"
    units = {"power_cap_w": "W cap", "sm_clock_mhz": "MHz", "memory_clock_mhz": "MHz memory"}
    for field, unit in units.items():
        if field in telling:
            words.append("no cap" if values[field] is None else f"{values[field]:g} {unit}")
    plain = [
        n
        for n in telling
        if n not in (*units, "devices", "nodes", "devices_per_node", "batch_per_device")
    ]
    words += [_plain(n, values.get(n)) for n in plain]
    return ", ".join(words)


def ranged(value: Interval, percent: bool = False) -> str:
    """Return "1.7× [1.6, 1.8]", or with ``percent`` "12 % [10, 14]"; without brackets where no interval is known."""
    if percent:
        shown = [
            None if v is None else _percent(100 * v, _digits(100 * value.value))
            for v in _parts(value)
        ]
        return f"{shown[0]} %" + (f" [{shown[1]}, {shown[2]}]" if shown[1] and shown[2] else "")
    if value.low is None or value.high is None:
        return f"{value.value:.3g}×"
    return f"{value.value:.3g}× [{value.low:.3g}, {value.high:.3g}]"


def _parts(value: Interval) -> tuple[float, float | None, float | None]:
    return value.value, value.low, value.high


def _percent(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"


def _digits(percent: float) -> int:
    return 1 if abs(percent) < 10 else 0


def _fastest(best: Tried, choices: Sequence[Tried], telling: Sequence[str]) -> str:
    # geometric means: the order of settings and the interval are of the same average
    noise = pooled_noise([c.time for c in choices])
    rivals = [(log_ratio(c.time, best.time, noise), c) for c in choices if c is not best]
    ratio, second = min(rivals, key=lambda pair: pair[0].centre)
    found = interval(ratio)
    other = describe(second.runs[0], telling)
    if found.low is None:
        return f"the fastest setting by one run each, so nothing is known of chance ({other}: {ranged(found)} its time)"
    if found.low <= 1:
        return f"no clear difference from {other}, which takes {ranged(found)} its time"
    return "the fastest setting"


def _speedup(best: Tried, choices: Sequence[Tried]) -> str:
    # against the fewest devices, all else alike
    alike = [c for c in choices if _but_devices(c) == _but_devices(best)]
    first = min(alike, key=lambda c: c.setting.devices)
    if first.setting.devices == best.setting.devices:
        return ""
    ratio = interval(log_ratio(first.time, best.time, pooled_noise([c.time for c in choices])))
    return f", {ranged(ratio)} as fast as {_devices(first.setting.devices, _device_type(first))}"


def _but_devices(tried: Tried) -> list[tuple[str, Factor]]:
    return sorted(
        (k, v)
        for k, v in factors(tried.runs[0]).items()
        if k not in ("devices", "nodes", "devices_per_node")
    )


def _bound_words(what: str, bound: float, chance: float | None) -> str:
    limit = f"{100 * bound:.3g} %"
    if chance is None:
        return f"; no setting within {limit} of it needs less {_title(what)}"
    return f"; the bound of {limit} holds with probability {chance:.2f}"


def batch_words(best: Setting, fastest: Setting) -> str:
    """Return what to say where two settings differ in their global batch; "" where they do not."""
    totals = [(s.batch_per_device or 0) * s.devices for s in (best, fastest)]
    if totals[0] == totals[1] or not all(totals):
        return ""
    return (
        f" Its global batch is {totals[0]} instead of {totals[1]}, which changes the optimisation:"
        " the steps to a given loss may differ, and these figures are per sample."
    )


def differing(runs: Iterable[Run]) -> list[str]:
    """Return the factors in which runs differ."""
    all_factors = [factors(r) for r in runs]
    names = dict.fromkeys(n for f in all_factors for n in f)
    return [n for n in names if len({f.get(n) for f in all_factors}) > 1]


def _devices(count: int, device_type: str) -> str:
    one, many = _NOUNS.get(device_type, ("device", "devices"))
    return f"{count} {one if count == 1 else many}"


def _device_type(tried: Tried) -> str:
    return str(factors(tried.runs[0])["device_type"])


def _plain(name: str, value: Factor) -> str:
    if isinstance(value, bool) or value is None:
        return name if value else f"no {name}"
    return f"{name} {value}" if name != "precision" else str(value)


def _title(what: str) -> str:
    return quantity(what).title
