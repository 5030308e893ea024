"""The answer for one workload as sentences."""

from __future__ import annotations

import re
from typing import NamedTuple

from wattlaw.core.errors import reason
from wattlaw.core.findings import Advice, Fit, Interval
from wattlaw.core.quantities import quantity
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted, show
from wattlaw.report.context import Context
from wattlaw.report.context import SettingRow as Row
from wattlaw.report.context import WorkloadGroup as Group
from wattlaw.report.formatting import plain, shown
from wattlaw.report.speedups import Speedup, series_name, speedups

MOST_WARNINGS = 6


class Line(NamedTuple):
    """One line of the answer: the sentence, what it rests on, (kind, words) of its status, names of warnings."""

    short: str
    detail: str
    marks: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def answer(context: Context, group: Group) -> Line:
    """Return the answer for one workload."""
    advised = [a for a in context.advice if group.owns(a.group)]
    advice = advised[0] if advised else None
    if not group.rows:
        return Line(_all_failed(group), "", (("failed", f"{len(group.failed)} failed"),), ())
    row = group.row_of(advice.setting) if advice else None
    fit = _telling_fit(context, group, row)
    parts = [_faster(fit, group)] if fit else []
    parts.append(_take(advice, group, not fit or _is_clear(fit)) if advice else _only(group))
    detail = _detail(context, group, advice) if advice and len(group.rows) > 1 else ""
    if len(advised) > 1:
        detail = f"This is one of {len(advised)} kinds that are advised on apart: see “Which setting to take”. {detail}"
    return Line(
        glued("; ".join(p for p in parts if p) + "."),
        glued(detail),
        _marks(group),
        _warnings(group, fit, advice),
    )


def glued(text: str) -> str:
    """Return text in which no line breaks between a number and its unit."""
    return re.sub(
        r"(?<=\d) (?=(?:[TGMkmµn]?(?:s|J|W|Hz|B)|[TGMK]iB|%|min|h|d)\b|%)", "\u00a0", text
    )


def _telling_fit(context: Context, group: Group, row: Row | None) -> Fit | None:
    """Return the speed-up at the advised batch, precision and so on; else the greatest one."""
    known = [f for f in context.fits if group.owns(f.group) and speedups(f)]
    if row:
        known = [f for f in known if _covers(f, row)] or known
    return max(known, key=lambda f: speedups(f)[-1].value, default=None)


def _covers(fit: Fit, row: Row) -> bool:
    own = {**{k: str(v) for k, v in row.factors.items()}}
    return all(own.get(k, v) in (v, f"{v}.0") for k, v in fit.group.items())


def _faster(fit: Fit, group: Group) -> str:
    most = max(speedups(fit), key=lambda s: s.devices)
    where = series_name(fit, group)
    where = f" at {where}" if where.startswith("batch") else f" with {where}" if where else ""
    base, many = (counted(int(n), *group.device_words) for n in (most.base, most.devices))
    return f"{many} {_comparison(most, base)}{where}"


def _is_clear(fit: Fit) -> bool:
    return max(speedups(fit), key=lambda s: s.devices).is_clear


def _comparison(most: Speedup, base: str) -> str:
    if most.low is None:
        return f"are {most.words} as fast as {base} (one run each, so no interval)"
    if not most.is_clear:
        return f"are no clear gain over {base}: {most.words} as fast"
    if most.value > 1:
        return f"are {most.words} as fast as {base}"
    return f"are slower than {base}: {most.words} as fast"


def _take(advice: Advice, group: Group, clear: bool) -> str:
    name = label_of(group, advice.setting)
    if len(group.rows) == 1:
        return _only(group)
    if advice.setting == advice.baseline:
        # the mean that "Which setting to take" gives, not the median of the figures
        time = advice.predicted["time_per_sample_s"].value
        fastest = (
            "the fastest setting"
            if clear
            else "the fastest setting by its mean, though not clearly"
        )
        return f"take {name}, {fastest} ({show(time, 's')} a sample)"
    what = title_of(advice.minimise)
    return (
        f"take {name}: {percent(advice.gain)} less {what} for {percent(advice.slowdown)} more time"
    )


def _detail(context: Context, group: Group, advice: Advice) -> str:
    what = title_of(advice.minimise)
    if advice.setting != advice.baseline:
        return f"The fastest is {label_of(group, advice.baseline)}.{_surely(context, advice)}{_batches(advice)}"
    if context.max_slowdown is None:
        return f"It also needs the least {what}."
    return f"No other setting needs less {what} and is at most {100 * context.max_slowdown:g} % slower."


def _surely(context: Context, advice: Advice) -> str:
    chance, bound = advice.probability_bound_holds, context.max_slowdown
    if bound is None:
        return ""
    if chance is None:
        return f" How surely it is at most {100 * bound:g} % slower is not known without repeats."
    return f" It is at most {100 * bound:g} % slower with probability {chance_words(chance)}."


def _batches(advice: Advice) -> str:
    mine, other = (s.devices * (s.batch_per_device or 0) for s in (advice.setting, advice.baseline))
    if mine == other or not mine or not other:
        return ""
    return (
        f" Its global batch is {mine} instead of {other}, so the steps to a given loss may differ."
    )


def chance_words(chance: float) -> str:
    """Return a probability as "97 %", never as a certainty."""
    return "> 99 %" if chance > 0.99 else "< 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"


def title_of(name: str) -> str:
    """Return a quantity's short title within a sentence."""
    return {"energy_per_sample_j": "energy", "device_time_per_sample_s": "device time"}.get(
        name, quantity(name).title
    )


def label_of(group: Group, setting: Setting) -> str:
    """Return a setting as the figures name it."""
    row = group.row_of(setting)
    if row:
        return row.label
    devices = counted(setting.devices, *group.device_words)
    return devices + (f", batch {setting.batch_per_device}" if setting.batch_per_device else "")


def percent(interval: Interval) -> str:
    """Return a share as "12 % [10, 14]"."""
    if interval.low is None or interval.high is None:
        return f"{_places(interval.value, abs(interval.value))} %"
    # as many places as tell the ends apart, the same for all three
    width = min(interval.high - interval.low, abs(interval.value))
    value, low, high = (_places(v, width) for v in (interval.value, interval.low, interval.high))
    return f"{value} % [{low}, {high}]"


def _places(share: float, against: float) -> str:
    return f"{100 * share:.{0 if against >= 0.1 else 1}f}"


def _only(group: Group) -> str:
    row = group.rows[0]
    if len(group.rows) == 1:
        alone = "only this setting was run, so there is nothing to compare"
        return f"{row.label}: {_time(row)}; {alone}"
    return f"{len(group.rows)} settings were run, none of which can be advised"


def _time(row: Row) -> str:
    sample, whole = row.reading("time_per_sample_s"), row.reading("elapsed_s")
    if sample.value is None and whole.value is not None:
        return f"{shown(whole, 's')} in all, the samples are not known"
    return f"{shown(sample, 's')} a sample" if sample.value is not None else "its time is missing"


def _all_failed(group: Group) -> str:
    count = len(group.failed)
    why = reason(group.failed[0].error) or "no reason was recorded"
    return f"no run finished; {'the one' if count == 1 else f'all {count}'} failed: {why[:200]}"


def _marks(group: Group) -> tuple[tuple[str, str], ...]:
    has_time = any(
        r.reading(n).value is not None
        for r in group.rows
        for n in ("time_per_sample_s", "elapsed_s")
    )
    marks = [("measured", "time measured") if has_time else ("lost", "time missing")]
    statuses = {r.reading("energy_per_sample_j").status for r in group.rows}
    if statuses == {"measured"}:
        marks.append(("measured", "energy measured"))
    elif "estimated" in statuses:
        marks.append(("estimated", "energy estimated, not measured"))
    else:
        marks.append(("lost", "energy missing"))
    if group.failed:
        marks.append(("failed", f"{len(group.failed)} of {counted(len(group.runs), 'run')} failed"))
    return tuple(marks)


def _warnings(group: Group, fit: Fit | None, advice: Advice | None) -> tuple[str, ...]:
    notes = [n for row in group.rows for n in row.notes]
    notes += [*(fit.warnings if fit else ()), *(advice.warnings if advice else ())]
    # these two stand beside the line already
    names = list(
        dict.fromkeys(
            plain(n.name) for n in notes if n.name not in ("failed_runs", "no_energy_meter")
        )
    )
    more = (
        (counted(len(names) - MOST_WARNINGS, "more warning"),) if len(names) > MOST_WARNINGS else ()
    )
    return (*names[:MOST_WARNINGS], *more)
