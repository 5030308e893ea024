"""Figures over the years: efficiency, Pareto frontiers, number formats and technologies."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from wattlaw.accelerators.catalogue.entry import FORM_FACTORS, SEGMENTS, USES, CatalogueEntry
from wattlaw.accelerators.catalogue.survey import GroupBy, frontier, group_of, trend
from wattlaw.accelerators.figures.style import (
    DECADES,
    PRECISION_COLOURS,
    SEGMENT_COLOURS,
    SERIES_COLOURS,
    SI_PREFIXED,
    TECHNOLOGY_COLOURS,
    Record,
    chart,
    headed,
    styled,
)
from wattlaw.core.errors import UsageError
from wattlaw.core.units import show

FIRST_SURVEY = 2019
MIN_ENTRIES_OF_MEDIAN = 3
"""A group's median is drawn for years with at least this many entries; each entry is drawn as a
dot.
"""

GROUP_COLOURS = {
    "segment": {s.name: c for s, c in zip(SEGMENTS, SEGMENT_COLOURS, strict=True)},
    "precision": PRECISION_COLOURS,
    "technology": TECHNOLOGY_COLOURS,
    "form_factor": {**dict(zip(FORM_FACTORS, SERIES_COLOURS, strict=False)), "unknown": "#b9c0c8"},
    "use": {**dict(zip(USES, SERIES_COLOURS, strict=False)), "unknown": "#b9c0c8"},
}
SEGMENT_TITLES = {s.name: s.title for s in SEGMENTS}


def plot_trend(
    entries: Sequence[CatalogueEntry], title: str = "", by: GroupBy = "segment"
) -> alt.TopLevelMixin:
    """Return efficiency by segment (or another field), frontiers, number formats and technologies
    over the years.

    Raises UsageError if the entries span fewer than two years.
    """
    dated = [e for e in entries if e.year is not None and e.op_per_joule]
    if len({e.year for e in dated}) < 2:
        raise UsageError("a trend needs accelerators of at least two years; loosen the filters")
    panels = [
        _efficiency(dated, by),
        _frontiers(dated),
        _counts_by_year(dated, "precision", "number format"),
        _counts_by_year(dated, "technology", "technology"),
    ]
    whole = alt.concat(*panels, columns=2, spacing=36).resolve_scale(color="independent")
    subtitle = "year of release, or of the first survey that lists it; datasheet efficiency"
    return styled(whole.properties(title=headed(title or "Accelerators over the years", subtitle)))


def _efficiency(entries: Sequence[CatalogueEntry], by: GroupBy) -> alt.LayerChart:
    colours = _present_groups(entries, by)
    titles = {name: SEGMENT_TITLES.get(name, name) for name in colours}
    dots = [_dot(e, titles[group_of(e, by)]) for e in entries]
    medians: list[Record] = []
    for point in trend(entries, by):
        if point.entries >= MIN_ENTRIES_OF_MEDIAN:
            ratio = point.median_op_per_joule
            medians.append({"year": point.year, "group": titles[point.group], "ratio": ratio})
    scale = alt.Scale(domain=list(titles.values()), range=list(colours.values()))
    base = alt.Chart().encode(
        x=alt.X("year:O", title=None, axis=alt.Axis(labelAngle=0)),
        xOffset="group:N",
        y=alt.Y("ratio:Q", title="efficiency", scale=_log_scale(), axis=_axis("OPS/W")),
        color=alt.Color(
            "group:N", title="median of", scale=scale, legend=alt.Legend(symbolOpacity=1)
        ),
    )
    marks = base.mark_circle(size=26, opacity=0.35).encode(tooltip=["name:N", "year:O", "text:N"])
    lines = base.mark_line(strokeWidth=2, point={"size": 22})
    marks.data, lines.data = alt.InlineData(values=dots), alt.InlineData(values=medians)
    title = f"efficiency by {by.replace('_', ' ')}"
    return alt.layer(marks, lines).properties(width=430, height=270, title=title)


def _dot(entry: CatalogueEntry, group: str) -> Record:
    return {
        "year": entry.year,
        "group": group,
        "ratio": entry.op_per_joule,
        "name": f"{entry.company} {entry.product}",
        "text": show(entry.op_per_joule or 0, "OPS/W"),
    }


def _present_groups(entries: Sequence[CatalogueEntry], by: GroupBy) -> dict[str, str]:
    """Return the groups with their colours: all segments, otherwise those that occur."""
    colours = GROUP_COLOURS[by]
    if by == "segment":
        return colours
    present = {group_of(e, by) for e in entries}
    return {name: colours[name] for name in colours if name in present}


def _frontiers(entries: Sequence[CatalogueEntry]) -> alt.Chart:
    rows: list[Record] = []
    before: list[CatalogueEntry] = []
    years = {e.year or 0 for e in entries}
    for year in sorted(years):
        if year < FIRST_SURVEY:
            continue
        best = frontier(e for e in entries if (e.year or 0) <= year)
        if best == before:
            continue
        for entry in best:
            row: Record = {"year": year, "power": entry.power_w, "name": entry.label}
            rows.append({**row, "peak": entry.peak_op_per_s})
        before = best
    years_colour = alt.Scale(scheme="viridis", reverse=True)
    lines = chart(rows).mark_line(interpolate="step-after", strokeWidth=1.8)
    drawn = lines.encode(
        x=alt.X("power:Q", title="peak power", scale=_log_scale(), axis=_axis("W")),
        y=alt.Y("peak:Q", title="peak performance", scale=_log_scale(), axis=_axis("OPS")),
        color=alt.Color("year:O", title="frontier until", scale=years_colour),
        tooltip=["year:O", "name:N"],
    )
    return drawn.properties(
        width=430, height=270, title="Pareto frontier of the years in which it moved"
    )


def _counts_by_year(entries: Sequence[CatalogueEntry], field: GroupBy, title: str) -> alt.Chart:
    colours = _present_groups(entries, field)
    order = {word: place for place, word in enumerate(colours)}
    counts: dict[tuple[int, str], int] = {}
    for entry in entries:
        key = (entry.year or 0, group_of(entry, field))
        counts[key] = counts.get(key, 0) + 1
    rows: list[Record] = []
    for (year, word), count in sorted(counts.items()):
        rows.append({"year": year, "word": word, "order": order[word], "entries": count})
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    drawn = chart(rows).mark_bar()
    drawn = drawn.encode(
        x=alt.X("year:O", title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("entries:Q", title="accelerators of the year", axis=alt.Axis(tickMinStep=1)),
        color=alt.Color("word:N", title=title, scale=scale),
        order="order:Q",
        tooltip=["year:O", "word:N", "entries:Q"],
    )
    return drawn.properties(width=430, height=220, title=title)


def _log_scale() -> alt.Scale:
    return alt.Scale(type="log", nice=False, padding=8)


def _axis(unit: str) -> alt.Axis:
    return alt.Axis(labelExpr=f"{SI_PREFIXED}+'{unit}'", values=DECADES)
