"""Figures over the years, and of what was promised beside what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wattlaw.accelerators.catalogue.achieved import Achieved
from wattlaw.accelerators.catalogue.catalogue import built_in
from wattlaw.accelerators.catalogue.entry import FORM_FACTORS, SEGMENTS, USES, Entry, segment
from wattlaw.accelerators.catalogue.survey import By, frontier, trend
from wattlaw.accelerators.figures.scatter import COLOURS, headed, styled
from wattlaw.accelerators.figures.scatter_backdrop import PREFIXED
from wattlaw.core.errors import UsageError
from wattlaw.core.plugins import need
from wattlaw.core.units import show

_SEGMENT_COLOURS = ("#7d858e", "#0072b2", "#009e73", "#d55e00", "#8a5aa8")
_TECHNOLOGY_COLOURS = {
    "gpu": "#d55e00", "cpu": "#7d858e", "multicore": "#9aa1a9", "manycore": "#009e73", "fpga": "#c98a00",
    "tensor": "#0072b2", "dataflow": "#b5528c", "cgra": "#8c6d3f", "pim": "#8a5aa8", "neuromorphic": "#3d9bd6",
    "analog": "#b3261e", "unknown": "#d5d9dd",
}  # fmt: skip
_WORKLOAD_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b5528c",
    "#c98a00",
    "#3d9bd6",
    "#8c6d3f",
    "#7d858e",
)
FIRST_SURVEY = 2019
_DECADES = [10.0**k for k in range(-3, 19)]
LEAST_OF_A_YEAR = 3
"""A segment's median is drawn for the years with so many accelerators of it; each of them is a dot in any case."""


def plot_trend(entries: Sequence[Entry], title: str = "", by: By = "segment") -> Any:
    """Return efficiency by segment (or another field), frontiers, number formats and technologies over the years.

    Raises UsageError where the entries span fewer than two years.
    """
    alt = need("altair", "the figure of trends")
    dated = [e for e in entries if e.year is not None and e.op_per_joule]
    if len({e.year for e in dated}) < 2:
        raise UsageError("a trend needs accelerators of at least two years; loosen the filters")
    panels = [
        _efficiency(alt, dated, by),
        _frontiers(alt, dated),
        _shares(alt, dated, "precision", "number format", COLOURS),
        _shares(alt, dated, "technology", "technology", _TECHNOLOGY_COLOURS),
    ]
    whole = alt.concat(*panels, columns=2, spacing=36).resolve_scale(color="independent")
    words = "year of release, or of the first survey that lists it; efficiency as promised"
    return styled(
        whole.properties(title=headed(alt, title or "Accelerators over the years", words))
    )


def plot_measured(rows: Sequence[Achieved], title: str = "") -> Any:
    """Return each device's share of its promised peak, by workload. Raises UsageError where no share is known."""
    alt = need("altair", "the figure of achieved shares")
    known = [r for r in rows if r.share_of_peak.value is not None]
    if not known:
        why = next((r.share_of_peak.how for r in rows), "there are no runs")
        raise UsageError(f"no run has a known share of peak: {why}")
    names = sorted({r.workload for r in known})
    base = alt.Chart(alt.InlineData(values=[_share_row(r) for r in known])).encode(
        y=alt.Y(
            "device:N",
            title=None,
            sort=alt.EncodingSortField("share", op="median", order="descending"),
        ),
        color=_workload(alt, names),
    )
    ends = base.mark_rule(strokeWidth=1.4).encode(x="low:Q", x2="high:Q")
    grid = alt.Axis(format="~%", grid=True, gridColor="#e3e6e9", tickCount=8)
    dots = base.mark_point(size=48, filled=True, opacity=0.75).encode(
        x=alt.X("share:Q", title="share of the promised peak", axis=grid),
        shape=alt.Shape("workload:N", title="workload", scale=alt.Scale(domain=names)),
        tooltip=["device:N", "workload:N", "source:N", "devices:Q", "rate:N", "told:N"],
    )
    head = headed(
        alt,
        title or "Delivered of what was promised",
        "one mark a result, with the 5th to 95th percentile",
    )
    return styled((ends + dots).properties(width=560, title=head))


def _share_row(row: Achieved) -> dict[str, Any]:
    labels = {e.accelerator: f"{e.company} {e.product}" for e in built_in().entries}
    share = row.share_of_peak
    told = f"{100 * (share.value or 0):.1f} % of {show(row.peak_op_per_s.value or 0, 'op/s')}"
    return {
        "device": labels.get(row.accelerator, row.accelerator),
        "workload": row.workload,
        "source": row.source,
        "devices": row.devices,
        "share": share.value,
        "low": share.low or share.value,
        "high": share.high or share.value,
        "rate": show(row.samples_per_s.value or 0, "samples/s"),
        "told": told,
    }


def _workload(alt: Any, names: list[str]) -> Any:
    colours = [_WORKLOAD_COLOURS[i % len(_WORKLOAD_COLOURS)] for i in range(len(names))]
    return alt.Color("workload:N", title="workload", scale=alt.Scale(domain=names, range=colours))


def _groups(entries: Sequence[Entry], by: By) -> tuple[dict[str, str], list[str]]:
    """Return the groups that there are, each with its title, and their colours."""
    if by == "segment":
        return {s.name: s.title for s in SEGMENTS}, list(_SEGMENT_COLOURS)
    colours = {"precision": COLOURS, "technology": _TECHNOLOGY_COLOURS}.get(by)
    if colours is None:
        words = {"form_factor": FORM_FACTORS, "use": USES}[by]
        colours = dict(zip(words, (*_WORKLOAD_COLOURS[: len(words) - 1], "#b9c0c8"), strict=True))
    here = [w for w in colours if any(getattr(e, by) == w for e in entries)]
    return {w: w for w in here}, [colours[w] for w in here]


def _efficiency(alt: Any, entries: Sequence[Entry], by: By) -> Any:
    titles, colours = _groups(entries, by)
    dots = [
        {
            "year": e.year,
            "group": titles[segment(e.power_w) if by == "segment" else getattr(e, by)],
            "ratio": e.op_per_joule,
            "name": f"{e.company} {e.product}",
            "told": show(e.op_per_joule or 0, "op/s/W"),
        }
        for e in entries
    ]
    medians = [
        {"year": t.year, "group": titles[t.group], "ratio": t.median_op_per_joule}
        for t in trend(entries, by)
        if t.entries >= LEAST_OF_A_YEAR
    ]
    scale = alt.Scale(domain=list(titles.values()), range=colours)
    log = alt.Scale(type="log", nice=False, padding=8)
    ratios = alt.Axis(labelExpr=PREFIXED + "+'op/s/W'", values=_DECADES)
    base = alt.Chart().encode(
        x=alt.X("year:O", title=None, axis=alt.Axis(labelAngle=0)),
        xOffset="group:N",
        y=alt.Y("ratio:Q", title="promised efficiency", scale=log, axis=ratios),
        color=alt.Color(
            "group:N", title="median of", scale=scale, legend=alt.Legend(symbolOpacity=1)
        ),
    )
    marks = base.mark_circle(size=26, opacity=0.35).encode(tooltip=["name:N", "year:O", "told:N"])
    lines = base.mark_line(strokeWidth=2, point={"size": 22})
    marks.data, lines.data = alt.InlineData(values=dots), alt.InlineData(values=medians)
    return alt.layer(marks, lines).properties(
        width=430, height=270, title=f"efficiency by {by.replace('_', ' ')}"
    )


def _frontiers(alt: Any, entries: Sequence[Entry]) -> Any:
    rows: list[dict[str, Any]] = []
    before: list[Entry] = []
    for year in sorted({e.year for e in entries if e.year is not None and e.year >= FIRST_SURVEY}):
        best = frontier([e for e in entries if e.year is not None and e.year <= year])
        if best != before:
            rows += [
                {"year": year, "power": e.power_w, "peak": e.peak_op_per_s, "name": e.label}
                for e in best
            ]
        before = best
    watts, ops = (
        alt.Axis(labelExpr=f"{PREFIXED}+'{unit}'", values=_DECADES) for unit in ("W", "op/s")
    )
    log = alt.Scale(type="log", nice=False, padding=8)
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(interpolate="step-after", strokeWidth=1.8)
        .encode(
            x=alt.X("power:Q", title="peak power", scale=log, axis=watts),
            y=alt.Y("peak:Q", title="promised peak", scale=log, axis=ops),
            color=alt.Color(
                "year:O", title="frontier until", scale=alt.Scale(scheme="viridis", reverse=True)
            ),
            tooltip=["year:O", "name:N"],
        )
        .properties(
            width=430,
            height=270,
            title="the frontier: most peak for the power, of the years that moved it",
        )
    )


def _shares(
    alt: Any, entries: Sequence[Entry], field: str, title: str, colours: dict[str, str]
) -> Any:
    here = [w for w in colours if any(getattr(e, field) == w for e in entries)]
    rows = [
        {"year": year, "word": word, "order": here.index(word), "entries": count}
        for year in sorted({e.year for e in entries if e.year})
        for word in here
        if (count := sum(e.year == year and getattr(e, field) == word for e in entries))
    ]
    scale = alt.Scale(domain=here, range=[colours[w] for w in here])
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("year:O", title=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("entries:Q", title="accelerators of the year", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("word:N", title=title, scale=scale),
            order="order:Q",
            tooltip=["year:O", "word:N", "entries:Q"],
        )
        .properties(width=430, height=220, title=title)
    )
