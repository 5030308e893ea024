"""The filters of the ``wattlaw accelerators`` commands, and the tables that they print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wattlaw.cli.output import say
from wattlaw.cli.tables import print_table
from wattlaw.core.files import check_file
from wattlaw.core.units import counted, show

if TYPE_CHECKING:
    from wattlaw.accelerators.catalogue.entry import CatalogueEntry
    from wattlaw.core.csv_table import TableFault

Command = Callable[..., None]
Chosen = Any
"""The values of the filter options by name, as click passes them."""

PATH: click.Path = click.Path(path_type=Path)
ENTRY_COLUMNS = (
    *("company", "product", "year", "form", "use"),
    *("precision", "peak", "power", "efficiency"),
)


def _writable(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        check_file(path)  # before the work, not after it
    return path


OUT = click.option(
    "-o",
    "--out",
    type=PATH,
    callback=_writable,
    help="File to write: .html, .svg, .png, .pdf or .json.",
)
CATALOGUE = click.option(
    "--catalogue", type=PATH, help="Your own table; its rows replace built-in ones."
)

FILTER_OPTIONS = (
    click.option("--years", help="Year of release, or a range: 2022, 2019-2023 or 2022-."),
    click.option("--survey", type=int, help="Only what the survey of this year lists."),
    click.option("--precision", multiple=True, help="int8, fp16, bf16 …; may be repeated."),
    click.option("--form-factor", multiple=True, help="chip, card or system."),
    click.option("--technology", multiple=True, help="gpu, tensor, fpga …"),
    click.option("--use", multiple=True, help="training or inference."),
    click.option(
        "--segment",
        multiple=True,
        help="very-low-power, embedded, autonomous, cards or systems.",
    ),
    click.option("--company", default="", help="Any part of the company's name."),
    click.option("--name", default="", help="Any part of the accelerator's name."),
    click.option("--power", help="Peak power in W, or a range: 70-400 or 70-."),
    CATALOGUE,
)


def filters(command: Command) -> Command:
    """Add the filters that every command over entries accepts."""
    for option in reversed(FILTER_OPTIONS):
        command = option(command)
    return command


def entries(chosen: Chosen) -> list[CatalogueEntry]:
    """Return the entries of the catalogue that the options keep; doubts about a site's table go to
    stderr.
    """
    from wattlaw.accelerators.catalogue.catalogue import CatalogueFilter, load, select

    own = chosen.pop("catalogue", None)
    table = load(own)
    for fault in table.faults if own else ():
        if fault.handling != "mended":
            say(f"{place_of(fault)}: {fault.fault} [{fault.handling}]")
    years = _range(chosen.pop("years"), "--years", "2022, 2019-2023 or 2022-")
    power = _range(chosen.pop("power"), "--power", "250, 70-400 or 70-")
    whole_years = None
    if years:
        whole_years = (int(years[0]), int(min(years[1], 9999)))
    low, high = power or (None, None)
    keep = CatalogueFilter(years=whole_years, least_power_w=low, most_power_w=high, **chosen)
    return select(table.entries, keep)


def place_of(fault: TableFault) -> str:
    """Return the place of a fault: file, line and, if one cell is meant, its column."""
    place = f"{fault.file}:{fault.line}"
    return f"{place}: {fault.column}" if fault.column else place


def plotted_entries(chosen: Chosen) -> list[CatalogueEntry]:
    """Return one entry per device and use, as the surveys plot them, or all precisions that a
    filter names.
    """
    from wattlaw.accelerators.catalogue.catalogue import representative
    from wattlaw.accelerators.catalogue.survey import edition

    year, precisions = chosen["survey"], chosen["precision"]
    found = entries(chosen)
    if year:
        kept = {(e.accelerator, e.precision) for e in found}
        return [e for e in edition(year) if (e.accelerator, e.precision) in kept]
    return found if precisions else representative(found)


def print_entries(found: Sequence[CatalogueEntry]) -> None:
    """Print entries, one line each."""
    rows = []
    for entry in found:
        year = str(entry.year or "?")
        _, peak, _, efficiency, *_ = peak_cells(entry)
        cells = [entry.company, entry.product, year, entry.form_factor, entry.use, entry.precision]
        rows.append([*cells, peak, show_known(entry.power_w, "W"), efficiency])
    print_table(ENTRY_COLUMNS, rows)
    say(counted(len(found), "row"))


def peak_cells(entry: CatalogueEntry) -> list[str]:
    """Return an entry's precision, peak, counting, efficiency, surveys and note as text."""
    peak = show_known(entry.peak_op_per_s, "OPS")
    return [
        entry.precision,
        f"{peak} sparse" if entry.counting == "sparse" else peak,
        entry.counting,
        show_known(entry.op_per_joule, "OPS/W"),
        " ".join(map(str, entry.surveys)),
        entry.note,
    ]


def show_known(value: float | None, unit: str, unknown: str = "?") -> str:
    """Return a value with its unit, or ``unknown`` if there is none."""
    return show(value, unit) if value else unknown


def _range(text: str | None, option: str, examples: str) -> tuple[float, float] | None:
    """Return the ends of a number or range such as "70-400", "70-" or "-400"."""
    if not text:
        return None
    low, dash, high = text.partition("-")
    open_end = math.inf if dash else low
    try:
        if not (low or high):
            raise ValueError
        ends = float(low or 0), float(high or open_end)
    except ValueError:
        raise click.UsageError(
            f"{option} is {text!r}; give a number or a range, such as {examples}"
        ) from None
    if ends[0] > ends[1]:
        raise click.UsageError(f"{option} {text} ends before it begins; write {high}-{low}")
    return ends
