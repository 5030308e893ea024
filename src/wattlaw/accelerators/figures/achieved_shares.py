"""The figure of the share of peak that devices achieved."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from wattlaw.accelerators.catalogue.achieved import AchievedShare
from wattlaw.accelerators.catalogue.catalogue import built_in
from wattlaw.accelerators.figures.style import SERIES_COLOURS, Record, chart, headed, styled
from wattlaw.core.errors import UsageError
from wattlaw.core.units import show


def plot_measured(rows: Sequence[AchievedShare], title: str = "") -> alt.TopLevelMixin:
    """Return each device's share of its peak, by workload. Raises UsageError if none is known."""
    known = [r for r in rows if r.share_of_peak.value is not None]
    if not known:
        reasons = [r.share_of_peak.how for r in rows]
        why = reasons[0] if reasons else "there are no runs"
        raise UsageError(f"no run has a known share of peak: {why}")
    names = {e.accelerator: f"{e.company} {e.product}" for e in built_in().entries}
    workloads = sorted({r.workload for r in known})
    by_median = alt.EncodingSortField("share", op="median", order="descending")
    base = chart([_record(r, names) for r in known]).encode(
        y=alt.Y("device:N", title=None, sort=by_median),
        color=alt.Color("workload:N", title="workload", scale=_colours(workloads)),
    )
    ends = base.mark_rule(strokeWidth=1.4).encode(x="low:Q", x2="high:Q")
    axis = alt.Axis(format="~%", grid=True, gridColor="#e3e6e9", tickCount=8)
    dots = base.mark_point(size=48, filled=True, opacity=0.75).encode(
        x=alt.X("share:Q", title="share of peak", axis=axis),
        shape=alt.Shape("workload:N", title="workload", scale=alt.Scale(domain=workloads)),
        tooltip=["device:N", "workload:N", "source:N", "devices:Q", "rate:N", "text:N"],
    )
    head = headed(
        title or "Share of peak achieved", "one mark per result, with the 5th to 95th percentile"
    )
    return styled((ends + dots).properties(width=560, title=head))


def _colours(workloads: Sequence[str]) -> alt.Scale:
    count = len(SERIES_COLOURS)
    colours = [SERIES_COLOURS[i % count] for i in range(len(workloads))]
    return alt.Scale(domain=list(workloads), range=colours)


def _record(row: AchievedShare, names: dict[str, str]) -> Record:
    share = row.share_of_peak
    value = share.value or 0.0
    return {
        "device": names.get(row.accelerator, row.accelerator),
        "workload": row.workload,
        "source": row.source,
        "devices": row.devices,
        "share": value,
        "low": share.low or value,
        "high": share.high or value,
        "rate": show(row.samples_per_s.value or 0, "samples/s"),
        "text": f"{100 * value:.1f} % of {show(row.peak_op_per_s.value or 0, 'OPS')}",
    }
