"""The advice in full: what each setting gains and costs, and how sure that is."""

from __future__ import annotations

from markupsafe import Markup

from wattlaw.core.findings import Advice, Interval
from wattlaw.core.quantities import quantity
from wattlaw.report.context import Context, Group
from wattlaw.report.figure import Section, filled, with_ends
from wattlaw.report.speedups import group_words
from wattlaw.report.words import chance_words, label_of, percent, title_of

NAMES = {"advice": "advice"}

MOST_ROWS = 200
COLUMNS = [
    "workload",
    "take",
    "instead of",
    "time per sample",
    "what is made small",
    "saved",
    "slower by",
    "bound holds",
]


def advice(context: Context) -> Section | None:
    """List the recommended setting of every kind of workload."""
    found = [
        (g, a) for g in context.groups if len(g.rows) > 1 for a in context.advice if g.owns(a.group)
    ]
    if not found:
        return None
    bound = context.max_slowdown
    limit = (
        f" among those at most {100 * bound:g} % slower than the fastest"
        if bound is not None
        else ""
    )
    words = Markup(
        "<p>The cheapest setting{}; values are geometric means of the repeats, brackets their 90 % intervals.</p>"
    ).format(limit)
    rows = [_row(g, a) for g, a in found][:MOST_ROWS]
    return Section(
        "advice", "Which setting to take", 42, text=words, tables=[filled(COLUMNS, rows, "Advice")]
    )


def _row(group: Group, found: Advice) -> list[str]:
    same = found.setting == found.baseline
    time = found.predicted.get("time_per_sample_s")
    chance = found.probability_bound_holds
    small = quantity(found.minimise)
    kind = group_words(found.group, group)
    return [
        f"{group.name}, {kind}" if kind else group.name,
        label_of(group, found.setting) + ("" if found.is_measured else " (predicted)"),
        "it is the fastest" if same else label_of(group, found.baseline),
        _words(time, "s"),
        f"{title_of(found.minimise)}: {_words(found.predicted.get(found.minimise), small.unit)}",
        "" if same else percent(found.gain),
        "" if same else percent(found.slowdown),
        "" if chance is None or same else chance_words(chance),
    ]


def _words(value: Interval | None, unit: str) -> str:
    return with_ends(value.value, value.low, value.high, unit) if value else "missing"
