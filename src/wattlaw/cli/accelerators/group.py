"""``wattlaw accelerators``: the command group, and its commands that print tables."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.accelerators.figures import choose, frontier, measured, plot, trend
from wattlaw.cli.accelerators.filters import (
    CATALOGUE,
    PATH,
    Chosen,
    entries,
    filters,
    peak_cells,
    place_of,
    print_entries,
    show_known,
)
from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table
from wattlaw.core.units import counted
from wattlaw.core.units import show as show_value

if TYPE_CHECKING:
    from wattlaw.accelerators.catalogue.entry import CatalogueEntry
    from wattlaw.core.csv_table import TableFault

NAMES = {"accelerators": "accelerators"}

CHANGE_UNITS = {"peak_op_per_s": "OPS", "power_w": "W"}


@click.group(short_help="Peak, power and achieved share of AI accelerators.")
def accelerators() -> None:
    """The catalogue of AI accelerators: peak performance, efficiency, and the share of peak
    achieved.
    """


for command in (plot, trend, frontier, measured, choose):
    accelerators.add_command(command)


@accelerators.command("list", short_help="List accelerators, one line per precision.")
@filters
@json_option
def list_(as_json: bool, **chosen: Chosen) -> None:
    """List the accelerators that the filters keep, one line per device and precision."""
    from wattlaw.accelerators.catalogue.survey import counts

    found = entries(chosen)
    if as_json:
        emit_json("accelerators", found, counts(found))
        return
    print_entries(found)


@accelerators.command(short_help="Show all facts about one accelerator.")
@click.argument("name")
@CATALOGUE
@json_option
def show(name: str, catalogue: Path | None, as_json: bool) -> None:
    """Show all facts about one accelerator; NAME may be its name in a driver or in MLPerf."""
    from wattlaw.accelerators.catalogue.catalogue import load, named

    found = named(load(catalogue).entries, name)
    if as_json:
        emit_json("accelerators", found, {"rows": len(found)})
        return
    first = found[0]
    say(f"{first.company} {first.product} ({first.accelerator})")
    print_table(["fact", "value"], [fact for fact in _facts(found) if fact[1]])
    columns = ["precision", "peak", "counting", "efficiency", "surveys", "note"]
    print_table(columns, map(peak_cells, found))
    sources = dict.fromkeys(" ".join(e.source for e in found).split())
    say("sources: " + (" ".join(sources) or "none"))


@accelerators.command()
@click.argument("names", nargs=-1, required=True)
@CATALOGUE
@json_option
def compare(names: tuple[str, ...], catalogue: Path | None, as_json: bool) -> None:
    """Compare accelerators side by side."""
    from wattlaw.accelerators.catalogue.catalogue import load, named
    from wattlaw.accelerators.catalogue.entry import PRECISIONS

    groups = [named(load(catalogue).entries, n) for n in names]
    if as_json:
        items = list(itertools.chain.from_iterable(groups))
        emit_json("accelerators", items, {"rows": len(items)})
        return
    rows = []
    for facts in zip(*map(_facts, groups), strict=True):
        title, _ = facts[0]
        rows.append([title, *(text or "?" for _, text in facts)])
    for precision in PRECISIONS:
        peaks = [_peak_at(group, precision) for group in groups]
        if any(peaks):
            rows.append([f"peak, {precision}", *(peak or "?" for peak in peaks)])
    print_table(["", *(g[0].label for g in groups)], rows)


@accelerators.command(short_help="Show what changed from one survey to another.")
@click.argument("before", type=int)
@click.argument("after", type=int)
@filters
@json_option
def diff(before: int, after: int, as_json: bool, **chosen: Chosen) -> None:
    """Show what changed from the survey of one year to that of another; filters apply to today's
    catalogue.
    """
    from wattlaw.accelerators.catalogue.catalogue import check_words
    from wattlaw.accelerators.catalogue.entry import PRECISIONS
    from wattlaw.accelerators.catalogue.survey import diff as changes_between

    found = changes_between(before, after)
    if any(chosen.values()):
        # a survey may have named another precision than the catalogue does today
        precisions = chosen.pop("precision")
        check_words("precision", precisions, PRECISIONS)
        kept = {e.accelerator for e in entries({**chosen, "precision": ()})}
        precisions = precisions or PRECISIONS
        found = [c for c in found if c.accelerator in kept and c.precision in precisions]
    totals = {"new": 0, "gone": 0, "changed": 0}
    for change in found:
        totals[change.change] += 1
    if as_json:
        emit_json("accelerators diff", found, totals)
        return
    rows = []
    for change in found:
        identity = [change.change, change.accelerator, change.precision, change.column]
        was = _change_cell(change.before, change.column)
        rows.append([*identity, was, _change_cell(change.after, change.column)])
    columns = ["change", "accelerator", "precision", "column", str(before), str(after)]
    print_table(columns, rows)
    say(", ".join(f"{count} {kind}" for kind, count in totals.items()))


@accelerators.command(short_help="Report faults in tables of accelerators.")
@click.argument("files", nargs=-1, required=True, type=PATH)
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Report faults in tables of accelerators: file, line, column, fault.

    With several files in the order of their years, it also reports powers that changed implausibly.
    The exit code is 1 if a row had to be dropped.
    """
    from wattlaw.accelerators.catalogue.read import read_table
    from wattlaw.accelerators.catalogue.rules import find_power_changes

    tables = [read_table(f) for f in files]
    faults: list[TableFault] = []
    rows = 0
    for table in tables:
        faults += table.faults
        rows += len(table.entries)
    faults += find_power_changes(tables)
    if as_json:
        emit_json("accelerators check", faults, {"rows": rows, "faults": len(faults)})
    else:
        for fault in faults:
            click.echo(f"{place_of(fault)}: {fault.fault} [{fault.handling}: {fault.name}]")
        count = Counter(fault.handling for fault in faults)
        handled = (
            f"{count['mended']} mended, {count['doubted']} doubted, {count['dropped']} dropped"
        )
        say(f"{counted(rows, 'good row')}; {handled}")
    if any(f.handling == "dropped" and f.name != "blank-row" for f in faults):
        raise click.exceptions.Exit(1)


def _change_cell(value: float | str | None, column: str) -> str:
    if isinstance(value, float):
        return show_value(value, CHANGE_UNITS.get(column, ""))
    return value or ""


def _peak_at(group: Sequence[CatalogueEntry], precision: str) -> str:
    for entry in group:
        if entry.precision == precision:
            return peak_cells(entry)[1]
    return ""


def _facts(group: Sequence[CatalogueEntry]) -> list[tuple[str, str]]:
    """Return the facts about one accelerator besides its peaks, from its entries; "" is an unknown
    fact.
    """

    def first_known(name: str) -> str | float | None:
        # a site's own row of one precision need not repeat what the others say about the device
        found: str | float | None = getattr(group[0], name)
        for entry in group:
            if found in (None, "unknown"):
                found = getattr(entry, name)
        return found

    def amount(name: str, unit: str) -> str:
        value = first_known(name)
        return show_value(value, unit) if isinstance(value, float) and value else ""

    entry = group[0]
    memory, price = first_known("memory_bytes"), first_known("price_usd")
    return [
        ("company", entry.company),
        ("product", entry.product),
        ("year", _year(group)),
        ("form factor", str(first_known("form_factor"))),
        ("technology", str(first_known("technology"))),
        ("peak power", _powers(group)),
        ("memory", _gigabytes(memory)),
        ("memory bandwidth", amount("memory_bandwidth_bytes_per_s", "B/s")),
        ("link bandwidth", amount("link_bandwidth_bytes_per_s", "B/s")),
        ("price", f"{price:.0f} USD" if isinstance(price, float) else ""),
    ]


def _gigabytes(value: str | float | None) -> str:
    return f"{value / 1e9:.4g} GB" if isinstance(value, float) else ""


def _year(group: Sequence[CatalogueEntry]) -> str:
    for entry in group:
        if entry.year:
            year = str(entry.year)
            return f"{year} (first listed)" if entry.year_from == "listed" else year
    return ""


def _powers(group: Sequence[CatalogueEntry]) -> str:
    """Return the peak power of an accelerator: one number, or each with its precisions if sources
    differ.
    """
    precisions: dict[float, list[str]] = {}
    for entry in group:
        if entry.power_w:
            precisions.setdefault(entry.power_w, []).append(entry.precision)
    if len(precisions) == 1:
        (power,) = precisions
        return show_known(power, "W")
    powers = [f"{show_value(power, 'W')} ({' '.join(p)})" for power, p in precisions.items()]
    return ", ".join(powers)
