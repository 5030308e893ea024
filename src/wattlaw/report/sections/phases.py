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
WHOLE = ("data_s", "forward_s", "backward_s", "optimiser_s")
"""Where a trial recorded all of these, they add up to its step."""
LEAST_REST = 0.005
"""Share of a step below which a rest is the rounding of its marks."""

TITLE = "Where the time of a step goes"
CAPTION = (
    "A bar is as long as the median step, and is divided in proportion to the medians of its phases over steps, "
    "processes and repeats; medians of parts do not add up to the median of the whole by themselves. "
    "Exposed communication is the wait that computing does not hide."
)
CAPTION_OF_REST = " Rest is the time of a step that lies in no phase which was marked."


def phases(context: Context) -> Section | None:
    """Draw each setting's step as one bar, split into its phases."""
    chosen = [(g, rows) for g in context.groups if (rows := [r for r in g.rows if _parts(r)])]
    if not chosen:
        settings = any(g.rows for g in context.groups)
        why = "the runs recorded no phases of a step; wattlaw's own trials do, and so does wattlaw.measure"
        return Section("phases", TITLE, 30, missing=why) if settings else None
    cut = [(g, least_first(rows, "step_time_s")) for g, rows in chosen[:MOST_PANELS]]
    shown_parts = [
        p
        for p in (*PHASES.values(), REST)
        if p != REST or any(_rest(r) for _, rows in cut for r in rows)
    ]
    caption = CAPTION + (CAPTION_OF_REST if REST in shown_parts else "")
    caption += left_out(sum(len(r) for _, r in cut), sum(len(r) for _, r in chosen), "settings")
    panels = [Panel(g.name, _chart(rows, shown_parts), 26 * len(rows) + 8) for g, rows in cut]
    table = Table(
        ["workload", "setting", *(name for name, _ in shown_parts)],
        [
            [g.name, r.label, *(_cell(_parts(r), n) for n, _ in shown_parts)]
            for g, rows in cut
            for r in rows
        ],
        f"{TITLE}: median of each phase, and its share of their sum",
    )
    wide = has_long([r for _, rows in cut for r in rows])
    figure = Figure("phases", TITLE, caption, panels, table, shown_parts, wide)
    return Section("phases", TITLE, 30, figures=[figure])


def _parts(row: Row) -> dict[str, float]:
    """Return the median seconds of each phase in order, with the rest; empty where no phase was recorded."""
    found = {}
    for name, (title, _) in PHASES.items():
        value = row.reading(name).value
        if value is not None:
            found[title] = max(value, 0.0)
    if found and (rest := _rest(row)):
        found[REST[0]] = rest
    return found


def _rest(row: Row) -> float:
    """Return the time of a step outside of its phases, s: as recorded, else where phases are lacking."""
    step, rest = row.reading("step_time_s").value or 0.0, row.reading("rest_s").value
    if rest is None:
        known = {n: v for n in PHASES if (v := row.reading(n).value) is not None}
        rest = 0.0 if not known or set(WHOLE) <= set(known) else step - sum(known.values())
    return rest if rest > LEAST_REST * step else 0.0


def _cell(parts: dict[str, float], name: str) -> str:
    if name not in parts:
        return "none" if name == REST[0] else "missing"
    return f"{show(parts[name], 's')}, {_share(parts, name)}"


def _share(parts: dict[str, float], name: str) -> str:
    return f"{100 * parts[name] / (sum(parts.values()) or 1.0):.0f} %"


def _chart(rows: list[Row], order: list[tuple[str, str]]) -> dict[str, Any]:
    alt = need("altair", "the report")
    unit = Unit([r.reading("step_time_s").value or sum(_parts(r).values()) for r in rows], "s")
    data: list[dict[str, Cell]] = []
    for row in rows:
        parts = _parts(row)
        whole = sum(parts.values()) or 1.0
        scale = (row.reading("step_time_s").value or whole) / whole
        data += [
            {
                "label": row.label,
                "name": row.short,
                "phase": name,
                "order": index,
                "value": unit(scale * parts[name]),
                "text": f"{_share(parts, name)} of the step; median {show(parts[name], 's')}",
            }
            for index, (name, _) in enumerate(order)
            if name in parts
        ]
    colour = alt.Scale(domain=[n for n, _ in order], range=[c for _, c in order])
    drawn = chart(data).mark_bar(height={"band": 0.68}, stroke="var(--paper)", strokeWidth=0.75)
    return spec(
        drawn.encode(
            x=alt.X(
                "value:Q",
                stack="zero",
                title=unit.title("time per step"),
                axis=alt.Axis(tickCount=5),
            ),
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
