"""The laws that were fitted, with their intervals and how well they predict what they have not seen."""

from __future__ import annotations

from markupsafe import Markup

from wattlaw.core.findings import Fit, Interval
from wattlaw.core.quantities import quantity
from wattlaw.core.units import counted
from wattlaw.report.context import Context, Group, natural
from wattlaw.report.figure import Section, Table, with_ends
from wattlaw.report.speedups import series_name

NAMES = {"laws": "laws"}

MOST_ROWS = 200
GREEK = {"alpha": "α", "beta": "β"}
FORMS = {"power": "α·N^(−β)"}
WORDS = Markup(
    "<p>A law of three or more sizes: how a quantity follows the number of devices. The exponent says how steep: "
    "time ∝ N<sup>−1</sup> is ideal, N<sup>0</sup> is no gain. The held-out error is the median error when each "
    "size is predicted from the others.</p>"
)


def laws(context: Context) -> Section | None:
    """List every law but speed-ups, which have a figure of their own."""
    found = [
        (g, f)
        for f in context.fits
        if f.law != "speedup"
        for g in context.groups
        if g.owns(f.group)
    ]
    if not found:
        return None
    names = list(dict.fromkeys(n for _, f in found for n in f.parameters))
    columns = [
        "workload",
        "setting",
        "law",
        *(GREEK.get(n, n) for n in names),
        "runs",
        "held-out error",
        "status",
    ]
    found.sort(key=lambda pair: natural(f"{pair[0].name}, {series_name(pair[1], pair[0])}"))
    table = Table(columns, [_row(g, f, names) for g, f in found][:MOST_ROWS], "Laws")
    return Section("laws", "Laws", 15, text=WORDS, tables=[table])


def _row(group: Group, fit: Fit, names: list[str]) -> list[str]:
    over = group.device_words[1] if fit.over == "devices" else fit.over
    what = quantity(fit.target)
    law = f"{what.title} = {FORMS.get(fit.law, fit.law)}, N {over}"
    error = (
        f"{100 * fit.held_out_error:.1f} %"
        if fit.held_out_error is not None
        else "needs three sizes"
    )
    values = [_words(fit.parameters.get(n), what.unit if n == "alpha" else "") for n in names]
    return [
        group.name,
        series_name(fit, group),
        law,
        *values,
        f"{fit.n}, {counted(fit.sizes, 'size')}",
        error,
        fit.status,
    ]


def _words(value: Interval | None, unit: str) -> str:
    return with_ends(value.value, value.low, value.high, unit) if value else ""
