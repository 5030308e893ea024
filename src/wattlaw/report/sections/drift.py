"""Every trial as a point in the order in which they ran, to show a drift of the machine."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from wattlaw.core.run import Run
from wattlaw.core.units import counted, show
from wattlaw.report.content import Figure, PageTable, Panel, Section
from wattlaw.report.context import OTHERS, Context, WorkloadGroup
from wattlaw.report.figures.chart import Altair, Cell, VegaSpec, altair, chart, spec, tooltip
from wattlaw.report.formatting import shown
from wattlaw.report.setting_names import natural

NAMES = {"drift": "drift"}

MAX_POINTS = 1500
MAX_BINS = 120
MAX_ROWS = 300
TITLE = "Was the machine steady?"
FIGURE = "Every trial, in the order they ran"
ONCE = (
    "No setting was run twice, so a change of the machine cannot be distinguished from one of the "
    "setting."
)
CAPTION = (
    "Time per step of each trial relative to the mean of its setting; bars reach from the 5th to "
    "the 95th percentile of its steps. Points that rise or fall together show that the machine "
    "changed, not the setting."
)
BINNED = (
    "The median of {} trials in run order, and the band that holds 90 % of them; the time per "
    "step of each trial is relative to the mean of its setting. A line that rises or falls shows "
    "that the machine changed."
)


class TrialPoint(NamedTuple):
    """A trial's place in run order, and its step time relative to the mean of its setting."""

    order: int
    run: Run
    group: WorkloadGroup
    label: str
    ratio: float
    low: float
    high: float

    @property
    def step(self) -> str:
        """Its time per step as text."""
        return shown(self.run.reading("step_time_s"), "s")


def drift(context: Context) -> Section | None:
    """Draw all trials on one axis; 1 is the mean of a trial's own setting."""
    points = _points(context)
    if len(points) < 2:
        count = sum(len(row.runs) for _, row in context.rows)
        if count < 2:
            return None
        return Section("drift", TITLE, 45, missing=ONCE)
    if len(points) > MAX_POINTS:
        drawing, caption, legend = _binned(points), BINNED.format(len(points)), []
    else:
        drawing, caption, legend = _chart(points), CAPTION, _legend(points)
    rows = []
    for point in points[:MAX_ROWS]:
        cells = [str(point.order), point.run.trial, point.group.name, point.label, point.step]
        rows.append(cells)
    table = PageTable(["order", "trial", "workload", "setting", "time per step"], rows, FIGURE)
    figure = Figure("trials", FIGURE, caption, [Panel("", drawing, 240)], table, legend)
    return Section("drift", TITLE, 45, figures=[figure])


def _legend(points: list[TrialPoint]) -> list[tuple[str, str]]:
    groups = {point.group for point in points}
    own = [(group.name, group.colour) for group in groups if group.colour != OTHERS]
    own.sort(key=lambda entry: natural(entry[0]))
    others = len(groups) - len(own)
    if others:
        own.append((counted(others, "other"), OTHERS))
    return own


def _points(context: Context) -> list[TrialPoint]:
    found = []
    for group, row in context.rows:
        mean = row.reading("step_time_s").value
        # a trial without a repeat is its own mean, which would look steady
        if not mean or len(row.runs) < 2:
            continue
        for run in row.runs:
            reading = run.reading("step_time_s")
            if reading.value is not None:
                low, high = reading.low or reading.value, reading.high or reading.value
                ratios = (reading.value / mean, low / mean, high / mean)
                found.append(TrialPoint(0, run, group, row.label, *ratios))
    found.sort(key=lambda point: (point.run.started, point.run.trial))
    return [point._replace(order=order) for order, point in enumerate(found, 1)]


def _axes() -> tuple[Altair, Altair]:
    alt = altair()
    x = alt.X(
        "order:Q",
        title="order of the trials",
        axis=alt.Axis(tickMinStep=1, grid=False),
        scale=alt.Scale(zero=False, nice=False, padding=12),
    )
    y = alt.Y(
        "ratio:Q", title="step time / mean of setting", scale=alt.Scale(zero=False, clamp=True)
    )
    return x, y


def _chart(points: list[TrialPoint]) -> VegaSpec:
    alt = altair()
    x, y = _axes()
    colours = {point.group.name: point.group.colour for point in points}
    names = list(colours)
    scale = alt.Scale(domain=names, range=list(colours.values()))
    colour = alt.Color("workload:N", scale=scale, legend=None)
    shape = alt.Shape("workload:N", scale=alt.Scale(domain=names), legend=None)
    fields = ("trial", "workload", "setting", "repeat", "step", "started")
    tips = tooltip(**{name: name for name in fields})
    base = chart([_datum(point) for point in points]).encode(x=x, color=colour, tooltip=tips)
    bars = base.mark_rule(strokeWidth=1.25, opacity=0.4).encode(y=alt.Y("low:Q"), y2="high:Q")
    dots = base.mark_point(filled=True, size=42, opacity=1).encode(y=y, shape=shape)
    return spec(_line_at_one() + bars + dots)


def _line_at_one() -> Altair:
    return chart([{"y": 1.0}]).mark_rule(color="var(--soft)", strokeWidth=1).encode(y="y:Q")


def _datum(point: TrialPoint) -> dict[str, Cell]:
    started = point.run.started[:19].replace("T", " ")
    if started:
        started += " UTC"
    return {
        "order": point.order,
        "ratio": point.ratio,
        "low": point.low,
        "high": point.high,
        "workload": point.group.name,
        "trial": point.run.trial,
        "setting": point.label,
        "repeat": str(point.run.repeat),
        "step": point.step,
        "started": started,
    }


def _binned(points: list[TrialPoint]) -> VegaSpec:
    size = -(-len(points) // MAX_BINS)
    rows: list[dict[str, Cell]] = []
    for start in range(0, len(points), size):
        ratios = sorted(point.ratio for point in points[start : start + size])
        tail = len(ratios) // 20
        middle, low, high = median(ratios), ratios[tail], ratios[-1 - tail]
        rows.append(
            {
                "order": start + len(ratios) / 2,
                "ratio": middle,
                "low": low,
                "high": high,
                "trials": f"{start + 1} to {start + len(ratios)}",
                "text": f"{show(middle)} [{show(low)} – {show(high)}]",
            }
        )
    alt = altair()
    x, y = _axes()
    base = chart(rows).encode(x=x, tooltip=tooltip(trials="trials", text="ratio"))
    band = base.mark_area(color="var(--w1)", opacity=0.22).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line(color="var(--w1)", strokeWidth=1.5).encode(y=y)
    return spec(_line_at_one() + band + line)
