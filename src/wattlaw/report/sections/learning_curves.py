"""What the trials learned: their metric over the samples that they trained on; cost of a target."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from wattlaw.core.errors import DamagedRunError, RecordError
from wattlaw.core.quantities import find_quantity
from wattlaw.core.reading import Reading
from wattlaw.core.run import Run
from wattlaw.core.setting import Target
from wattlaw.core.units import show
from wattlaw.laws.statistics.repeats import summarise_readings
from wattlaw.measuring.files.rank_files import read_metrics
from wattlaw.records.settings_table import reading_of
from wattlaw.records.trial_folders import attempt_of
from wattlaw.report.content import MAX_PANELS, Figure, PageTable, Panel, Section, not_drawn
from wattlaw.report.context import Context, SettingRow, WorkloadGroup
from wattlaw.report.figures.chart import (
    Cell,
    VegaSpec,
    altair,
    axis_title,
    chart,
    legend_above,
    spec,
    tooltip,
)
from wattlaw.report.formatting import shown

NAMES = {"learning": "learning"}

MAX_LINES = 24
MAX_NAMES = 6
"""Lines of more settings than these share a colour; pointing at them shows their names."""
TITLE = "What they learned"
CAPTION = (
    "Each line is a trial: a metric on the validation data at each evaluation, over the samples "
    "that all its devices had trained on. A dashed line is the target."
)
_COSTS = {"target_time_s": "time to target", "target_samples": "samples to target"}
_BOUNDARIES = ("gpu", "cpu", "dram", "node")


class LearningCurve(NamedTuple):
    """The metric of one trial: (samples trained on, value) at each evaluation."""

    row: SettingRow
    run: Run
    points: list[tuple[float, float]]


def learning(context: Context) -> Section | None:
    """Draw the metric of every trial that was evaluated; list last values and costs of targets."""
    rows = [(group, row) for group, row in context.rows if _metrics(row)]
    if not rows:
        return None
    table = _table(rows)
    drawn = 0
    panels = []
    for group in context.groups:
        metric = _metric(group)
        curves = _curves(context, group, metric)
        if curves:
            drawn += 1
            if drawn <= MAX_PANELS:
                panels.append(Panel(group.name, _chart(group, metric, curves), 190))
    if not panels:
        return Section("learning", TITLE, 43, tables=[table])
    caption = CAPTION + not_drawn(len(panels), drawn, "workloads")
    figure = Figure("learning", TITLE, caption, panels, table)
    return Section("learning", TITLE, 43, figures=[figure])


def _metrics(row: SettingRow) -> list[str]:
    found: dict[str, None] = {}
    for run in row.runs:
        found |= {name: None for name in run.quantities if name.startswith("valid_")}
    return list(found)


def _target(group: WorkloadGroup) -> Target | None:
    found = {run.setting.stop.target for _, run in _trials(group)}
    return found.pop() if len(found) == 1 else None


def _metric(group: WorkloadGroup) -> str:
    """Return the metric to draw: the target's, else the first besides the loss; "" for none."""
    found: dict[str, None] = {}
    for row in group.rows:
        for name in _metrics(row):
            found[name.removeprefix("valid_")] = None
    target = _target(group)
    if target and target.metric in found:
        return target.metric
    names = [name for name in found if name != "loss"]
    return next(iter([*names, *found]), "")


def _curves(context: Context, group: WorkloadGroup, metric: str) -> list[LearningCurve]:
    found: list[LearningCurve] = []
    for row, run in itertools.islice(_trials(group), MAX_LINES):
        attempt = attempt_of(context.folder, run)
        try:
            evaluations = read_metrics(attempt) if attempt else []
        except (DamagedRunError, RecordError):
            continue
        points = []
        for one in evaluations:
            if metric in one.metrics:
                points.append((one.trained_samples, one.metrics[metric]))
        if points:
            found.append(LearningCurve(row, run, points))
    return found


def _trials(group: WorkloadGroup) -> Iterator[tuple[SettingRow, Run]]:
    for row in group.rows:
        for run in row.runs:
            yield row, run


def _chart(group: WorkloadGroup, metric: str, curves: list[LearningCurve]) -> VegaSpec:
    alt = altair()
    unit = _unit(f"valid_{metric}")
    words = metric.replace("_mev_per_angstrom", "").replace("_mev", "").replace("_", " ")
    title = axis_title(words, unit)
    base = chart(_data(curves, unit)).encode(
        x=alt.X("samples:Q", title="samples trained on", axis=alt.Axis(grid=False, tickCount=5)),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
        detail="trial:N",
        tooltip=tooltip(label="setting", trial="trial", text=words),
    )
    names = list(dict.fromkeys(curve.row.short for curve in curves))
    if 1 < len(names) <= MAX_NAMES:
        colours = [f"var(--w{k})" for k in range(1, len(names) + 1)]
        scale = alt.Scale(domain=names, range=colours)
        base = base.encode(color=alt.Color("name:N", scale=scale, legend=legend_above(names)))
    else:
        base = base.encode(color=alt.value(group.colour))
    layers = base.mark_line(strokeWidth=1.25, opacity=0.7) + base.mark_point(filled=True, size=22)
    target = _target(group)
    if target:
        end = target.below if target.below is not None else target.above
        rule = chart([{"value": end}]).mark_rule(color="var(--soft)", strokeDash=[4, 3])
        layers += rule.encode(y=alt.Y("value:Q"))
    return spec(layers)


def _data(curves: list[LearningCurve], unit: str) -> list[dict[str, Cell]]:
    found: list[dict[str, Cell]] = []
    for curve in curves:
        names = {"trial": curve.run.trial, "label": curve.row.label, "name": curve.row.short}
        for samples, one in curve.points:
            found.append({**names, "samples": samples, "value": one, "text": show(one, unit)})
    return found


def _unit(name: str) -> str:
    known = find_quantity(name)
    return known.unit if known else ""


def _table(rows: list[tuple[WorkloadGroup, SettingRow]]) -> PageTable:
    names = list(dict.fromkeys(name for _, row in rows for name in _metrics(row)))
    heads = [name.removeprefix("valid_").replace("_", " ") for name in names]
    columns = ["workload", "setting", "trials", *heads, *_COSTS.values(), "energy to target"]
    body = []
    for group, row in rows:
        cells = [group.name, row.label, str(len(row.runs))]
        for name in names:
            cells.append(_last_value(row, name))
        for name in _COSTS:
            cells.append(_cost(row, name))
        body.append([*cells, _energy(row)])
    caption = f"{TITLE}: last evaluation on the validation data, geometric means over trials"
    return PageTable(columns, body, caption).without_empty_columns()


def _last_value(row: SettingRow, name: str) -> str:
    reading = summarise_readings([reading_of(run, name) for run in row.runs])
    return _text(reading, name, "")


def _cost(row: SettingRow, name: str) -> str:
    if not any(run.setting.stop.target for run in row.runs):
        return ""
    reading = row.reading(name)
    return _text(reading, name, "not met")


def _text(reading: Reading, name: str, absent: str) -> str:
    if reading.value is None:
        return absent
    return shown(reading, _unit(name))


def _energy(row: SettingRow) -> str:
    found = []
    for boundary in _BOUNDARIES:
        reading = row.reading(f"target_{boundary}_energy_j")
        if reading.value is not None:
            found.append(f"{boundary}: {shown(reading, 'J')}")
    return ", ".join(found)
