"""All settings as one sortable table, and the trials that failed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from wattlaw.core.errors import reason
from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Reading
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context, SettingRow, WorkloadGroup, failed_runs
from wattlaw.report.figures.chart import Cell
from wattlaw.report.formatting import plain, shown

NAMES = {"settings": "settings", "failures": "failures"}

MAX_ROWS = 500
MAX_FAILURES = 50
MAX_TRACEBACKS = 10
MAX_CHARACTERS = 4000
MAX_REASON_LENGTH = 300

ALWAYS = ("step_time_s", "time_per_sample_s", "energy_per_sample_j")
IF_KNOWN = (
    "gpu_mean_power_w",
    "gpu_utilisation",
    "cpu_utilisation",
    "memory_peak_bytes",
    "gpu_memory_peak_bytes",
    "loss_last",
)
HEADS = {
    "time_per_sample_s": "time per sample",
    "energy_per_sample_j": "energy per sample",
    "memory_peak_bytes": "peak memory",
    "cpu_utilisation": "machine busy",
    "loss_last": "last loss",
}
WORDS = (
    "Geometric means over the repeats, for times and energies with 90 % intervals in brackets. "
    "Select a heading to sort."
)


def settings(context: Context) -> Section | None:
    """List every setting with its means over the repeats."""
    lines = context.rows
    if not lines:
        return None
    names = list(ALWAYS)
    for name in IF_KNOWN:
        if any(row.reading(name).value is not None for _, row in lines):
            names.append(name)
    heads = [HEADS.get(name) or quantity(name).title for name in names]
    columns = ["workload", "setting", "runs", *heads]
    if any(row.notes for _, row in lines):
        columns.append("warnings")
    paragraphs = [WORDS]
    if len(lines) > MAX_ROWS:
        more = f"{MAX_ROWS} of {len(lines)} settings; `wattlaw runs export` writes them all."
        paragraphs.append(more)
    rows, keys = [], []
    for group, row in lines[:MAX_ROWS]:
        rows.append(_cells(group, row, names)[: len(columns)])
        keys.append(_keys(group, row, names)[: len(columns)])
    table = PageTable(columns, rows, "Settings", keys)
    return Section("settings", "All settings", 50, paragraphs=paragraphs, tables=[table])


def _cells(group: WorkloadGroup, row: SettingRow, names: Sequence[str]) -> list[str]:
    failed = f", {row.failed} failed" if row.failed else ""
    values = [_value(row.reading(name), name) for name in names]
    warnings = dict.fromkeys(plain(note.name) for note in row.notes)
    return [group.name, row.label, f"{len(row.runs)}{failed}", *values, ", ".join(warnings)]


def _value(reading: Reading, name: str) -> str:
    if name in ALWAYS:
        return shown(reading, quantity(name).unit)
    is_known = reading.value is not None and isfinite(reading.value)
    if name.endswith("_utilisation") and reading.value is not None and is_known:
        return f"{100 * reading.value:.0f} %"
    # without its interval, to keep the table narrow
    return shown(Reading(reading.value, reading.status), quantity(name).unit)


def _keys(group: WorkloadGroup, row: SettingRow, names: Sequence[str]) -> list[Cell]:
    values = [row.reading(name).value for name in names]
    warnings = {note.name for note in row.notes}
    return [group.name, row.label, len(row.runs), *values, len(warnings)]


def failures(context: Context) -> Section | None:
    """List the trials that failed, each with its reason and the end of its traceback."""
    failed = failed_runs(context.runs)
    if not failed:
        return None
    rows, tracebacks = [], []
    for run in failed:
        why = reason(run.error)[:MAX_REASON_LENGTH] or "no reason was recorded"
        rows.append([run.trial, run.setting.workload, why])
        if "\n" in run.error.strip():
            tracebacks.append((run.trial, _end(run.error)))
    caption = "Failed trials"
    if len(failed) > MAX_FAILURES:
        caption += f", the first {MAX_FAILURES}"
    table = PageTable(["trial", "workload", "reason"], rows[:MAX_FAILURES], caption)
    return Section(
        "failures",
        "What failed",
        55,
        paragraphs=[f"{len(failed)} of {len(context.runs)} runs failed; no figure uses them."],
        tables=[table],
        template="tracebacks.html",
        values={"tracebacks": tracebacks[:MAX_TRACEBACKS]},
    )


def _end(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else "…" + text[-MAX_CHARACTERS:]
