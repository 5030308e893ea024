"""Where the time of a step goes."""

from __future__ import annotations

from typing import Any

from wattlaw.core.plugins import need
from wattlaw.core.units import show
from wattlaw.report.context import Context, Row
from wattlaw.report.figure import (
    MOST_PANELS,
    Cell,
    Figure,
    Panel,
    Section,
    Table,
    Unit,
    chart,
    has_long,
    least_first,
    left_out,
    spec,
)

NAMES = {"phases": "phases"}

PHASES = {
    "data_s": ("data", "var(--p1)"),
    "forward_s": ("forward", "var(--p2)"),
    "backward_s": ("backward", "var(--p3)"),
    "communication_s": ("exposed communication", "var(--p4)"),
    "optimiser_s": ("optimiser", "var(--p5)"),
}
REST = ("rest", "var(--p6)")
TITLE = "Where the time of a step goes"
CAPTION = (
    "Medians over steps and repeats. Exposed communication is the wait that computing does not hide; "
    "rest is what no phase accounts for."
)


def phases(context: Context) -> Section | None:
    """Draw each setting's step as one bar, split into its phases."""
    chosen = [(g, rows) for g in context.groups if (rows := [r for r in g.rows if _parts(r)])]
    if not chosen:
        settings = any(g.rows for g in context.groups)
        why = "the runs recorded no phases of a step; wattlaw's own trials do, and so does wattlaw.measure"
        return Section("phases", TITLE, 30, missing=why) if settings else None
    cut = [(g, least_first(rows, "step_time_s")) for g, rows in chosen[:MOST_PANELS]]
    caption = CAPTION + left_out(sum(len(r) for _, r in cut), sum(len(r) for _, r in chosen), "settings")
    panels = [Panel(g.name, _chart(rows), 26 * len(rows) + 8) for g, rows in cut]
    table = Table(
        ["workload", "setting", *(name for name, _ in [*PHASES.values(), REST])],
        [
            [g.name, r.label, *(_cell(_parts(r), n) for n, _ in [*PHASES.values(), REST])]
            for g, rows in cut
            for r in rows
        ],
        TITLE,
    )
    wide = has_long([r for _, rows in cut for r in rows])
    figure = Figure("phases", TITLE, caption, panels, table, [*PHASES.values(), REST], wide)
    return Section("phases", TITLE, 30, figures=[figure])


def _parts(row: Row) -> dict[str, float]:
    """Return seconds by phase in order, with the rest; empty where no phase was recorded."""
    found = {}
    for name, (title, _) in PHASES.items():
        value = row.reading(name).value
        if value is not None:
            found[title] = max(value, 0.0)
    step = row.reading("step_time_s").value
    if found and step is not None:
        found[REST[0]] = max(step - sum(found.values()), 0.0)
    return found


def _cell(parts: dict[str, float], name: str) -> str:
    return show(parts[name], "s") if name in parts else "missing"


def _chart(rows: list[Row]) -> dict[str, Any]:
    alt = need("altair", "the report")
    order = [*PHASES.values(), REST]
    unit = Unit([r.reading("step_time_s").value or sum(_parts(r).values()) for r in rows], "s")
    data: list[dict[str, Cell]] = []
    for row in rows:
        parts = _parts(row)
        whole = sum(parts.values()) or 1.0
        data += [
            {
                "label": row.label,
                "name": row.short,
                "phase": name,
                "order": index,
                "value": unit(parts[name]),
                "text": f"{show(parts[name], 's')}, {100 * parts[name] / whole:.0f} % of the step",
            }
            for index, (name, _) in enumerate(order)
            if name in parts
        ]
    colour = alt.Scale(domain=[n for n, _ in order], range=[c for _, c in order])
    drawn = chart(data).mark_bar(height={"band": 0.68}, stroke="var(--paper)", strokeWidth=0.75)
    return spec(
        drawn.encode(
            x=alt.X("value:Q", stack="zero", title=unit.title("time per step"), axis=alt.Axis(tickCount=5)),
            y=alt.Y("name:N", sort=[r.short for r in rows], title=None, axis=alt.Axis(grid=False)),
            color=alt.Color("phase:N", scale=colour, legend=None),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("label:N", title="setting"),
                alt.Tooltip("phase:N", title="phase"),
                alt.Tooltip("text:N", title="time"),
            ],
        )
    )
