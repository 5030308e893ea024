"""The figures and tables of the accelerator surveys' pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from wattlaw.accelerators.catalogue.achieved import AchievedShare
from wattlaw.accelerators.catalogue.catalogue import built_in
from wattlaw.accelerators.catalogue.entry import CatalogueEntry
from wattlaw.accelerators.catalogue.rules import MIN_OP_PER_JOULE
from wattlaw.accelerators.catalogue.survey import diff, frontier, surveys
from wattlaw.accelerators.figures.scatter import plot, plot_for_page
from wattlaw.accelerators.figures.style import SI_PREFIXED, Palette, Record
from wattlaw.core.units import show
from wattlaw.report.content import Figure, PageTable, Panel
from wattlaw.report.figures.chart import Cell, chart, spec
from wattlaw.studies.result import StudyFigure

WIDTH, NARROW, HEIGHT = 900, 280, 560
"""Size for which the labels of a scatter figure are placed, on a desktop and on a phone, px."""

PAGE_PALETTE = Palette(
    ink="var(--ink)",
    soft="var(--soft)",
    faint="var(--p6)",
    paper="var(--paper)",
    bands=("var(--wash)", "var(--paper)"),
    precisions={
        "int1": "var(--p2)",
        "int2": "var(--p4)",
        "int4": "var(--w4)",
        "int8": "var(--w1)",
        "int16": "var(--w6)",
        "int32": "var(--w7)",
        "fp4": "var(--w12)",
        "fp8": "var(--w8)",
        "fp16": "var(--w2)",
        "bf16": "var(--w5)",
        "tf32": "var(--w9)",
        "fp32": "var(--w3)",
        "fp64": "var(--w11)",
        "analog": "var(--w10)",
        "unknown": "var(--others)",
    },
)
EDITION_COLOURS = ("var(--w1)", "var(--w2)", "var(--w3)")
BENCHMARKS = {"resnet": ("ResNet-50", "var(--w1)"), "bert": ("BERT-large", "var(--w2)")}
BENCHMARK_SHAPES = {"ResNet-50": "circle", "BERT-large": "square"}
SHARE_LINES = (1.0, 0.5, 0.25, 0.1)
"""Shares of peak of the lines in the figure of benchmarks."""

SCATTER_CAPTION = (
    "Each mark is an accelerator at one precision: colour is the precision, shape the form "
    "factor, a filled mark is sold for training. Dashed lines have equal efficiency; the step "
    "line is the Pareto frontier. Point at a mark for its values."
)
ENTRY_COLUMNS = (
    *("company", "product", "year", "form factor", "use"),
    *("precision", "peak (op/s)", "power (W)", "efficiency (op/s/W)"),
)


@dataclass(frozen=True)
class SurveyData:
    """What the study compares.

    then, now  the survey's edition and today's catalogue, an entry per accelerator and use
    newer      the entries of ``now`` that were released after the survey's year
    achieved   results of MLPerf Training
    own        runs on this machine
    """

    year: int
    then: list[CatalogueEntry]
    now: list[CatalogueEntry]
    achieved: list[AchievedShare]
    own: list[AchievedShare]

    @property
    def newer(self) -> list[CatalogueEntry]:
        return [e for e in self.now if (e.year or 0) > self.year]


def survey_figures(data: SurveyData) -> list[StudyFigure]:
    """Return the scatter figures of the year and of today, efficiencies, and shares of peak."""
    found = [
        _scatter(data.then, f"survey-{data.year}", f"The survey of {data.year}"),
        _scatter(data.now, "today", "Today's catalogue"),
        _efficiencies(data),
    ]
    if data.year >= 2021:
        found.append(_benchmarks(data.achieved))
    found.append(_shares(data))
    return found


def count_table(year: int, rows: Sequence[Sequence[str]]) -> PageTable:
    """Return the counts of the survey's year and of today; a row is (text, then, today)."""
    columns = ["quantity", f"survey of {year}", "today's catalogue"]
    return PageTable(columns, rows, f"Counts of {year} and today")


def change_table(year: int) -> PageTable:
    """Return the values of the year's accelerators that the latest survey gives differently."""
    latest = surveys()[-1]
    changes = diff(year, latest)
    names = {e.accelerator: f"{e.company} {e.product}" for e in built_in().entries}
    rows = []
    for change in changes:
        if change.change == "changed":
            device = names.get(change.accelerator, change.accelerator)
            before = _changed_cell(change.before, change.column)
            after = _changed_cell(change.after, change.column)
            column = change.column.removesuffix("_op_per_s").removesuffix("_w")
            rows.append([device, change.precision, column, before, after])
    caption = f"Values that the survey of {latest} gives differently"
    return PageTable(["accelerator", "precision", "value", str(year), str(latest)], rows, caption)


def frontier_table(data: SurveyData) -> PageTable:
    """Return the accelerators on the Pareto frontier then and today."""
    rows = []
    for edition, entries in ((f"survey of {data.year}", data.then), ("today", data.now)):
        for entry in frontier(entries):
            peak = show(entry.peak_op_per_s or 0, "OPS")
            values = [peak, show(entry.power_w or 0, "W"), show(entry.op_per_joule or 0, "OPS/W")]
            product = f"{entry.company} {entry.product}"
            rows.append([edition, product, str(entry.year or ""), entry.precision, *values])
    columns = ["edition", "accelerator", "year", "precision", "peak", "power", "efficiency"]
    return PageTable(columns, rows, "The Pareto frontier then and today")


def _scatter(entries: Sequence[CatalogueEntry], name: str, title: str) -> StudyFigure:
    plausible, wrong_units = _split_by_unit(entries)
    drawn = plot_for_page(plausible, PAGE_PALETTE, WIDTH, NARROW, HEIGHT)
    precisions = {e.precision for e in plausible}
    legend = [(p, colour) for p, colour in PAGE_PALETTE.precisions.items() if p in precisions]
    caption = SCATTER_CAPTION
    if wrong_units:
        names = ", ".join(sorted({f"{e.company} {e.product}" for e in wrong_units}))
        caption += f" Not drawn, because the survey gives their peak in the wrong unit: {names}."
    figure = Figure(
        name,
        title,
        caption,
        [Panel("", spec(drawn), HEIGHT)],
        table=_entry_table(entries, title),
        legend=legend,
        wide=True,
    )
    return StudyFigure(figure, plot(plausible, title))


def _split_by_unit(
    entries: Sequence[CatalogueEntry],
) -> tuple[list[CatalogueEntry], list[CatalogueEntry]]:
    """Return the entries with a plausible efficiency, and those whose peak is in the wrong unit."""
    plausible: list[CatalogueEntry] = []
    wrong: list[CatalogueEntry] = []
    for entry in entries:
        if entry.op_per_joule is None:
            continue
        is_plausible = entry.op_per_joule >= MIN_OP_PER_JOULE
        (plausible if is_plausible else wrong).append(entry)
    return plausible, wrong


def _entry_table(entries: Sequence[CatalogueEntry], caption: str) -> PageTable:
    rows: list[list[str]] = []
    keys: list[list[Cell]] = []
    for entry in sorted(entries, key=lambda e: (e.company.lower(), e.product, e.precision)):
        words = [entry.company, entry.product, str(entry.year or ""), entry.form_factor]
        words += [entry.use, entry.precision]
        values = (entry.peak_op_per_s, entry.power_w, entry.op_per_joule)
        texts = [_known(v, unit) for v, unit in zip(values, ("OPS", "W", "OPS/W"), strict=True)]
        rows.append([*words, *texts])
        keys.append([*words, *values])
    return PageTable(ENTRY_COLUMNS, rows, caption, keys)


def _efficiencies(data: SurveyData) -> StudyFigure:
    """Return the share of accelerators of at least an efficiency, then and today."""
    editions = {
        f"survey of {data.year}": data.then,
        "today's catalogue": data.now,
        f"released after {data.year}": data.newer,
    }
    rows: list[Record] = []
    for name, entries in editions.items():
        plausible, _ = _split_by_unit(entries)
        values = sorted(e.op_per_joule or 0.0 for e in plausible)
        for index, value in enumerate(values):
            share = 1 - index / len(values)
            text = f"{100 * share:.0f} % have at least {show(value, 'OPS/W')}"
            rows.append({"edition": name, "efficiency": value, "share": share, "text": text})
    log = alt.Scale(type="log", nice=False)
    axis = alt.Axis(labelExpr=f"{SI_PREFIXED}+'OPS/W'", tickCount=6)
    scale = alt.Scale(domain=list(editions), range=EDITION_COLOURS)
    lines = chart(rows).mark_line(interpolate="step-before", strokeWidth=2)
    drawn = lines.encode(
        x=alt.X("efficiency:Q", title="efficiency", scale=log, axis=axis),
        y=alt.Y("share:Q", title="share of accelerators", axis=alt.Axis(format="~%", tickCount=5)),
        color=alt.Color("edition:N", title=None, scale=scale, legend=None),
        tooltip=[alt.Tooltip("edition:N"), alt.Tooltip("text:N", title="accelerators")],
    )
    table_rows: list[list[str]] = []
    keys: list[list[Cell]] = []
    for row in rows:
        table_rows.append([str(row["edition"]), str(row["text"])])
        keys.append([str(row["edition"]), row["efficiency"]])
    figure = Figure(
        "efficiency",
        "Efficiency then and today",
        "Share of accelerators whose datasheet efficiency is at least the value on the "
        "horizontal axis. Rows whose peak is in the wrong unit are left out.",
        [Panel("", spec(drawn), 280)],
        table=PageTable(["edition", "accelerators"], table_rows, "Efficiency then and today", keys),
        legend=list(zip(editions, EDITION_COLOURS, strict=True)),
    )
    return StudyFigure(figure)


def _benchmarks(achieved: Sequence[AchievedShare]) -> StudyFigure:
    """Return achieved operations per second against the datasheet peak."""
    rows = [_share_record(r, frozenset()) for r in achieved]
    peaks = [r.peak_op_per_s.value for r in achieved if r.peak_op_per_s.value]
    low, high = min(peaks) / 1.3, max(peaks) * 1.3
    lines: list[Record] = []
    for share in SHARE_LINES:
        name = f"{100 * share:.0f} %"
        lines.append(
            {"peak": low, "rate": low * share, "peak2": high, "rate2": high * share, "name": name}
        )
    log = alt.Scale(type="log", nice=False, domain=[low, high])
    free = alt.Scale(type="log", nice=False)
    x = alt.X("peak:Q", title="datasheet peak at 16 bits", scale=log, axis=_rate_axis("OPS"))
    y = alt.Y("rate:Q", title="achieved per device", scale=free, axis=_rate_axis("FLOP/s"))
    rules = chart(lines).mark_rule(color="var(--others)", strokeDash=[4, 3], tooltip=None)
    texts = chart(lines).mark_text(
        align="right", dy=-5, dx=-4, color="var(--soft)", fontSize=10.5, tooltip=None
    )
    points = chart(rows).mark_point(size=60, filled=True, opacity=0.8)
    drawn = alt.layer(
        rules.encode(x=x, y=y, x2="peak2:Q", y2="rate2:Q"),
        texts.encode(x=alt.X("peak2:Q", scale=log), y=alt.Y("rate2:Q", scale=free), text="name:N"),
        points.encode(
            x=x, y=y, color=_benchmark_colour(), shape=_benchmark_shape(), tooltip=_tips()
        ),
    )
    figure = Figure(
        "benchmarks",
        "Benchmarks against peak",
        "Operations per second that a device achieved in single-node MLPerf Training (counted "
        "operations × samples per second), against its dense 16-bit peak. Dashed lines are "
        "shares of peak. The choice of benchmark and figure is ours.",
        [Panel("", spec(drawn), 380)],
        table=_share_table(rows, "Benchmarks against peak"),
        legend=list(BENCHMARKS.values()),
    )
    return StudyFigure(figure)


def _shares(data: SurveyData) -> StudyFigure:
    """Return the share of peak of each device in MLPerf Training."""
    known = frozenset(
        e.accelerator for e in built_in().entries if set(e.surveys) & _until(data.year)
    )
    rows = [_share_record(r, known) for r in data.achieved]
    by_median = alt.EncodingSortField("share", op="median", order="descending")
    axis = alt.Axis(format="~%", tickCount=6)
    base = chart(rows).encode(
        y=alt.Y("device:N", title=None, sort=by_median, axis=alt.Axis(grid=False)),
        color=_benchmark_colour(),
    )
    ends = base.mark_rule(strokeWidth=1.4, opacity=0.6).encode(x="low:Q", x2="high:Q")
    dots = base.mark_point(size=52, filled=True, opacity=0.8).encode(
        x=alt.X("share:Q", title="share of the 16-bit peak", axis=axis),
        shape=_benchmark_shape(),
        tooltip=_tips(),
    )
    devices = len({row["device"] for row in rows})
    figure = Figure(
        "share-of-peak",
        "Achieved share of peak",
        "One mark per result of single-node MLPerf Training v1.0, v3.0 and v4.1, with the 5th to "
        "95th percentile of its runs. The logs name no precision: if a submission computed in "
        "fp8, its share of the 16-bit peak is too high. A star marks devices that the surveys "
        f"until {data.year} list.",
        [Panel("", spec(ends + dots), 22 * devices + 10)],
        table=_share_table(rows, "Achieved share of peak"),
        legend=list(BENCHMARKS.values()),
    )
    return StudyFigure(figure)


def _until(year: int) -> set[int]:
    return {y for y in surveys() if y <= year}


def _share_record(row: AchievedShare, listed: frozenset[str]) -> Record:
    names = {e.accelerator: f"{e.company} {e.product}" for e in built_in().entries}
    share = row.share_of_peak
    value = share.value or 0.0
    device = names.get(row.accelerator, row.accelerator)
    peak = row.peak_op_per_s.value or 0.0
    return {
        "device": f"{device} ★" if row.accelerator in listed else device,
        "benchmark": BENCHMARKS[row.workload][0],
        "round": row.source.replace("mlperf", "MLPerf"),
        "devices": row.devices,
        "share": value,
        "low": share.low or value,
        "high": share.high or value,
        "peak": peak,
        "rate": row.achieved_flop_per_s.value,
        "text": f"{100 * value:.1f} % of {show(peak, 'OPS')}",
    }


def _share_table(rows: Sequence[Record], caption: str) -> PageTable:
    columns = [
        "device",
        "benchmark",
        "round",
        "devices",
        "achieved (FLOP/s)",
        "peak (op/s)",
        "share",
    ]
    cells: list[list[str]] = []
    keys: list[list[Cell]] = []
    for row in rows:
        words = [str(row[name]) for name in ("device", "benchmark", "round", "devices")]
        rate, peak, share = (float(row[name] or 0) for name in ("rate", "peak", "share"))
        cells.append([*words, show(rate, "FLOP/s"), show(peak, "OPS"), f"{100 * share:.1f} %"])
        keys.append([*words, rate, peak, share])
    return PageTable(columns, cells, caption, keys)


def _rate_axis(unit: str) -> alt.Axis:
    values = [step * 10.0**exponent for exponent in range(11, 17) for step in (1, 2, 5)]
    return alt.Axis(labelExpr=f"{SI_PREFIXED}+'{unit}'", values=values, grid=False)


def _benchmark_colour() -> alt.Color:
    names, colours = zip(*BENCHMARKS.values(), strict=True)
    return alt.Color("benchmark:N", scale=alt.Scale(domain=names, range=colours), legend=None)


def _benchmark_shape() -> alt.Shape:
    names = list(BENCHMARK_SHAPES)
    shapes = alt.Scale(domain=names, range=list(BENCHMARK_SHAPES.values()))
    return alt.Shape("benchmark:N", scale=shapes, legend=None)


def _tips() -> list[alt.Tooltip]:
    fields = {"device": "device", "benchmark": "benchmark", "round": "round", "devices": "devices"}
    return [alt.Tooltip(f"{f}:N", title=t) for f, t in {**fields, "text": "achieved"}.items()]


def _changed_cell(value: float | str | None, column: str) -> str:
    if isinstance(value, float):
        return show(value, {"peak_op_per_s": "OPS", "power_w": "W"}.get(column, ""))
    return value or "unknown"


def _known(value: float | None, unit: str) -> str:
    return show(value, unit) if value else "unknown"
