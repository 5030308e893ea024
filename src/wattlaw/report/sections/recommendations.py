"""The advice in full: what each recommended setting saves and costs, with intervals."""

from __future__ import annotations

from wattlaw.advice.sentences import noun, percentage
from wattlaw.core.findings import Advice
from wattlaw.core.quantities import quantity
from wattlaw.report.answer import label_of, probability_words
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context, WorkloadGroup
from wattlaw.report.formatting import interval_text
from wattlaw.report.setting_names import joined
from wattlaw.report.speedups import group_words

NAMES = {"advice": "advice"}

MAX_ROWS = 200
COLUMNS = [
    "workload",
    "recommended",
    "instead of",
    "time per sample",
    "objective",
    "saved",
    "slower by",
    "constraint holds",
]


def advice(context: Context) -> Section | None:
    """List the recommended setting of every group of settings that were compared."""
    rows = []
    for group in context.groups:
        for one in context.advice:
            if len(group.rows) > 1 and group.owns(one.group):
                rows.append(_row(group, one))
    if not rows:
        return None
    limit = ""
    if context.max_slowdown is not None:
        bound = f"{100 * context.max_slowdown:g} %"
        limit = f" among those at most {bound} slower than the fastest"
    words = (
        f"The setting with the least of its objective{limit}. Values are geometric means over "
        "the repeats, brackets are 90 % intervals."
    )
    table = PageTable(COLUMNS, rows[:MAX_ROWS], "Advice").without_empty_columns()
    return Section("advice", "Which setting to take", 42, paragraphs=[words], tables=[table])


def _row(group: WorkloadGroup, found: Advice) -> list[str]:
    kind = group_words(found.group, group)
    objective = quantity(found.minimise)
    value = interval_text(found.predicted.get(found.minimise), objective.unit, "missing")
    time = interval_text(found.predicted.get("time_per_sample_s"), "s", "missing")
    recommended = label_of(group, found.setting)
    if not found.is_measured:
        recommended += " (predicted)"
    row = [
        joined([group.name, kind]),
        recommended,
        "it is the fastest",
        time,
        f"{noun(found.minimise)}: {value}",
    ]
    if found.setting == found.baseline:
        return [*row, "", "", ""]
    row[2] = label_of(group, found.baseline)
    probability = found.probability_bound_holds
    shown = "" if probability is None else probability_words(probability)
    return [*row, percentage(found.gain), percentage(found.slowdown), shown]
