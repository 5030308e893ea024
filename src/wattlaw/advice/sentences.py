"""Advice as short sentences: what to take, what that gains, what limits it, what to run next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from wattlaw.advice.verdict import is_clear, share_saved, transform
from wattlaw.analysis.groups import Factor, factors, group_title
from wattlaw.core.findings import Interval
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, TIME, quantity
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted
from wattlaw.laws.statistics.ratios import interval, log_ratio, pooled_noise

if TYPE_CHECKING:
    from wattlaw.advice.advise import MeasuredSetting
    from wattlaw.advice.candidates import Candidate

DEVICE_NOUNS = {"cpu": ("process", "processes"), "cuda": ("GPU", "GPUs")}

_NOUNS = {DEVICE_TIME: "device time", ENERGY: "energy"}

_MAX_PERCENT = 4.0
"""More than this many times as much is shown as a factor, not in percent."""

_UNKNOWN_NOISE = "Without repeats, the run-to-run variation is unknown."


class AdviceComparison(NamedTuple):
    """A recommended setting compared with the baseline.

    objective     quantity that was minimised
    gain          share of it that the setting saves
    slowdown      share of time that it adds
    limits        every limit as text
    probability   that all limits hold; None if there is no limit, or nothing was repeated
    baseline_satisfies_limits   whether the baseline could have been recommended
    """

    objective: str
    gain: Interval
    slowdown: Interval
    limits: tuple[str, ...] = ()
    probability: float | None = None
    baseline_satisfies_limits: bool = True


class NextRun(NamedTuple):
    """The candidate to run next, the share its run is expected to save, and the noise of a run."""

    candidate: Candidate
    saves: float
    noise: float


def advice_on_runs(
    group: Mapping[str, str],
    best: MeasuredSetting,
    fastest: MeasuredSetting,
    considered: Sequence[MeasuredSetting],
    allowed: Sequence[MeasuredSetting],
    comparison: AdviceComparison,
) -> str:
    """Return advice among settings that were run; ``allowed`` are those within the limits."""
    names = differing(c.runs[0] for c in considered)
    chosen = describe(best.runs[0], names)
    if len(considered) == 1:
        only = f"{chosen} is the only setting that was run. Run a second one to compare it with."
        return f"{group_title(dict(group))}: {only}"
    if best is fastest:
        sentences = _fastest(best, considered, names)
        sentences += _least_cost(best, allowed, comparison, names)
    else:
        baseline = describe(fastest.runs[0], names)
        sentences = compared(chosen, f"{baseline}, the fastest setting", comparison)
    sentences += limit_sentences(comparison.limits, comparison.probability)
    sentences += batch_sentences(best.setting, fastest.setting)
    return joined(group, sentences)


def advice_on_devices(
    group: Mapping[str, str],
    best: Candidate,
    fastest: Candidate,
    candidates: Sequence[Candidate],
    comparison: AdviceComparison,
    following: NextRun,
) -> str:
    """Return advice among device counts, including some that were not run."""
    names = differing(c.run for c in candidates)
    chosen = describe(best.run, names)
    if best is fastest:
        cost = noun(comparison.objective)
        sentences = [
            f"take {chosen}, the fastest setting that was run",
            f"{_within(comparison.limits)}no other setting is expected to take clearly less {cost}",
        ]
    else:
        baseline = f"{describe(fastest.run, names)}, the fastest setting that was run"
        sentences = compared(f"{chosen}{_origin(best)}", baseline, comparison)
    sentences += limit_sentences(comparison.limits, comparison.probability)
    sentences += _next_run(following, names)
    sentences += batch_sentences(best.run.setting, fastest.run.setting)
    return joined(group, sentences)


def advice_on_cap(
    group: Mapping[str, str],
    chosen: str,
    origin: str,
    highest: str,
    comparison: AdviceComparison,
    next_cap: str,
) -> str:
    """Return advice on a power cap; ``chosen`` and ``highest`` are equal if the cap should stay.

    ``origin`` says where the figures of a cap that was not run come from.
    """
    if chosen == highest:
        cost = noun(comparison.objective)
        sentences = [
            f"leave the cap at {highest}",
            f"{_within(comparison.limits)}no lower cap takes clearly less {cost}",
        ]
    else:
        baseline = f"a cap of {highest}, the highest that was run"
        sentences = compared(f"a cap of {chosen} on each device{origin}", baseline, comparison)
    sentences += limit_sentences(comparison.limits, comparison.probability)
    if next_cap:
        sentences.append(f"The most informative next run is a cap of {next_cap}")
    else:
        sentences.append("No further run is worthwhile")
    return joined(group, sentences)


def compared(chosen: str, baseline: str, comparison: AdviceComparison) -> list[str]:
    """Return the recommendation of a setting other than the baseline, and what it gains.

    A gain whose interval includes 0 is called no clear difference.
    """
    gain, slowdown = comparison.gain, comparison.slowdown
    cost = noun(comparison.objective)
    change = changed(gain, cost)
    if not comparison.baseline_satisfies_limits:
        sentences = [
            f"take {chosen}",
            f"{baseline}, violates a limit",
            f"Compared with it, the first takes {change}",
        ]
        if not is_clear(gain):
            sentences[-1] += ", which is no clear difference"
    elif is_clear(gain):
        sentences = [f"take {chosen}", f"Per sample it takes {change} than {baseline}"]
    else:
        sentences = [
            f"no clear difference in {cost} between {chosen} and {baseline}",
            "Take the first, whose mean is lower",
            f"Per sample it takes {change}",
        ]
    if comparison.objective != TIME:
        sentences.append(f"It takes {changed(_negative(slowdown), 'time')}")
    if gain.low is None:
        sentences.append(_UNKNOWN_NOISE)
    return sentences


def limit_sentences(limits: Sequence[str], probability: float | None) -> list[str]:
    """Return the limits and the probability that they hold; [] if there is none."""
    if not limits:
        return []
    word = "Limit" if len(limits) == 1 else "Limits"
    sentences = [f"{word}: {'; '.join(limits)}"]
    if probability is not None:
        subject = "It holds" if len(limits) == 1 else "All hold"
        shown = "above 0.99" if probability > 0.99 else f"{probability:.2f}"
        sentences.append(f"{subject} with probability {shown}")
    return sentences


def batch_sentences(best: Setting, baseline: Setting) -> list[str]:
    """Return what a different global batch means; [] if both settings have the same."""
    mine, other = global_batch(best), global_batch(baseline)
    if mine == other or not mine or not other:
        return []
    return [
        f"Its global batch is {mine} instead of {other}",
        "That changes the optimisation, so the steps to a given loss may differ",
    ]


def global_batch(setting: Setting) -> int:
    """Return the samples of one optimiser step of all devices; 0 if the batch is unknown."""
    accumulation = setting.options.get("accumulation", 1)
    return (setting.batch_per_device or 0) * setting.devices * int(accumulation)


def joined(group: Mapping[str, str], sentences: Sequence[str]) -> str:
    """Return sentences as one text that begins with the group."""
    first, *others = sentences
    text = ". ".join([first, *(other[:1].upper() + other[1:] for other in others)])
    return f"{group_title(dict(group))}: {text}."


def describe(run: Run, names: Sequence[str]) -> str:
    """Return the setting of a run in words, with the factors in ``names`` only."""
    values = factors(run)
    setting = run.setting
    words = [_count_devices(setting.devices, str(values["device_type"]))]
    if setting.nodes > 1 and "nodes" in names:
        words[0] += f" on {setting.nodes} nodes"
    if "batch_per_device" in names and setting.batch_per_device:
        words[0] += f" at batch {setting.batch_per_device}"
    units = {"power_cap_w": "W cap", "sm_clock_mhz": "MHz", "memory_clock_mhz": "MHz memory"}
    for field, unit in units.items():
        if field in names:
            words.append("no cap" if values[field] is None else f"{values[field]:g} {unit}")
    described = {*units, "devices", "nodes", "devices_per_node", "batch_per_device"}
    words += [_factor_words(name, values.get(name)) for name in names if name not in described]
    return ", ".join(words)


def differing(runs: Iterable[Run]) -> list[str]:
    """Return the factors in which runs differ."""
    rows = [factors(run) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    found = []
    for name in names:
        values = {row.get(name) for row in rows}
        if len(values) > 1:
            found.append(name)
    return found


def changed(gain: Interval, what: str) -> str:
    """Return a share saved as "12 % [10, 14] less energy", "3 % more time" or "5.1× the energy"."""
    if gain.value >= 0:
        return f"{percentage(gain)} less {what}"
    ratio = transform(gain, lambda share: 1 - share)
    if ratio.value > _MAX_PERCENT:
        return f"{multiple(ratio)} the {what}"
    return f"{percentage(_negative(gain))} more {what}"


def percentage(share: Interval) -> str:
    """Return a share as "12 % [10, 14]"; without brackets if there is no interval."""
    is_small = abs(share.value) < 0.1
    if share.low is None or share.high is None:
        return f"{_percent(share.value, int(is_small))} %"
    # enough digits to distinguish the ends
    digits = int(is_small or share.high - share.low < 0.02)
    ends = f"[{_percent(share.low, digits)}, {_percent(share.high, digits)}]"
    return f"{_percent(share.value, digits)} % {ends}"


def multiple(ratio: Interval) -> str:
    """Return a ratio as "1.7× [1.6, 1.8]"; without brackets if there is no interval."""
    text = f"{ratio.value:.3g}×"
    if ratio.low is None or ratio.high is None:
        return text
    return f"{text} [{ratio.low:.3g}, {ratio.high:.3g}]"


def noun(name: str) -> str:
    """Return a quantity per sample as a noun, such as "GPU energy"."""
    return _NOUNS.get(name, quantity(name).title.removesuffix(" per sample"))


def _percent(share: float, digits: int) -> str:
    value = 100 * share
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"


def _negative(change: Interval) -> Interval:
    return transform(change, lambda share: -share)


def _fastest(
    best: MeasuredSetting, considered: Sequence[MeasuredSetting], names: Sequence[str]
) -> list[str]:
    # settings are ordered by geometric means, to which the intervals belong too
    chosen = describe(best.runs[0], names)
    noise = pooled_noise([c.values[TIME] for c in considered])

    def times_as_long(setting: MeasuredSetting) -> Interval:
        return interval(log_ratio(setting.values[TIME], best.values[TIME], noise))

    fewest = _on_fewest_devices(best, considered)
    sentences = []
    if fewest.setting.devices != best.setting.devices:
        device_type = str(factors(fewest.runs[0])["device_type"])
        devices = _count_devices(fewest.setting.devices, device_type)
        sentences.append(f"It is {multiple(times_as_long(fewest))} as fast as {devices}")
    rivals = [c for c in considered if c is not best]
    second = min(rivals, key=lambda c: c.mean(TIME))
    ratio = times_as_long(second)
    other = describe(second.runs[0], names)
    if ratio.low is None:
        if second is not fewest:
            sentences.append(f"{other} took {multiple(ratio)} as long")
        return [
            f"take {chosen}, the fastest setting in one run of each",
            *sentences,
            _UNKNOWN_NOISE,
        ]
    if ratio.low <= 1:
        return [
            f"no clear difference in time between {chosen} and {other}",
            "Take the first, whose mean is lower",
            f"The second takes {multiple(ratio)} as long",
        ]
    return [f"take {chosen}, the fastest setting", *sentences]


def _on_fewest_devices(
    best: MeasuredSetting, considered: Sequence[MeasuredSetting]
) -> MeasuredSetting:
    # with all other factors equal
    same = [c for c in considered if _factors_except_layout(c) == _factors_except_layout(best)]
    return min(same, key=lambda c: c.setting.devices)


def _factors_except_layout(tried: MeasuredSetting) -> list[tuple[str, Factor]]:
    layout = ("devices", "nodes", "devices_per_node")
    return sorted((k, v) for k, v in factors(tried.runs[0]).items() if k not in layout)


def _least_cost(
    best: MeasuredSetting,
    allowed: Sequence[MeasuredSetting],
    comparison: AdviceComparison,
    names: Sequence[str],
) -> list[str]:
    # the cost of the fastest setting compared with the cheapest within the limits
    objective = comparison.objective
    if objective == TIME:
        return []
    cost, within = noun(objective), _within(comparison.limits)
    cheapest = min(allowed, key=lambda c: c.mean(objective))
    if cheapest is best or cheapest.mean(objective) == best.mean(objective):
        return [f"{within}no other setting takes less {cost}"]
    noise = pooled_noise([c.values[objective] for c in allowed])
    ratio = interval(log_ratio(cheapest.values[objective], best.values[objective], noise))
    gain = share_saved(ratio)
    other = describe(cheapest.runs[0], names)
    return [
        f"{within}no other setting takes clearly less {cost}",
        f"the slower setting, {other}, takes {changed(gain, cost)}, which is no clear difference",
    ]


def _within(limits: Sequence[str]) -> str:
    if not limits:
        return ""
    return "Within the limit, " if len(limits) == 1 else "Within the limits, "


def _origin(candidate: Candidate) -> str:
    if candidate.is_measured:
        return ""
    return " (not run, extrapolated)" if candidate.is_beyond else " (not run)"


def _next_run(following: NextRun, names: Sequence[str]) -> list[str]:
    saves = f"{100 * following.saves:.1f} %"
    if following.saves <= following.noise:
        return [
            f"No further run is worthwhile: the best one is expected to save {saves}, and single "
            f"runs vary by {100 * following.noise:.1f} %"
        ]
    setting = describe(following.candidate.run, names)
    verb = "repeat " if following.candidate.is_measured else ""
    return [f"Next run: {verb}{setting}", f"It is expected to save {saves}"]


def _count_devices(number: int, device_type: str) -> str:
    return counted(number, *DEVICE_NOUNS.get(device_type, ("device", "devices")))


def _factor_words(name: str, value: Factor) -> str:
    if isinstance(value, bool) or value is None:
        return name if value else f"no {name}"
    return f"{name} {value}" if name != "precision" else str(value)
