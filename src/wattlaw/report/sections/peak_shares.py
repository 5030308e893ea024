"""How much of their promised peak the devices delivered: share of peak, operations per joule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wattlaw.accelerators.catalogue.achieved import achieved
from wattlaw.core.reading import Reading
from wattlaw.core.units import show
from wattlaw.laws.statistics.repeats import summarise_readings
from wattlaw.report.content import MAX_PANELS, Figure, PageTable, Panel, Section, not_drawn
from wattlaw.report.context import Context, SettingRow, WorkloadGroup
from wattlaw.report.figures.chart import (
    VegaSpec,
    altair,
    chart,
    names_axis,
    spec,
    tooltip,
)
from wattlaw.report.figures.shown_settings import MAX_ROWS
from wattlaw.report.formatting import shown
from wattlaw.report.setting_names import device_type_of

NAMES = {"accelerators": "accelerators"}

TITLE = "Delivered share of the promised peak"
CAPTION = (
    "Operations counted for the workload (a multiply-add is two) × samples per second, over the "
    "peak that the catalogue gives for the device at the precision of the run, without sparsity. "
    "The dot is the geometric mean of the repeats."
)
COLUMNS = [
    "workload",
    "setting",
    "device",
    "precision",
    "operations/s each",
    "share of peak",
    "operations per joule",
]


class PeakShare(NamedTuple):
    """One setting over its repeats: device, precision, rate, share of peak, operations per J."""

    row: SettingRow
    device: str
    precision: str
    rate: Reading
    share: Reading
    per_joule: Reading

    @property
    def words(self) -> str:
        """The share of peak as text."""
        value = self.share.value
        return "unknown" if value is None else f"{show(100 * value)} %"


Shares = list[tuple[WorkloadGroup, list[PeakShare]]]


def accelerators(context: Context) -> Section | None:
    """Draw the share of peak of settings on accelerators; None if there is no accelerator."""
    found: Shares = []
    known: Shares = []
    for group in context.groups:
        shares = list(map(_share, filter(_is_on_accelerator, group.rows)))
        with_value = [one for one in shares if one.share.value is not None]
        if shares:
            found.append((group, shares))
        if with_value:
            known.append((group, with_value))
    if not found:
        return None
    figures = [_figure(known)] if known else []
    missing = _why_unknown(found)
    tables = [_table(found)]
    return Section("accelerators", TITLE, 45, figures=figures, tables=tables, missing=missing)


def _is_on_accelerator(row: SettingRow) -> bool:
    return any(device_type_of(run) not in ("cpu", "auto") for run in row.runs)


def _share(row: SettingRow) -> PeakShare:
    devices: dict[str, None] = {}
    precisions: dict[str, None] = {}
    rates, shares, per_joule = [], [], []
    for run in row.runs:
        one = achieved(run)
        devices[one.device] = None
        precisions[one.precision] = None
        rates.append(one.achieved_flop_per_s)
        shares.append(one.share_of_peak)
        per_joule.append(one.flop_per_joule)
    return PeakShare(
        row,
        ", ".join(devices),
        ", ".join(precisions),
        summarise_readings(rates),
        summarise_readings(shares),
        summarise_readings(per_joule),
    )


def _figure(known: Shares) -> Figure:
    drawn: Shares = []
    for group, shares in known[:MAX_PANELS]:
        ranked = sorted(shares, key=lambda one: -(one.share.value or 0.0))
        drawn.append((group, ranked[:MAX_ROWS]))
    most = 0.0
    for _, shares in drawn:
        for one in shares:
            most = max(most, one.share.high or one.share.value or 0.0)
    panels = []
    for group, shares in drawn:
        panels.append(Panel(group.name, _chart(group, shares, most), 24 * len(shares) + 8))
    caption = CAPTION + not_drawn(_count(drawn), _count(known), "settings")
    return Figure("accelerators", TITLE, caption, panels, _table(drawn))


def _count(found: Shares) -> int:
    return sum(len(shares) for _, shares in found)


def _chart(group: WorkloadGroup, shares: Sequence[PeakShare], most: float) -> VegaSpec:
    """Return a panel; all panels share one axis, so that devices can be compared."""
    alt = altair()
    labels, data = [], []
    for one in shares:
        labels.append(one.row.label)
        data.append({"label": one.row.label, "value": one.share.value, "text": one.words})
    base = chart(data).encode(
        y=names_axis("label", labels, labelLimit=190),
        tooltip=tooltip(label="setting", text="share of peak"),
    )
    x = alt.X(
        "value:Q",
        title="share of the promised peak",
        scale=alt.Scale(domain=[0, most], nice=True),
        axis=alt.Axis(format="~%", tickCount=5),
    )
    hue = group.colour
    return spec(base.mark_point(color=hue, fill=hue, size=64, opacity=1).encode(x=x))


def _table(found: Shares) -> PageTable:
    rows = []
    for group, shares in found:
        for one in shares:
            rate, per_joule = shown(one.rate, "flop/s"), shown(one.per_joule, "flop/J")
            names = [group.name, one.row.label, one.device, one.precision]
            rows.append([*names, rate, one.words, per_joule])
    return PageTable(COLUMNS, rows, TITLE)


def _why_unknown(found: Shares) -> str:
    reasons: dict[str, None] = {}
    for _, shares in found:
        reasons |= {one.share.how: None for one in shares if one.share.value is None}
    return f"The share of peak is unknown: {'; '.join(reasons)}." if reasons else ""
