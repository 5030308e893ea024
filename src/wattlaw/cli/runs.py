"""``wattlaw runs``: show, compare, index and export recorded runs."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse_others
from wattlaw.cli.output import (
    OneOf,
    describe_unfinished,
    emit_json,
    json_option,
    runs_in,
    say,
    say_warnings,
)
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import RecordError
from wattlaw.core.quantities import all_quantities, find_quantity, quantity
from wattlaw.core.units import counted, show, show_time

if TYPE_CHECKING:
    from wattlaw.analysis.compare import Difference
    from wattlaw.core.factors import Factor
    from wattlaw.core.reading import Reading
    from wattlaw.core.run import Run
    from wattlaw.records import Runs
    from wattlaw.records.settings_table import SettingsTable

NAMES = {"runs": "runs"}

folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))

_TAIL = 12
"""Lines of a failed run's error that are shown."""


@click.group()
def runs() -> None:
    """Show, compare, index and export runs."""


@runs.command("show", short_help="Show runs, a row for each setting.")
@folder
@click.option(
    "--by", default="", help="Group by these instead of by setting: devices,batch_per_device …"
)
@click.option("--columns", default="", help="Quantities to show, such as step_time_s,gpu_energy_j.")
@click.option(
    "--failed", is_flag=True, help="Show the runs that failed, with the end of their errors."
)
@json_option
def show_runs(folder: Path, by: str, columns: str, failed: bool, as_json: bool) -> None:
    """Show the runs in DIR, a row for each setting: geometric means, ± half the 90 % interval.

    DIR is the folder of all runs, of a sweep, or of one trial, which is then shown in full.
    """
    from wattlaw.records.settings_table import columns_of, tabulate

    loaded = runs_in(folder)
    if failed:
        refuse_others("--failed", "failed", "as_json")
        _show_failed([run for run in loaded if run.state == "failed"], loaded, as_json)
    elif len(loaded) == 1 and loaded[0].trial == folder.resolve().name:
        refuse_others("a single trial, which is shown in full", "as_json")
        _show_trial(loaded[0], as_json)
    else:
        table = tabulate(loaded, _names(by), _names(columns) or columns_of(loaded))
        _show_table(table, loaded, as_json)


@runs.command("compare", short_help="Compare two folders of runs, setting by setting.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--columns", default="", help="Quantities to compare, such as step_time_s,gpu_energy_j."
)
@json_option
def compare_runs(a: Path, b: Path, columns: str, as_json: bool) -> None:
    """Compare the runs in B with those in A by setting; mark differences beyond the noise."""
    from wattlaw.analysis.compare import QUANTITIES_COMPARED, compare

    found = compare(runs_in(a), runs_in(b), _names(columns) or QUANTITIES_COMPARED)
    overall = {"matched": found.matched, "only_a": found.only_a, "only_b": found.only_b}
    if as_json:
        emit_json("runs compare", found.differences, overall, found.warnings)
        return
    if not found.matched:
        raise RecordError(
            f"{a} and {b} have no setting in common; `wattlaw runs show` lists the settings of each"
        )
    if found.differences:
        head = ["setting", "quantity", "A", "B", "B/A", "90 % interval", "runs", "B is"]
        print_table(head, _difference_rows(found.differences), title=f"A: {a}\nB: {b}")
    matched = counted(found.matched, "setting")
    say(f"{matched} in both, {found.only_a} only in A, {found.only_b} only in B.")
    tested = [d.larger_than_noise for d in found.differences if d.larger_than_noise is not None]
    if tested:
        larger = tested.count(True)
        by_chance = f"about {len(tested) / 10:.1f} would be expected by chance"
        differences = counted(len(tested), "difference")
        say(f"larger than the noise: {larger} of {differences}; {by_chance}.")
    say_warnings(found.warnings)


@runs.command("compact", short_help="Rebuild the index.parquet of every sweep.")
@folder
@json_option
def compact_runs(folder: Path, as_json: bool) -> None:
    """Rebuild the index.parquet of every sweep in DIR; the folders stay as they are."""
    from wattlaw.records import compact

    written = compact(folder)
    if not written:
        raise RecordError(f"there are no runs in {folder}")
    left_out = [note for one in written for note in one.notes]
    if as_json:
        items, runs_in_all = [], 0
        for one in written:
            items.append({"index": str(one.path), "runs": one.runs, "damaged": len(one.damaged)})
            runs_in_all += one.runs
        emit_json("runs compact", items, {"runs": runs_in_all}, left_out)
        return
    print_table(["index", "runs"], [[str(one.path), str(one.runs)] for one in written])
    say_warnings(left_out)


@runs.command("export", short_help="Write runs as CSV, Parquet or JSON.")
@folder
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="File to write; by default stdout, as CSV or JSON.",
)
@click.option(
    "--format",
    "format_",
    type=OneOf(["csv", "parquet", "json"]),
    help="Format; by default that of the file's ending.",
)
def export_runs(folder: Path, out: Path | None, format_: str | None) -> None:
    """Write the runs in DIR as CSV, Parquet or JSON.

    Every quantity, recorded or derived, has its status.
    """
    from wattlaw.records import export, exported

    loaded = runs_in(folder)
    if out is None:
        sys.stdout.buffer.write(exported(loaded, format_ or "csv"))
        sys.stdout.buffer.flush()
        return
    say(f"{counted(len(loaded), 'run')} in {export(loaded, out, format_)}")


def _names(text: str) -> list[str]:
    return list(filter(None, map(str.strip, text.split(","))))


def _show_table(table: SettingsTable, loaded: Runs, as_json: bool) -> None:
    if as_json:
        counts = {"runs": len(loaded), "unfinished": len(loaded.unfinished)}
        emit_json("runs", table.rows, {"shared": table.shared, **counts}, loaded.notes)
        return
    print_rows(table)
    if loaded.unfinished:
        say(f"{describe_unfinished(loaded)}.")


def print_rows(table: SettingsTable) -> None:
    """Print a row for each setting, and the sources of its estimates and gaps."""
    if not table.rows:
        return
    names = list(table.rows[0].quantities)
    columns = [name for name in names if _is_known(table, name)]
    factors = list(table.rows[0].group)
    head = [*factors, "runs", *map(_heading, columns), "warnings"]
    rows = []
    for row in table.rows:
        cells = [_text(row.group[name]) for name in factors]
        cells.append(f"{row.runs} + {row.failed} failed" if row.failed else str(row.runs))
        cells += [_cell(name, row.quantities[name]) for name in columns]
        cells.append(", ".join(dict.fromkeys(note.name for note in row.warnings)))
        rows.append(cells)
    shared = [f"{n} {_text(v)}" for n, v in table.shared.items() if _is_worth_showing(n, v)]
    click.echo(", ".join(shared))
    print_table(head, rows)
    _say_status(table)


def _heading(name: str) -> str:
    known = find_quantity(name)
    if known and known.heading:
        return known.heading
    # the unit is in the cells
    return re.sub(r"_(s|j|w|mhz|c|bytes)$", "", name).replace("_", " ")


def _is_known(table: SettingsTable, name: str) -> bool:
    return any(row.quantities[name].value is not None for row in table.rows)


_ALWAYS_SHOWN = frozenset(
    {"preset", "precision", "device_name", "nodes", "batch_per_device", "devices"}
)


def _is_worth_showing(name: str, value: Factor) -> bool:
    is_default = value is not True and value in (None, "", "auto", 1)
    return name in _ALWAYS_SHOWN or not is_default


_STATUS = {"estimated": "est.: estimated by", "missing": "–: missing, because"}


def _say_status(table: SettingsTable) -> None:
    for name in table.rows[0].quantities:
        # a row whose runs all failed shows that itself
        readings = [row.quantities[name] for row in table.rows if row.runs]
        for status, intro in _STATUS.items():
            hows = [r.how or "no reason was recorded" for r in readings if r.status == status]
            if hows:
                say(f"{name} {intro} {'; '.join(dict.fromkeys(hows))}")


def _show_failed(failed: list[Run], loaded: Runs, as_json: bool) -> None:
    if as_json:
        emit_json("trials", failed, {"runs": len(loaded), "failed": len(failed)}, loaded.notes)
        return
    for run in failed:
        lines = run.error.rstrip().splitlines() or ["no error was recorded"]
        shown = lines if len(lines) <= _TAIL else ["…", *lines[-_TAIL:]]
        click.echo(f"{run.trial}  attempt {run.attempt}  {run.started}")
        click.echo(textwrap.indent("\n".join(shown), "    ") + "\n")
    say(f"{len(failed)} of {counted(len(loaded), 'run')} failed.")


def _show_trial(run: Run, as_json: bool) -> None:
    if as_json:
        emit_json("trials", [run])
        return
    print_table(["", run.trial], _facts(run))
    rows = _quantity_rows(run)
    if run.machine.device_type not in ("", "cpu"):
        rows += _share_of_peak(run)
    print_table(["quantity", "value", "status", "how"], rows)
    say_warnings(run.warnings)
    if run.error:
        click.echo(run.error.rstrip())


def _facts(run: Run) -> list[list[str]]:
    from wattlaw.core.setting import to_json

    facts = {
        "state": run.state,
        "started": run.started,
        "setting": to_json(run.setting).decode(),
        "repeat": str(run.repeat),
        "attempt": str(run.attempt),
        "machine": _machine(run),
        "source": run.source,
        **run.labels,
    }
    return [[name, text] for name, text in facts.items() if text]


def _quantity_rows(run: Run) -> list[list[str]]:
    from wattlaw.records.settings_table import reading_of

    rows = []
    for name in dict.fromkeys([*run.quantities, *all_quantities()]):
        reading = reading_of(run, name)
        is_derived = name not in run.quantities
        if is_derived and reading.value is None:
            continue
        origin = "derived" if is_derived else ""
        rows.append([name, _cell(name, reading, ""), reading.status, reading.how or origin])
    return rows


def _share_of_peak(run: Run) -> list[list[str]]:
    """Return each device's achieved rate and its share of the maker's promised peak."""
    from wattlaw.accelerators.catalogue.achieved import achieved

    row = achieved(run)
    rate, share = row.achieved_flop_per_s, row.share_of_peak
    rate_text = share_text = "unknown"
    if rate.value is not None:
        rate_text = show(rate.value, "flop/s")
    if share.value is not None:
        share_text = f"{100 * share.value:.1f} %"
    return [
        ["achieved_flop_per_s, each device", rate_text, rate.status, rate.how],
        ["share_of_peak", share_text, share.status, share.how],
    ]


def _machine(run: Run) -> str:
    machine = run.machine
    parts = [machine.device_name or machine.device_type]
    if machine.hosts > 1:
        parts.append(f"{machine.hosts} hosts")
    if machine.cores:
        parts.append(f"{machine.cores} cores")
    return ", ".join(filter(None, parts))


_MARKS = {"estimated": " est."}


def _difference_rows(differences: list[Difference]) -> list[list[str]]:
    from wattlaw.records.settings_table import varying_factors

    varying = varying_factors([difference.group for difference in differences])

    def sort_key(difference: Difference) -> list[str]:
        return [str(difference.group.get(name)) for name in varying]

    return [_difference_row(d, varying) for d in sorted(differences, key=sort_key)]


def _difference_row(difference: Difference, varying: Sequence[str]) -> list[str]:
    unit = quantity(difference.quantity).unit
    ratio, is_measured = difference.ratio, difference.status == "measured"
    ends = ""
    if is_measured and ratio.low is not None and ratio.high is not None:
        ends = f"{ratio.low:.3g} … {ratio.high:.3g}"
    mark = _MARKS.get(difference.status, "")
    setting = []
    for name in varying:
        value = difference.group.get(name)
        if value:
            setting.append(_text(value) if name == "workload" else f"{name} {_text(value)}")
    return [
        ", ".join(setting),
        quantity(difference.quantity).heading or difference.quantity,
        show(difference.a, unit) + mark,
        show(difference.b, unit) + mark,
        f"{ratio.value:.3g}",
        ends,
        f"{difference.runs_a}, {difference.runs_b}",
        difference.verdict,
    ]


def _cell(name: str, reading: Reading, estimated: str = " est.") -> str:
    if reading.value is None:
        return "–"
    known = find_quantity(name)
    unit = known.unit if known else ""
    if unit == "s":
        text = show_time(reading.value)
    else:
        # the heading of a rate has its unit
        text = show(reading.value, unit.removeprefix("1/s"))
    if reading.status == "estimated":
        # the scatter of estimates says nothing about their error
        return text + estimated
    if reading.low is None or reading.high is None or not reading.value:
        return text
    half = (reading.high - reading.low) / 2
    share = 100 * half / abs(reading.value)
    # a share of a value near 0 means nothing
    if share >= 99.5:
        return f"{text} ±{show(half, unit)}"
    return f"{text} ±{share:.2g} %"


def _text(value: Factor) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
