"""All settings as one sortable table, and what failed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from wattlaw.core.errors import reason
from wattlaw.core.quantities import quantity
from wattlaw.core.reading import Reading
from wattlaw.report.context import Context, Group, Row
from wattlaw.report.figure import Cell, Section, Table, shown
from wattlaw.report.meanings import plain

NAMES = {"settings": "settings", "failures": "failures"}

MOST_ROWS = 500
MOST_FAILURES = 50
MOST_TRACEBACKS = 10
MOST_CHARACTERS = 4000

COLUMNS = (
    "step_time_s", "time_per_sample_s", "energy_per_sample_j", "gpu_mean_power_w", "gpu_utilisation",
    "cpu_utilisation", "memory_peak_bytes", "gpu_memory_peak_bytes", "loss_last",
)  # fmt: skip
HEADS = {
    "time_per_sample_s": "time per sample",
    "energy_per_sample_j": "energy per sample",
    "memory_peak_bytes": "peak memory",
    "cpu_utilisation": "machine busy",
    "loss_last": "last loss",
}
ALWAYS = ("step_time_s", "time_per_sample_s", "energy_per_sample_j")


def settings(context: Context) -> Section | None:
    """List every setting with the median and spread of its repeats."""
    lines = [(g, r) for g in context.groups for r in g.rows]
    if not lines:
        return None
    names = [
        n for n in COLUMNS if n in ALWAYS or any(r.reading(n).value is not None for _, r in lines)
    ]
    columns = ["workload", "setting", "runs", *(HEADS.get(n) or quantity(n).title for n in names)]
    columns += ["warnings"] if any(r.notes for _, r in lines) else []
    cut = lines[:MOST_ROWS]
    text = Markup(
        "<p>Geometric means over the repeats, for times and energies with 90 % intervals in brackets. "
        "Select a heading to sort.</p>"
    )
    if len(lines) > len(cut):
        text += Markup(
            "<p>{} of {} settings; <code>wattlaw runs export</code> gives them all.</p>"
        ).format(len(cut), len(lines))
    count = len(columns)
    rows, keys = (
        [_cells(g, r, names)[:count] for g, r in cut],
        [_keys(g, r, names)[:count] for g, r in cut],
    )
    table = Table(columns, rows, "Settings", keys)
    return Section("settings", "All settings", 50, text=text, tables=[table])


def _cells(group: Group, row: Row, names: Sequence[str]) -> list[str]:
    runs = str(len(row.runs)) + (f", {row.failed} failed" if row.failed else "")
    return [
        group.name,
        row.label,
        runs,
        *(_value(row.reading(n), n) for n in names),
        ", ".join(dict.fromkeys(plain(n.name) for n in row.notes)),
    ]


def _value(reading: Reading, name: str) -> str:
    if name in ALWAYS:
        return shown(reading, quantity(name).unit)
    # the rest is there to look things up: the median alone keeps the table narrow
    if name.endswith("_utilisation") and reading.value is not None and math.isfinite(reading.value):
        return f"{100 * reading.value:.0f} %"
    return shown(Reading(reading.value, reading.status), quantity(name).unit)


def _keys(group: Group, row: Row, names: Sequence[str]) -> list[Cell]:
    values = [row.reading(n).value for n in names]
    return [group.name, row.label, len(row.runs), *values, len({n.name for n in row.notes})]


def failures(context: Context) -> Section | None:
    """List the trials that failed, each with its reason and the end of its traceback."""
    failed = [r for r in context.runs if r.state == "failed"]
    if not failed:
        return None
    text = Markup("<p>{} of {} runs failed; no figure uses them.</p>").format(
        len(failed), len(context.runs)
    )
    rows = [
        [r.trial, r.setting.workload, reason(r.error)[:300] or "no reason was recorded"]
        for r in failed
    ]
    text += Markup("").join(
        Markup(
            "<details><summary>Traceback of {}</summary><pre tabindex=0>{}</pre></details>"
        ).format(r.trial, _end(r.error))
        for r in [f for f in failed if "\n" in f.error.strip()][:MOST_TRACEBACKS]
    )
    caption = "Failed trials" + (
        f", the first {MOST_FAILURES}" if len(failed) > MOST_FAILURES else ""
    )
    return Section(
        "failures",
        "What failed",
        55,
        text,
        tables=[Table(["trial", "workload", "reason"], rows[:MOST_FAILURES], caption)],
    )


def _end(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else "…" + text[-MOST_CHARACTERS:]
