"""Every named warning once: how often it occurred, what it means, what to do."""

from __future__ import annotations

from collections import Counter

from wattlaw.core.reading import Note
from wattlaw.core.warning_texts import meaning
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context
from wattlaw.report.formatting import clipped, plain

NAMES = {"warnings": "warnings"}

COLUMNS = ["warning", "runs", "for example", "what it means", "what to do"]


def warnings(context: Context) -> Section | None:
    """List the warnings of runs, fits and advice, the most frequent first."""
    if not context.runs and not context.notes:
        return None
    runs: Counter[str] = Counter()
    examples: dict[str, Note] = {}
    for run in context.runs:
        runs.update({note.name for note in run.warnings})
        for note in run.warnings:
            examples.setdefault(note.name, note)
    for note in _notes_of_findings(context):
        examples.setdefault(note.name, note)
    if not examples:
        return Section("warnings", "Warnings", 70, missing="no run gave a warning")
    rows = []
    for name in sorted(examples, key=lambda name: -runs[name]):
        count = str(runs[name] or "laws and advice")
        rows.append([plain(name), count, clipped(examples[name].message), *meaning(name)])
    table = PageTable(COLUMNS, rows, "Warnings", has_code=True)
    return Section("warnings", "Warnings", 70, tables=[table])


def _notes_of_findings(context: Context) -> list[Note]:
    found = list(context.notes)
    for fit in context.fits:
        found += fit.warnings
    for advice in context.advice:
        found += advice.warnings
    return found
