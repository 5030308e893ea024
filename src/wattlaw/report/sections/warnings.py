"""Every named warning once: how often, what it means, what to do."""

from __future__ import annotations

from wattlaw.core.reading import Note
from wattlaw.core.warning_texts import meaning
from wattlaw.report.context import Context
from wattlaw.report.figure import Section, Table
from wattlaw.report.meanings import clipped, coded, plain

NAMES = {"warnings": "warnings"}


def warnings(context: Context) -> Section | None:
    """List the warnings of runs, fits and advice."""
    if not context.runs and not context.notes:
        return None
    runs: dict[str, int] = {}
    first: dict[str, Note] = {}
    for run in context.runs:
        for note in {n.name: n for n in run.warnings}.values():
            runs[note.name] = runs.get(note.name, 0) + 1
            first.setdefault(note.name, note)
    of_fits = [n for f in context.fits for n in f.warnings]
    of_advice = [n for a in context.advice for n in a.warnings]
    for note in (*context.notes, *of_fits, *of_advice):
        first.setdefault(note.name, note)
    if not first:
        return Section("warnings", "Warnings", 70, missing="no run gave a warning")
    rows = [
        [
            plain(name),
            _where(runs.get(name, 0)),
            *map(coded, (clipped(first[name].message), *meaning(name))),
        ]
        for name in sorted(first, key=lambda n: -runs.get(n, 0))
    ]
    table = Table(
        ["warning", "runs", "for example", "what it means", "what to do"], rows, "Warnings"
    )
    return Section("warnings", "Warnings", 70, tables=[table])


def _where(count: int) -> str:
    return str(count) if count else "laws and advice"
