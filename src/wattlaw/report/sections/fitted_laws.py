"""The fitted laws with their intervals, and their error on held-out sizes."""

from __future__ import annotations

from wattlaw.core.findings import Fit
from wattlaw.core.quantities import quantity
from wattlaw.core.units import counted
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context, WorkloadGroup
from wattlaw.report.formatting import interval_text
from wattlaw.report.setting_names import natural
from wattlaw.report.speedups import series_name

NAMES = {"laws": "laws"}

MAX_ROWS = 200
GREEK = {"alpha": "α", "beta": "β"}
FORMS = {"power": "α·N^(−β)"}
WORDS = (
    "A law needs three or more sizes. It describes how a quantity depends on the device count N. "
    "An exponent of 1 is ideal, time ∝ N⁻¹; an exponent of 0 is no gain. The held-out error is the "
    "median relative error when each size is predicted from the others."
)


def laws(context: Context) -> Section | None:
    """List every law; speedups have a figure of their own."""
    found = []
    for fit in context.fits:
        for group in context.groups:
            if fit.law != "speedup" and group.owns(fit.group):
                found.append((group, fit, series_name(fit, group)))
    if not found:
        return None
    found.sort(key=lambda one: natural(f"{one[0].name}, {one[2]}"))
    parameters = list(dict.fromkeys(name for _, fit, _ in found for name in fit.parameters))
    heads = [GREEK.get(name, name) for name in parameters]
    columns = ["workload", "setting", "law", *heads, "runs", "held-out error", "status"]
    rows = [_row(group, fit, series, parameters) for group, fit, series in found[:MAX_ROWS]]
    table = PageTable(columns, rows, "Laws")
    return Section("laws", "Laws", 15, paragraphs=[WORDS], tables=[table])


def _row(group: WorkloadGroup, fit: Fit, series: str, parameters: list[str]) -> list[str]:
    over = group.device_words[1] if fit.over == "devices" else fit.over
    target = quantity(fit.target)
    error = "needs three sizes"
    if fit.held_out_error is not None:
        error = f"{100 * fit.held_out_error:.1f} %"
    values = []
    for name in parameters:
        unit = target.unit if name == "alpha" else ""
        values.append(interval_text(fit.parameters.get(name), unit))
    return [
        group.name,
        series,
        f"{target.title} = {FORMS.get(fit.law, fit.law)}, N {over}",
        *values,
        f"{fit.n}, {counted(fit.sizes, 'size')}",
        error,
        fit.status,
    ]
