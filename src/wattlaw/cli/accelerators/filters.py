"""The filters that every ``wattlaw accelerators`` command over entries understands, and the tables they print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wattlaw.cli.output import say
from wattlaw.cli.tables import print_table
from wattlaw.core.files import check_file
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from wattlaw.accelerators.catalogue.entry import Entry, Fault

PATH: Any = click.Path(path_type=Path)


def _writable(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        check_file(path)  # after all was drawn would be too late
    return path


OUT = click.option(
    "-o",
    "--out",
    type=PATH,
    callback=_writable,
    help="File to write: .html, .svg, .png, .pdf or .json.",
)
CATALOGUE = click.option(
    "--catalogue", type=PATH, default=None, help="Your own table; it wins over the built-in one."
)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filters that every command over entries understands."""
    for option in reversed((
        click.option("--years", default=None, help="Year of release, or a span: 2022, 2019-2023 or 2022-."),
        click.option("--survey", type=int, default=None, help="Only what the survey of this year lists."),
        click.option("--precision", multiple=True, help="int8, fp16, bf16 …; may be given several times."),
        click.option("--form-factor", multiple=True, help="chip, card or system."),
        click.option("--technology", multiple=True, help="gpu, tensor, fpga …"),
        click.option("--use", multiple=True, help="training or inference."),
        click.option("--segment", multiple=True, help="very-low-power, embedded, autonomous, cards or systems."),
        click.option("--company", default="", help="Any part of the company's name."),
        click.option("--name", default="", help="Any part of the accelerator's name."),
        click.option("--power", default=None, help="Peak power in W, or a span: 70-400 or 70-."),
        CATALOGUE,
    )):  # fmt: skip
        command = option(command)
    return command


def entries(chosen: dict[str, Any]) -> list[Entry]:
    """Return what the options keep of the catalogue; what is doubtful in a site's own table goes to stderr."""
    from wattlaw.accelerators.catalogue.catalogue import Filter, load, select

    own = chosen.pop("catalogue", None)
    table = load(own)
    for fault in table.faults if own else ():
        if fault.handling != "mended":
            say(f"{place_of(fault)}: {fault.fault} [{fault.handling}]")
    years, power = _span(chosen.pop("years"), "--years"), _span(chosen.pop("power"), "--power")
    low, high = power or (None, None)
    whole = (int(years[0]), int(min(years[1], 9999))) if years else None
    return select(
        table.entries, Filter(years=whole, least_power_w=low, most_power_w=high, **chosen)
    )


def place_of(fault: Fault) -> str:
    """Return where a fault is: file, line and, where one cell is meant, its column."""
    return f"{fault.file}:{fault.line}" + (f": {fault.column}" if fault.column else "")


def pictured(chosen: dict[str, Any]) -> list[Entry]:
    """Return the entries as the surveys plot them: one point a device and use, or all that a filter names."""
    from wattlaw.accelerators.catalogue.catalogue import representative
    from wattlaw.accelerators.catalogue.survey import edition

    year, asked = chosen["survey"], chosen["precision"]
    found = entries(chosen)
    if year:
        kept = {(e.accelerator, e.precision) for e in found}
        return [e for e in edition(year) if (e.accelerator, e.precision) in kept]
    return found if asked else representative(found)


def _span(text: str | None, option: str) -> tuple[float, float] | None:
    if not text:
        return None
    low, dash, high = text.partition("-")
    try:
        if not (low or high):
            raise ValueError
        ends = float(low or 0), float(high or (math.inf if dash else low))
    except ValueError:
        example = "2022, 2019-2023 or 2022-" if option == "--years" else "250, 70-400 or 70-"
        raise click.UsageError(
            f"{option} is {text!r}; give a number or a span, such as {example}"
        ) from None
    if ends[0] > ends[1]:
        raise click.UsageError(f"{option} {text} ends before it begins; write {high}-{low}")
    return ends


def print_entries(found: Sequence[Entry]) -> None:
    """Print entries, one line each."""
    from wattlaw.core.units import show as told

    rows = [
        [e.company, e.product, str(e.year or "?"), e.form_factor, e.use, e.precision, peak_cells(e)[1],
         told(e.power_w, "W") if e.power_w else "?", peak_cells(e)[3]]
        for e in found
    ]  # fmt: skip
    columns = [
        "company",
        "product",
        "year",
        "form",
        "use",
        "precision",
        "peak",
        "power",
        "efficiency",
    ]
    print_table(columns, rows)
    say(counted(len(found), "row"))


def peak_cells(entry: Entry) -> list[str]:
    """Return an entry's precision, peak, counting, efficiency, surveys and note as text."""
    from wattlaw.core.units import show as told

    peak = told(entry.peak_op_per_s, "op/s") if entry.peak_op_per_s else "?"
    sparse = " sparse" if entry.counting == "sparse" else ""
    ratio = told(entry.op_per_joule, "op/s/W") if entry.op_per_joule else "?"
    return [
        entry.precision,
        peak + sparse,
        entry.counting,
        ratio,
        " ".join(map(str, entry.surveys)),
        entry.note,
    ]
