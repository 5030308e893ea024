"""``wattlaw accelerators``: what can be bought, what it promises per watt, and what it delivers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wattlaw.cli.accelerators.figures import choose, frontier, measured, plot, trend
from wattlaw.cli.accelerators.filters import (
    CATALOGUE,
    PATH,
    entries,
    filters,
    peak_cells,
    place_of,
    print_entries,
)
from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from wattlaw.accelerators.catalogue.entry import Entry, Fault

NAMES = {"accelerators": "accelerators"}


@click.group(short_help="What accelerators promise per watt, and what they deliver.")
def accelerators() -> None:
    """The catalogue of AI accelerators: what they promise per watt, and what they deliver."""


for command in (plot, trend, frontier, measured, choose):
    accelerators.add_command(command)


@accelerators.command("list", short_help="List accelerators, one line a device and precision.")
@filters
@json_option
def list_(as_json: bool, **chosen: Any) -> None:
    """List the accelerators that the filters keep, one line a device and precision."""
    from wattlaw.accelerators.catalogue.survey import counts

    found = entries(chosen)
    if as_json:
        emit_json("accelerators", found, counts(found))
        return
    print_entries(found)


@accelerators.command(short_help="Show all that is known of one accelerator.")
@click.argument("name")
@CATALOGUE
@json_option
def show(name: str, catalogue: Path | None, as_json: bool) -> None:
    """Show all that is known of one accelerator; NAME may be a driver's or MLPerf's name for it."""
    from wattlaw.accelerators.catalogue.catalogue import load, named

    found = named(load(catalogue).entries, name)
    if as_json:
        emit_json("accelerators", found, {"rows": len(found)})
        return
    first = found[0]
    say(f"{first.company} {first.product} ({first.accelerator})")
    rows = [(title, text) for title, text in _facts(found) if text]
    print_table(["fact", "value"], rows)
    print_table(
        ["precision", "peak", "counts", "efficiency", "surveys", "note"],
        [peak_cells(e) for e in found],
    )
    say(
        "sources: "
        + (" ".join(dict.fromkeys(s for e in found for s in e.source.split())) or "none given")
    )


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
        emit_json("accelerators", [e for g in groups for e in g], {"rows": sum(map(len, groups))})
        return
    columns = [[text for _, text in _facts(g)] for g in groups]
    titles = [title for title, _ in _facts(groups[0])]
    rows = [[t, *(c[i] or "?" for c in columns)] for i, t in enumerate(titles)]
    for precision in PRECISIONS:
        peaks = [
            next((peak_cells(e)[1] for e in g if e.precision == precision), "?") for g in groups
        ]
        if any(p != "?" for p in peaks):
            rows.append([f"peak, {precision}", *peaks])
    print_table(["", *(g[0].label for g in groups)], rows)


@accelerators.command(short_help="Show what changed from one year's survey to another's.")
@click.argument("before", type=int)
@click.argument("after", type=int)
@filters
@json_option
def diff(before: int, after: int, as_json: bool, **chosen: Any) -> None:
    """Show what changed from the survey of one year to that of another; filters ask the catalogue of today."""
    from wattlaw.accelerators.catalogue.catalogue import check_words
    from wattlaw.accelerators.catalogue.entry import PRECISIONS
    from wattlaw.accelerators.catalogue.survey import diff as between

    found = between(before, after)
    if any(chosen.values()):
        # a survey may have named another precision than the catalogue does today
        precisions = chosen.pop("precision")
        check_words("precision", precisions, PRECISIONS)
        kept = {e.accelerator for e in entries({**chosen, "precision": ()})}
        found = [
            c
            for c in found
            if c.accelerator in kept and (not precisions or c.precision in precisions)
        ]
    totals = {word: sum(c.change == word for c in found) for word in ("new", "gone", "changed")}
    if as_json:
        emit_json("accelerators diff", found, totals)
        return
    cells = [
        [
            c.change,
            c.accelerator,
            c.precision,
            c.column,
            _cell(c.before, c.column),
            _cell(c.after, c.column),
        ]
        for c in found
    ]
    print_table(["change", "accelerator", "precision", "column", str(before), str(after)], cells)
    say(", ".join(f"{n} {word}" for word, n in totals.items()))


@accelerators.command(short_help="Name what is wrong or doubtful in tables of accelerators.")
@click.argument("files", nargs=-1, required=True, type=PATH)
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Name what is wrong or doubtful in tables of accelerators: file, line, column, fault.

    Of several files, given in the order of their years, a power that changed beyond belief is named too.
    Exit code 1 where a row had to be dropped.
    """
    from wattlaw.accelerators.catalogue.read import read_table
    from wattlaw.accelerators.catalogue.rules import changes

    tables = [read_table(f) for f in files]
    faults: Sequence[Fault] = [*(f for t in tables for f in t.faults), *changes(tables)]
    rows = sum(len(t.entries) for t in tables)
    if as_json:
        emit_json("accelerators check", faults, {"rows": rows, "faults": len(faults)})
    else:
        for fault in faults:
            click.echo(f"{place_of(fault)}: {fault.fault} [{fault.handling}: {fault.name}]")
        said = ", ".join(
            f"{sum(f.handling == h for f in faults)} {h}" for h in ("mended", "doubted", "dropped")
        )
        say(f"{counted(rows, 'good row')}; {said}")
    if any(f.handling == "dropped" and f.name != "blank-row" for f in faults):
        raise click.exceptions.Exit(1)


def _cell(value: float | str | None, column: str) -> str:
    from wattlaw.core.units import show as told

    if isinstance(value, float):
        return told(value, {"peak_op_per_s": "op/s", "power_w": "W"}.get(column, ""))
    return value or ""


def _facts(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return what is known of one accelerator beside its peaks, from its entries."""
    from wattlaw.core.units import show as told

    def value(number: float | None, unit: str) -> str:
        return told(number, unit) if number else ""

    def known(name: str) -> Any:
        # a site's own row of one precision need not repeat what the others say of the device
        return next(
            (v for e in entries if (v := getattr(e, name)) not in (None, "unknown")),
            getattr(entries[0], name),
        )

    entry, memory, price = entries[0], known("memory_bytes"), known("price_usd")
    dated = next((e for e in entries if e.year), entry)
    year = f"{dated.year or ''}" + (" (first listed)" if dated.year_from == "listed" else "")
    return [
        ("company", entry.company),
        ("product", entry.product),
        ("year", year),
        ("form factor", known("form_factor")),
        ("technology", known("technology")),
        ("peak power", _powers(entries)),
        ("memory", f"{memory / 1e9:.4g} GB" if memory else ""),
        ("memory bandwidth", value(known("memory_bandwidth_bytes_per_s"), "B/s")),
        ("link bandwidth", value(known("link_bandwidth_bytes_per_s"), "B/s")),
        ("price", f"{price:.0f} USD" if price else ""),
    ]


def _powers(entries: Sequence[Entry]) -> str:
    """Return the peak power of an accelerator: one figure, or each with its precisions where sources tell several."""
    from wattlaw.core.units import show as told

    precisions: dict[float, list[str]] = {}
    for entry in entries:
        if entry.power_w:
            precisions.setdefault(entry.power_w, []).append(entry.precision)
    if len(precisions) == 1:
        return told(next(iter(precisions)), "W")
    return ", ".join(
        f"{told(power, 'W')} ({' '.join(names)})" for power, names in precisions.items()
    )
