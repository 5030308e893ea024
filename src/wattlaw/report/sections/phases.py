"""Where the time of a step goes."""

from __future__ import annotations

from collections.abc import Sequence

from wattlaw.core.units import show
from wattlaw.report.content import Figure, PageTable, Panel, Section
from wattlaw.report.context import Context, SettingRow, short_names
from wattlaw.report.figures.chart import (
    AxisUnit,
    Cell,
    VegaSpec,
    altair,
    chart,
    names_axis,
    spec,
    tooltip,
)
from wattlaw.report.figures.shown_settings import ShownSettings, settings_with

NAMES = {"phases": "phases"}

PHASES = {
    "data_s": ("data", "var(--p1)"),
    "forward_s": ("forward", "var(--p2)"),
    "backward_s": ("backward", "var(--p3)"),
    "communication_s": ("exposed communication", "var(--p4)"),
    "optimiser_s": ("optimiser", "var(--p5)"),
}
REST = ("rest", "var(--p6)")
WHOLE = {"data_s", "forward_s", "backward_s", "optimiser_s"}
"""The phases of a trial that recorded all of these add up to its step."""
MIN_REST = 0.005
"""Share of a step below which a rest is the rounding of its marks."""

TITLE = "Where the time of a step goes"
CAPTION = (
    "The length of a bar is the time of a step. It is divided in proportion to the medians of "
    "its phases over steps and processes, because medians of parts do not add up to the median "
    "of the whole. Exposed communication is waiting that no computation hides."
)
CAPTION_OF_REST = " Rest is time of a step outside all marked phases."
NONE = "the runs recorded no phases of a step; trials of wattlaw do, and so does `wattlaw.measure`"

Parts = dict[str, float]
"""Time of each phase in s by its title, in the order of a step."""
Legend = list[tuple[str, str]]


def phases(context: Context) -> Section | None:
    """Draw the step of each setting as one bar, divided into its phases."""
    shown = settings_with(context, _parts, "step_time_s")
    if not shown.total:
        if not context.rows:
            return None
        return Section("phases", TITLE, 30, missing=NONE)
    legend = list(PHASES.values())
    caption = CAPTION
    if any(_rest(row) for _, row in shown):
        legend.append(REST)
        caption += CAPTION_OF_REST
    caption += shown.not_drawn
    panels = []
    for group, rows in shown.groups:
        panels.append(Panel(group.name, _chart(rows, legend), 26 * len(rows) + 8))
    table = _table(shown, [name for name, _ in legend])
    figure = Figure("phases", TITLE, caption, panels, table, legend, shown.has_long_names)
    return Section("phases", TITLE, 30, figures=[figure])


def _table(shown: ShownSettings, names: list[str]) -> PageTable:
    rows = []
    for group, row in shown:
        parts = _parts(row)
        rows.append([group.name, row.label, *(_cell(parts, name) for name in names)])
    caption = f"{TITLE}: the time of each phase, and its share of their sum"
    return PageTable(["workload", "setting", *names], rows, caption)


def _parts(row: SettingRow) -> Parts:
    """Return the time of each phase and of the rest; empty if no phase was recorded."""
    found = {}
    for name, (title, _) in PHASES.items():
        value = row.reading(name).value
        if value is not None:
            found[title] = max(value, 0.0)
    rest = _rest(row)
    if found and rest:
        found[REST[0]] = rest
    return found


def _rest(row: SettingRow) -> float:
    """Return the time of a step outside its phases in s: as recorded, else what phases leave."""
    step, rest = row.reading("step_time_s").value or 0.0, row.reading("rest_s").value
    if rest is None:
        known = {}
        for name in PHASES:
            value = row.reading(name).value
            if value is not None:
                known[name] = value
        if not known or known.keys() >= WHOLE:
            return 0.0
        rest = step - sum(known.values())
    return rest if rest > MIN_REST * step else 0.0


def _step_time(row: SettingRow) -> float:
    """Return the time of a step in s, or the sum of its phases if it is missing."""
    return row.reading("step_time_s").value or sum(_parts(row).values()) or 1.0


def _cell(parts: Parts, name: str) -> str:
    if name in parts:
        return f"{show(parts[name], 's')}, {_share(parts, name)}"
    return "none" if name == REST[0] else "missing"


def _share(parts: Parts, name: str) -> str:
    return f"{100 * parts[name] / (sum(parts.values()) or 1.0):.0f} %"


def _chart(rows: Sequence[SettingRow], legend: Legend) -> VegaSpec:
    alt = altair()
    unit = AxisUnit(map(_step_time, rows), "s")
    names, colours = zip(*legend, strict=True)
    colour = alt.Scale(domain=names, range=colours)
    title = unit.title("time per step")
    bars = chart(_data(rows, names, unit)).mark_bar(
        height={"band": 0.68}, stroke="var(--paper)", strokeWidth=0.75
    )
    return spec(
        bars.encode(
            x=alt.X("value:Q", stack="zero", title=title, axis=alt.Axis(tickCount=5)),
            y=names_axis("name", short_names(rows)),
            color=alt.Color("phase:N", scale=colour, legend=None),
            order=alt.Order("order:Q"),
            tooltip=tooltip(label="setting", phase="phase", text="time"),
        )
    )


def _data(
    rows: Sequence[SettingRow], names: Sequence[str], unit: AxisUnit
) -> list[dict[str, Cell]]:
    found: list[dict[str, Cell]] = []
    for row in rows:
        parts = _parts(row)
        whole = sum(parts.values()) or 1.0
        scale = _step_time(row) / whole
        for order, name in enumerate(names):
            if name not in parts:
                continue
            share = _share(parts, name)
            found.append(
                {
                    "label": row.label,
                    "name": row.short,
                    "phase": name,
                    "order": order,
                    "value": unit(scale * parts[name]),
                    "text": f"{share} of the step; median {show(parts[name], 's')}",
                }
            )
    return found
