"""Every trial as a point in the order in which they ran, so that a drift of the machine is seen."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

from wattlaw.core.plugins import need
from wattlaw.core.run import Run
from wattlaw.core.units import counted, show
from wattlaw.report.context import OTHERS, Context, Group, natural
from wattlaw.report.figure import Cell, Figure, Panel, Section, Table, chart, shown, spec

NAMES = {"drift": "drift"}

MOST_POINTS = 1500
MOST_BINS = 120
TITLE = "Every trial, in the order they ran"
ONCE = "No setting was run twice, so that a change of the machine cannot be told from one of the setting."
CAPTION = (
    "Time per step of each trial against the median of its setting; bars reach from the 5th to the 95th percentile "
    "of its steps. Points that rise or fall together show that the machine changed, not the setting."
)


class Trial(NamedTuple):
    """A trial's place in run order and its step time relative to the median of its setting."""

    order: int
    run: Run
    group: Group
    label: str
    ratio: float
    low: float
    high: float


def drift(context: Context) -> Section | None:
    """Draw all trials on one axis, 1 being the median of a trial's own setting."""
    trials = _trials(context)
    if len(trials) < 2:
        once = sum(len(row.runs) for g in context.groups for row in g.rows) > 1
        return Section("drift", "Was the machine steady?", 45, missing=ONCE) if once else None
    if len(trials) <= MOST_POINTS:
        panel, caption = Panel("", _chart(trials, context), 240), CAPTION
    else:
        panel, caption = Panel("", _binned(trials), 240), _BINNED.format(len(trials))
    legend = _legend(trials) if len(trials) <= MOST_POINTS else []
    rows = [[str(t.order), t.run.trial, t.group.name, t.label, _words(t)] for t in trials[:300]]
    table = Table(["order", "trial", "workload", "setting", "time per step"], rows, TITLE)
    figure = Figure("trials", TITLE, caption, [panel], table, legend)
    return Section("drift", "Was the machine steady?", 45, figures=[figure])


_BINNED = (
    "The median of {} trials in run order, and the band that holds 90 % of them; each trial's time per step is taken "
    "against the median of its setting. A line that rises or falls shows that the machine changed."
)


def _legend(trials: list[Trial]) -> list[tuple[str, str]]:
    groups = sorted({t.group for t in trials}, key=lambda g: natural(g.name))
    own = [(g.name, g.colour) for g in groups if g.colour != OTHERS]
    return own + (
        [(counted(len(groups) - len(own), "other"), OTHERS)] if len(groups) > len(own) else []
    )


def _trials(context: Context) -> list[Trial]:
    found = []
    for group in context.groups:
        for row in group.rows:
            middle = row.reading("step_time_s").value
            # a trial without a repeat is its own median, which would look steady
            if not middle or len(row.runs) < 2:
                continue
            for run in row.runs:
                reading = run.reading("step_time_s")
                if reading.value is not None:
                    low, high = (
                        v if v is not None else reading.value for v in (reading.low, reading.high)
                    )
                    found.append(
                        (run, group, row.label, reading.value / middle, low / middle, high / middle)
                    )
    found.sort(key=lambda t: (t[0].started, t[0].trial))
    return [Trial(index, *values) for index, values in enumerate(found, 1)]


def _words(trial: Trial) -> str:
    return shown(trial.run.reading("step_time_s"), "s")


def _axes(alt: Any) -> tuple[Any, Any]:
    scale = alt.Scale(zero=False, nice=False, padding=12)
    x = alt.X(
        "order:Q",
        title="order of the trials",
        axis=alt.Axis(tickMinStep=1, grid=False),
        scale=scale,
    )
    y = alt.Y(
        "ratio:Q", title="step time / median of setting", scale=alt.Scale(zero=False, clamp=True)
    )
    return x, y


def _chart(trials: list[Trial], context: Context) -> dict[str, Any]:
    alt = need("altair", "the report")
    x, y = _axes(alt)
    names = list(dict.fromkeys(t.group.name for t in trials))
    colours = {g.name: g.colour for g in context.groups}
    scale = alt.Scale(domain=names, range=[colours[n] for n in names])
    colour = alt.Color("workload:N", scale=scale, legend=None)
    shape = alt.Shape("workload:N", scale=alt.Scale(domain=names), legend=None)
    tips = [
        alt.Tooltip(f"{n}:N", title=n)
        for n in ("trial", "workload", "setting", "repeat", "step", "started")
    ]
    base = chart([_datum(t) for t in trials]).encode(x=x, color=colour, tooltip=tips)
    bars = base.mark_rule(strokeWidth=1.25, opacity=0.4).encode(y=alt.Y("low:Q"), y2="high:Q")
    dots = base.mark_point(filled=True, size=42, opacity=1).encode(y=y, shape=shape)
    return spec(_one(alt) + bars + dots)


def _one(alt: Any) -> Any:
    return chart([{"y": 1.0}]).mark_rule(color="var(--soft)", strokeWidth=1).encode(y="y:Q")


def _datum(trial: Trial) -> dict[str, Cell]:
    return {
        "order": trial.order,
        "ratio": trial.ratio,
        "low": trial.low,
        "high": trial.high,
        "workload": trial.group.name,
        "trial": trial.run.trial,
        "setting": trial.label,
        "repeat": str(trial.run.repeat),
        "step": _words(trial),
        "started": trial.run.started[:19].replace("T", " ") + (" UTC" if trial.run.started else ""),
    }


def _binned(trials: list[Trial]) -> dict[str, Any]:
    alt = need("altair", "the report")
    size = -(-len(trials) // MOST_BINS)
    rows: list[dict[str, Cell]] = []
    for start in range(0, len(trials), size):
        ratios = sorted(t.ratio for t in trials[start : start + size])
        cut = len(ratios) // 20
        rows.append(
            {
                "order": start + len(ratios) / 2,
                "ratio": median(ratios),
                "low": ratios[cut],
                "high": ratios[-1 - cut],
                "trials": f"{start + 1} to {start + len(ratios)}",
                "text": f"{show(median(ratios))} [{show(ratios[cut])} – {show(ratios[-1 - cut])}]",
            }
        )
    x, y = _axes(alt)
    tips = [alt.Tooltip("trials:N", title="trials"), alt.Tooltip("text:N", title="ratio")]
    base = chart(rows).encode(x=x, tooltip=tips)
    band = base.mark_area(color="var(--w1)", opacity=0.22).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line(color="var(--w1)", strokeWidth=1.5).encode(y=y)
    return spec(_one(alt) + band + line)
