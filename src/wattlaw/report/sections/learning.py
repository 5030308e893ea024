"""What the trials learned: their metric on the valid part over the samples they trained on, and what a target cost."""

from __future__ import annotations

from typing import Any, NamedTuple

from wattlaw.core.errors import DamagedRunError, RecordError
from wattlaw.core.plugins import need
from wattlaw.core.quantities import find_quantity, quantity
from wattlaw.core.run import Run
from wattlaw.core.setting import Target
from wattlaw.core.units import show
from wattlaw.laws.statistics.repeats import summarise_readings
from wattlaw.measuring.files.rank_files import read_metrics
from wattlaw.records.table import value
from wattlaw.report.context import Context, Group, Row
from wattlaw.report.figure import (
    MOST_PANELS,
    Cell,
    Figure,
    Panel,
    Section,
    Table,
    chart,
    filled,
    left_out,
    legend_room,
    shown,
    spec,
)
from wattlaw.report.folder import attempt_of

NAMES = {"learning": "learning"}

MOST_LINES = 24
MOST_NAMES = 6
"""Lines of more settings than these share a colour and are named by hovering alone."""
TITLE = "What they learned"
CAPTION = (
    "Each line is a trial: a metric of the valid part at its evaluations, over the samples that all its devices had "
    "trained on. A dashed line is the target."
)
_COSTS = {"target_time_s": "time to target", "target_samples": "samples to target"}
_ENERGIES = ("gpu", "cpu", "dram", "node")


class Curve(NamedTuple):
    """One trial's metric: (samples trained on, value) at each evaluation."""

    row: Row
    run: Run
    points: list[tuple[float, float]]


def learning(context: Context) -> Section | None:
    """Draw the metric of every trial that was evaluated; list the last values and what targets cost."""
    rows = [(g, row) for g in context.groups for row in g.rows if _metrics(row)]
    if not rows:
        return None
    drawn = [
        (g, metric, curves)
        for g in context.groups
        if (metric := _metric(g)) and (curves := _curves(context, g))
    ]
    table = _table(rows)
    panels = [
        Panel(g.name, _chart(g, metric, curves), 190) for g, metric, curves in drawn[:MOST_PANELS]
    ]
    if not panels:
        return Section("learning", TITLE, 43, tables=[table])
    caption = CAPTION + left_out(len(panels), len(drawn), "workloads")
    return Section(
        "learning", TITLE, 43, figures=[Figure("learning", TITLE, caption, panels, table)]
    )


def _metrics(row: Row) -> list[str]:
    return list(dict.fromkeys(n for r in row.runs for n in r.quantities if n.startswith("valid_")))


def _target(group: Group) -> Target | None:
    found = {r.setting.stop.target for row in group.rows for r in row.runs}
    return found.pop() if len(found) == 1 else None


def _metric(group: Group) -> str:
    """Return the metric to draw: the target's, else the first that is not the loss, which the training shows too."""
    target = _target(group)
    names = list(
        dict.fromkeys(n.removeprefix("valid_") for row in group.rows for n in _metrics(row))
    )
    if target and target.metric in names:
        return target.metric
    return next((n for n in names if n != "loss"), names[0] if names else "")


def _curves(context: Context, group: Group) -> list[Curve]:
    found = []
    for row, run in [(each, run) for each in group.rows for run in each.runs][:MOST_LINES]:
        attempt = attempt_of(context.folder, run)
        try:
            rows = read_metrics(attempt) if attempt else []
        except (DamagedRunError, RecordError):
            continue
        metric = _metric(group)
        points = [(r.trained_samples, r.metrics[metric]) for r in rows if metric in r.metrics]
        if points:
            found.append(Curve(row, run, points))
    return found


def _chart(group: Group, metric: str, curves: list[Curve]) -> dict[str, Any]:
    alt = need("altair", "the report")
    known = find_quantity(f"valid_{metric}")
    name = known.unit if known else ""
    data: list[dict[str, Cell]] = [
        {
            "samples": s,
            "value": v,
            "trial": c.run.trial,
            "label": c.row.label,
            "name": c.row.short,
            "text": show(v, name),
        }
        for c in curves
        for s, v in c.points
    ]
    words = metric.replace("_mev_per_angstrom", "").replace("_mev", "").replace("_", " ")
    title = f"{words} ({name})" if name else words
    tips = [
        alt.Tooltip(f"{n}:N", title=t)
        for n, t in (("label", "setting"), ("trial", "trial"), ("text", words))
    ]
    base = chart(data).encode(
        x=alt.X("samples:Q", title="samples trained on", axis=alt.Axis(grid=False, tickCount=5)),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
        detail="trial:N",
        tooltip=tips,
    )
    names = list(dict.fromkeys(c.row.short for c in curves))
    if 1 < len(names) <= MOST_NAMES:
        legend = alt.Legend(title=None, orient="top", direction="horizontal", **legend_room(names))
        colours = alt.Scale(domain=names, range=[f"var(--w{k + 1})" for k in range(len(names))])
        base = base.encode(color=alt.Color("name:N", scale=colours, legend=legend))
    else:
        base = base.encode(color=alt.value(group.colour))
    layers = base.mark_line(strokeWidth=1.25, opacity=0.7) + base.mark_point(filled=True, size=22)
    target = _target(group)
    if target:
        end = target.below if target.below is not None else target.above
        rule = chart([{"value": end}]).mark_rule(color="var(--soft)", strokeDash=[4, 3])
        layers += rule.encode(y=alt.Y("value:Q"))
    return spec(layers)


def _table(rows: list[tuple[Group, Row]]) -> Table:
    names = list(dict.fromkeys(n for _, row in rows for n in _metrics(row)))
    heads = [n.removeprefix("valid_").replace("_", " ") for n in names]
    body = [
        [g.name, row.label, str(len(row.runs)), *(_cell(row, n) for n in names), *(_cost(row, n) for n in _COSTS),
         _energy(row)]
        for g, row in rows
    ]  # fmt: skip
    columns = ["workload", "setting", "trials", *heads, *_COSTS.values(), "energy to target"]
    return filled(
        columns,
        body,
        f"{TITLE}: the last evaluation on the valid part, geometric means over trials",
    )


def _cell(row: Row, name: str) -> str:
    reading, known = summarise_readings([value(r, name) for r in row.runs]), find_quantity(name)
    return shown(reading, known.unit if known else "") if reading.value is not None else ""


def _cost(row: Row, name: str) -> str:
    if not any(r.setting.stop.target for r in row.runs):
        return ""
    reading = row.reading(name)
    return shown(reading, quantity(name).unit) if reading.value is not None else "not met"


def _energy(row: Row) -> str:
    readings = {b: row.reading(f"target_{b}_energy_j") for b in _ENERGIES}
    known = [f"{b}: {shown(r, 'J')}" for b, r in readings.items() if r.value is not None]
    return ", ".join(known)
