"""The answer in words: one short line for each workload, with its status and warnings."""

from __future__ import annotations

from wattlaw.core.units import counted
from wattlaw.report.answer import answer
from wattlaw.report.content import Section
from wattlaw.report.context import Context

NAMES = {"answer": "answer_section"}

MAX_OPEN = 12
"""Workloads that are listed; the others are folded."""


def answer_section(context: Context) -> Section:
    """Say for each workload how much faster more devices are and which setting to run."""
    if not context.runs:
        missing = "there are no runs here; make some with `wattlaw sweep start`"
        return Section("answer", "In short", 0, missing=missing)
    items = [(group, answer(context, group)) for group in context.groups]
    folded = items[MAX_OPEN:]
    values = {
        "lines": items[:MAX_OPEN],
        "folded": folded,
        "folded_title": counted(len(folded), "more workload"),
    }
    return Section("answer", "In short", 0, template="answer.html", values=values)
