"""The answer for one workload in short sentences: the speedup, and the recommended setting."""

from __future__ import annotations

import re
from typing import NamedTuple

from wattlaw.advice.sentences import (
    AdviceComparison,
    batch_sentences,
    compared,
    limit_sentences,
    noun,
)
from wattlaw.core.errors import reason
from wattlaw.core.factors import factor_label
from wattlaw.core.findings import Advice, Fit
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted, show
from wattlaw.report.context import Context, SettingRow, WorkloadGroup
from wattlaw.report.formatting import plain, shown
from wattlaw.report.speedups import SpeedupPoint, series_name, speedups

MAX_WARNINGS = 6

_UNIT_SPACE = re.compile(r"(?<=\d) (?=(?:[TGMkmµn]?(?:s|J|W|Hz|B)|[TGMK]iB|%|min|h|d)\b|%)")


class AnswerLine(NamedTuple):
    """The answer for one workload.

    short      sentences with the recommendation
    detail     sentences on what limits it
    marks      (kind, text) of what was measured and what failed
    warnings   names of warnings
    """

    short: str
    detail: str
    marks: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def answer(context: Context, group: WorkloadGroup) -> AnswerLine:
    """Return the answer for one workload."""
    if not group.rows:
        failed = (("failed", f"{len(group.failed)} failed"),)
        return AnswerLine(_all_failed(group), "", failed, ())
    advised = [advice for advice in context.advice if group.owns(advice.group)]
    advice = advised[0] if advised else None
    row = group.row_of(advice.setting) if advice else None
    fit = _matching_fit(context, group, row)
    sentences = [_speedup_sentence(fit, group)] if fit else []
    detail: list[str] = []
    if advice is None or len(group.rows) == 1:
        sentences.append(_without_advice(group))
    else:
        sentences += _recommendation(advice, group, not fit or _is_clear(fit))
        detail = _detail(context, advice)
    if len(advised) > 1:
        detail.insert(
            0, f"This is the first of {len(advised)} recommendations; see “Which setting to take”"
        )
    return AnswerLine(
        keep_units(_as_text(sentences)),
        keep_units(_as_text(detail)),
        _marks(group),
        _warnings(group, fit, advice),
    )


def keep_units(text: str) -> str:
    """Return sentences in which no line breaks between a number and its unit."""
    return _UNIT_SPACE.sub("\u00a0", text)


def probability_words(probability: float) -> str:
    """Return a probability as "97 %", never as a certainty."""
    if probability > 0.99:
        return "> 99 %"
    return "< 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"


def label_of(group: WorkloadGroup, setting: Setting) -> str:
    """Return a setting as the figures name it."""
    row = group.row_of(setting)
    if row:
        return row.label
    devices = counted(setting.devices, *group.device_words)
    return devices + (f", batch {setting.batch_per_device}" if setting.batch_per_device else "")


def _as_text(sentences: list[str]) -> str:
    # sentences.py leaves the first letter small, for a group's name before it
    return " ".join(f"{s[:1].upper()}{s[1:].removesuffix('.')}." for s in sentences if s)


def _matching_fit(context: Context, group: WorkloadGroup, row: SettingRow | None) -> Fit | None:
    """Return the speedup at the recommended batch, precision and so on; else the largest one."""
    known = [fit for fit in context.fits if group.owns(fit.group) and speedups(fit)]
    if row:
        known = [fit for fit in known if _covers(fit, row)] or known
    return max(known, key=lambda fit: speedups(fit)[-1].value, default=None)


def _covers(fit: Fit, row: SettingRow) -> bool:
    shared = row.factors.keys() & fit.group.keys()
    return all(factor_label(name, row.factors[name]) == fit.group[name] for name in shared)


def _on_most_devices(fit: Fit) -> SpeedupPoint:
    return max(speedups(fit), key=lambda speedup: speedup.devices)


def _is_clear(fit: Fit) -> bool:
    return _on_most_devices(fit).is_clear


def _speedup_sentence(fit: Fit, group: WorkloadGroup) -> str:
    most = _on_most_devices(fit)
    base, many = (counted(int(n), *group.device_words) for n in (most.base, most.devices))
    name = series_name(fit, group)
    where = f" with {name}" if name else ""
    if name.startswith("batch"):
        where = f" at {name}"
    return f"{many} {_comparison(most, base)}{where}"


def _comparison(most: SpeedupPoint, base: str) -> str:
    if most.low is None:
        return f"are {most.words} as fast as {base} (one run each, so no interval)"
    if not most.is_clear:
        return f"are no clear gain over {base}: {most.words} as fast"
    if most.value > 1:
        return f"are {most.words} as fast as {base}"
    return f"are slower than {base}: {most.words} as fast"


def _recommendation(advice: Advice, group: WorkloadGroup, is_clear: bool) -> list[str]:
    chosen = label_of(group, advice.setting)
    if advice.setting != advice.baseline:
        baseline = f"{label_of(group, advice.baseline)}, the fastest setting"
        comparison = AdviceComparison(advice.minimise, advice.gain, advice.slowdown)
        return compared(chosen, baseline, comparison)
    # the mean that "Which setting to take" shows, not the median of the figures
    time = show(advice.predicted["time_per_sample_s"].value, "s")
    if is_clear:
        return [f"take {chosen}, the fastest setting ({time} per sample)"]
    return [
        f"take {chosen}, the fastest setting by its mean, though not clearly ({time} per sample)"
    ]


def _detail(context: Context, advice: Advice) -> list[str]:
    cost, bound = noun(advice.minimise), context.max_slowdown
    if advice.setting == advice.baseline:
        within = "" if bound is None else f" within a slowdown of {100 * bound:g} %"
        return [f"No other setting takes clearly less {cost}{within}"]
    limits = [] if bound is None else [f"slowdown ≤ {100 * bound:g} %"]
    sentences = limit_sentences(limits, advice.probability_bound_holds)
    return [*sentences, *batch_sentences(advice.setting, advice.baseline)]


def _without_advice(group: WorkloadGroup) -> str:
    if len(group.rows) > 1:
        return f"{len(group.rows)} settings were run, and none of them can be recommended"
    row = group.rows[0]
    return f"{row.label}: {_time(row)}; it is the only setting that was run"


def _time(row: SettingRow) -> str:
    sample, whole = row.reading("time_per_sample_s"), row.reading("elapsed_s")
    if sample.value is not None:
        return f"{shown(sample, 's')} per sample"
    if whole.value is not None:
        return f"{shown(whole, 's')} in all, with an unknown number of samples"
    return "its time is missing"


def _all_failed(group: WorkloadGroup) -> str:
    count = len(group.failed)
    which = "the only one" if count == 1 else f"all {count}"
    why = reason(group.failed[0].error) or "no reason was recorded"
    return f"No run finished; {which} failed: {why[:200]}"


def _marks(group: WorkloadGroup) -> tuple[tuple[str, str], ...]:
    names = ("time_per_sample_s", "elapsed_s")
    times = [row.reading(name).value for row in group.rows for name in names]
    has_time = any(time is not None for time in times)
    marks = [("measured", "time measured") if has_time else ("lost", "time missing")]
    statuses = {row.reading("energy_per_sample_j").status for row in group.rows}
    if statuses == {"measured"}:
        marks.append(("measured", "energy measured"))
    elif "estimated" in statuses:
        marks.append(("estimated", "energy estimated, not measured"))
    else:
        marks.append(("lost", "energy missing"))
    if group.failed:
        runs = counted(len(group.runs), "run")
        marks.append(("failed", f"{len(group.failed)} of {runs} failed"))
    return tuple(marks)


def _warnings(group: WorkloadGroup, fit: Fit | None, advice: Advice | None) -> tuple[str, ...]:
    notes = [note for row in group.rows for note in row.notes]
    if fit is not None:
        notes += fit.warnings
    if advice is not None:
        notes += advice.warnings
    # the marks show these two already
    shown_as_marks = ("failed_runs", "no_energy_meter")
    names = dict.fromkeys(plain(note.name) for note in notes if note.name not in shown_as_marks)
    found = list(names)[:MAX_WARNINGS]
    if len(names) > MAX_WARNINGS:
        found.append(counted(len(names) - MAX_WARNINGS, "more warning"))
    return tuple(found)
