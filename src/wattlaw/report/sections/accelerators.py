"""What the devices delivered of what their makers promise: share of peak and operations a joule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wattlaw.accelerators.catalogue.achieved import achieved
from wattlaw.core.plugins import need
from wattlaw.core.reading import Reading
from wattlaw.core.units import show
from wattlaw.laws.statistics.repeats import summarise_readings
from wattlaw.report.context import Context, Group, Row
from wattlaw.report.figure import (
    MOST_PANELS,
    Figure,
    Panel,
    Section,
    Table,
    chart,
    left_out,
    shown,
    spec,
)

NAMES = {"accelerators": "accelerators"}

TITLE = "Delivered of what was promised"
CAPTION = (
    "Operations counted for the workload (a multiply-add is two) × samples a second, over the peak that the catalogue "
    "gives for the device at the run's precision, without sparsity. The dot is the median of the repeats."
)
MOST = 16


class Share(NamedTuple):
    """One setting: its row, device and precision, and over its repeats: rate, share of peak, operations a joule."""

    row: Row
    device: str
    precision: str
    rate: Reading
    share: Reading
    per_joule: Reading


def accelerators(context: Context) -> Section | None:
    """Draw the share of peak of every setting whose device and operations are known; None without accelerators."""
    found = [(g, [_share(r) for r in g.rows if _on_accelerator(r)]) for g in context.groups]
    found = [(g, shares) for g, shares in found if shares]
    if not found:
        return None
    known = [
        (g, kept)
        for g, shares in found
        if (kept := [s for s in shares if s.share.value is not None])
    ]
    return Section(
        "accelerators",
        TITLE,
        45,
        figures=[_figure(known)] if known else [],
        tables=[_table(found)],
        missing=_why(found),
    )


def _on_accelerator(row: Row) -> bool:
    return any(
        (r.machine.device_type or r.setting.device_type) not in ("cpu", "auto") for r in row.runs
    )


def _share(row: Row) -> Share:
    each = [achieved(r) for r in row.runs]
    return Share(
        row,
        ", ".join(dict.fromkeys(a.device for a in each)),
        ", ".join(dict.fromkeys(a.precision for a in each)),
        summarise_readings([a.achieved_flop_per_s for a in each]),
        summarise_readings([a.share_of_peak for a in each]),
        summarise_readings([a.flop_per_joule for a in each]),
    )


def _figure(found: Sequence[tuple[Group, list[Share]]]) -> Figure:
    cut = [
        (g, sorted(s, key=lambda one: -(one.share.value or 0))[:MOST])
        for g, s in found[:MOST_PANELS]
    ]
    caption = CAPTION + left_out(
        sum(len(s) for _, s in cut), sum(len(s) for _, s in found), "settings"
    )
    most = max(s.share.high or s.share.value or 0 for _, shares in cut for s in shares)
    panels = [Panel(g.name, _chart(g, shares, most), 24 * len(shares) + 8) for g, shares in cut]
    return Figure("accelerators", TITLE, caption, panels, _table(cut))


def _chart(group: Group, shares: Sequence[Share], most: float) -> dict[str, Any]:
    """Return a panel; all share one axis, so that devices compare."""
    alt = need("altair", "the report")
    labels = [s.row.label for s in shares]
    rows = [
        {
            "label": s.row.label,
            "value": s.share.value,
            "text": _percent(s.share),
        }
        for s in shares
    ]
    base = chart(rows).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(grid=False, labelLimit=190)),
        tooltip=[
            alt.Tooltip("label:N", title="setting"),
            alt.Tooltip("text:N", title="share of peak"),
        ],
    )
    axis = alt.Axis(format="~%", tickCount=5)
    dots = base.mark_point(color=group.colour, fill=group.colour, size=64, opacity=1).encode(
        x=alt.X(
            "value:Q",
            title="share of the promised peak",
            scale=alt.Scale(domain=[0, most], nice=True),
            axis=axis,
        )
    )
    return spec(dots)


def _table(found: Sequence[tuple[Group, list[Share]]]) -> Table:
    columns = [
        "workload",
        "setting",
        "device",
        "precision",
        "operations/s each",
        "share of peak",
        "operations a joule",
    ]
    rows = [
        [
            g.name,
            s.row.label,
            s.device,
            s.precision,
            shown(s.rate, "flop/s"),
            _percent(s.share),
            shown(s.per_joule, "flop/J"),
        ]
        for g, shares in found
        for s in shares
    ]
    return Table(columns, rows, TITLE)


def _percent(reading: Reading) -> str:
    return "unknown" if reading.value is None else f"{show(100 * reading.value)} %"


def _why(found: Sequence[tuple[Group, list[Share]]]) -> str:
    reasons = dict.fromkeys(
        s.share.how for _, shares in found for s in shares if s.share.value is None
    )
    return "Unknown where " + "; ".join(reasons) + "." if reasons else ""
