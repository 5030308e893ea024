"""``wattlaw runs``: look at what was recorded, compare it, index it, hand it on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wattlaw.cli.output import OneOf, begun, emit_json, json_option, runs_in, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import RecordError
from wattlaw.core.quantities import all_quantities, find_quantity, quantity
from wattlaw.core.units import counted, show, show_time

if TYPE_CHECKING:
    from wattlaw.analysis.compare import Difference
    from wattlaw.core.reading import Reading
    from wattlaw.core.run import Run
    from wattlaw.records import Runs
    from wattlaw.records.table import Table

NAMES = {"runs": "runs"}

folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_TAIL = 12


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

    DIR is that of all runs, of a sweep, or of one trial, which is then shown in full.
    """
    from wattlaw.records import table

    loaded = runs_in(folder)
    if failed:
        _show_failed([run for run in loaded if run.state == "failed"], loaded, as_json)
    elif len(loaded) == 1 and loaded[0].trial == folder.resolve().name:
        _show_trial(loaded[0], as_json)
    else:
        tabled = table.tabulate(loaded, _names(by), _names(columns) or table.columns_of(loaded))
        _show_table(tabled, loaded, as_json)


@runs.command("compare", short_help="Compare two folders of runs, setting by setting.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--columns", default="", help="Quantities to compare, such as step_time_s,gpu_energy_j."
)
@json_option
def compare_runs(a: Path, b: Path, columns: str, as_json: bool) -> None:
    """Compare the runs in B with those in A, setting by setting, and say which differences exceed the noise."""
    from wattlaw.analysis.compare import QUANTITIES_COMPARED, compare

    found = compare(runs_in(a), runs_in(b), _names(columns) or QUANTITIES_COMPARED)
    overall = {"matched": found.matched, "only_a": found.only_a, "only_b": found.only_b}
    if as_json:
        emit_json("runs compare", found.differences, overall, found.warnings)
        return
    if not found.matched:
        raise RecordError(
            f"no setting is in both {a} and {b}; `wattlaw runs show` says what is in each"
        )
    if found.differences:
        head = ["setting", "quantity", "A", "B", "B/A", "90 % interval", "runs", "B is"]
        print_table(head, _compared(found.differences), title=f"A: {a}\nB: {b}")
    say(
        f"{counted(found.matched, 'setting')} in both, {found.only_a} only in A, {found.only_b} only in B."
    )
    tested = [d for d in found.differences if d.larger_than_noise is not None]
    if tested:
        larger = sum(d.larger_than_noise is True for d in tested)
        say(
            f"larger than the noise: {larger} of {counted(len(tested), 'difference')}; about {len(tested) / 10:.1f} "
            "would seem so by chance alone."
        )
    say_warnings(found.warnings)


@runs.command("compact", short_help="Write the index.parquet of every sweep anew.")
@folder
@json_option
def compact_runs(folder: Path, as_json: bool) -> None:
    """Write the index.parquet of every sweep in DIR anew; the folders stay as they are."""
    from wattlaw.records import compact

    written = compact(folder)
    if not written:
        raise RecordError(f"there are no runs in {folder}")
    left_out = [note for one in written for note in one.notes]
    if as_json:
        items = [
            {"index": str(one.path), "runs": one.runs, "damaged": len(one.damaged)}
            for one in written
        ]
        emit_json("runs compact", items, {"runs": sum(one.runs for one in written)}, left_out)
        return
    print_table(["index", "runs"], [[str(one.path), str(one.runs)] for one in written])
    say_warnings(left_out)


@runs.command("export", short_help="Write runs as CSV, Parquet or JSON.")
@folder
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="File to write; without it CSV or JSON on stdout.",
)
@click.option(
    "--format",
    "format_",
    type=OneOf(["csv", "parquet", "json"]),
    help="Else the file's ending says.",
)
def export_runs(folder: Path, out: Path | None, format_: str | None) -> None:
    """Write the runs in DIR as CSV, Parquet or JSON, recorded and derived quantities with their status."""
    from wattlaw.records import export, exported

    loaded = runs_in(folder)
    if out is None:
        sys.stdout.buffer.write(exported(loaded, format_ or "csv"))
        sys.stdout.buffer.flush()
        return
    say(f"{counted(len(loaded), 'run')} in {export(loaded, out, format_)}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _show_table(tabled: Table, loaded: Runs, as_json: bool) -> None:
    if as_json:
        overall = {
            "shared": tabled.shared,
            "runs": len(loaded),
            "unfinished": len(loaded.unfinished),
        }
        emit_json("runs", tabled.rows, overall, loaded.notes)
        return
    print_rows(tabled)
    if loaded.unfinished:
        say(f"{begun(loaded)}.")


def print_rows(tabled: Table) -> None:
    """Print a row for each setting, and where its estimates and gaps come from."""
    columns = [
        n for n in (tabled.rows[0].quantities if tabled.rows else {}) if _is_known(tabled, n)
    ]
    factors = list(tabled.rows[0].group)
    head = [*factors, "runs", *(_short(n) for n in columns), "warnings"]
    rows = []
    for row in tabled.rows:
        count = f"{row.runs} + {row.failed} failed" if row.failed else str(row.runs)
        cells = [_cell(n, row.quantities[n]) for n in columns]
        notes = ", ".join(dict.fromkeys(note.name for note in row.warnings))
        rows.append([*(_word(row.group[n]) for n in factors), count, *cells, notes])
    click.echo(", ".join(f"{n} {_word(v)}" for n, v in tabled.shared.items() if _is_telling(n, v)))
    print_table(head, rows)
    _say_status(tabled)


def _short(name: str) -> str:
    known = find_quantity(name)
    if known and known.heading:
        return known.heading
    # the unit is in the cells
    return re.sub(r"_(s|j|w|mhz|c|bytes)$", "", name).replace("_", " ")


def _is_known(tabled: Table, name: str) -> bool:
    return any(row.quantities[name].value is not None for row in tabled.rows)


def _is_telling(name: str, value: Any) -> bool:
    # what all rows share is said where it is not simply the default
    return name in (
        "preset",
        "precision",
        "device_name",
        "nodes",
        "batch_per_device",
        "devices",
    ) or (value is True or value not in (None, "", "auto", 1))


def _say_status(tabled: Table) -> None:
    for name in tabled.rows[0].quantities if tabled.rows else ():
        # a row whose runs all failed says so itself
        readings = [row.quantities[name] for row in tabled.rows if row.runs]
        for status, words in (
            ("estimated", "est.: estimated by"),
            ("missing", "–: missing, because"),
        ):
            reasons = dict.fromkeys(
                r.how or "no reason was recorded" for r in readings if r.status == status
            )
            if reasons:
                say(f"{name} {words} {'; '.join(reasons)}")


def _show_failed(failed: list[Run], loaded: Runs, as_json: bool) -> None:
    if as_json:
        emit_json("trials", failed, {"runs": len(loaded), "failed": len(failed)}, loaded.notes)
        return
    for run in failed:
        lines = run.error.rstrip().splitlines() or ["no error was recorded"]
        click.echo(f"{run.trial}  attempt {run.attempt}  {run.started}")
        click.echo(
            "\n".join(["    …"] * (len(lines) > _TAIL) + [f"    {line}" for line in lines[-_TAIL:]])
            + "\n"
        )
    say(f"{len(failed)} of {counted(len(loaded), 'run')} failed.")


def _show_trial(run: Run, as_json: bool) -> None:
    if as_json:
        emit_json("trials", [run])
        return
    from wattlaw.core.setting import to_json
    from wattlaw.records.table import value

    facts = {"state": run.state, "started": run.started, "setting": to_json(run.setting).decode()}
    facts |= {
        "repeat": str(run.repeat),
        "attempt": str(run.attempt),
        "machine": _machine(run),
        "source": run.source,
    }
    facts |= run.labels
    print_table(["", run.trial], [[name, text] for name, text in facts.items() if text])
    derived = [
        n for n in all_quantities() if n not in run.quantities and value(run, n).value is not None
    ]
    rows = []
    for name in [*run.quantities, *derived]:
        reading = value(run, name)
        origin = "derived" if name in derived else ""
        rows.append([name, _cell(name, reading, ""), reading.status, reading.how or origin])
    if run.machine.device_type not in ("", "cpu"):
        rows += _promised(run)
    print_table(["quantity", "value", "status", "how"], rows)
    say_warnings(run.warnings)
    if run.error:
        click.echo(run.error.rstrip())


def _promised(run: Run) -> list[list[str]]:
    """Return what each device achieved beside what its maker promises; unknown says why."""
    from wattlaw.accelerators.catalogue.achieved import achieved

    row = achieved(run)
    rate, share = row.achieved_flop_per_s, row.share_of_peak
    told = [show(rate.value, "flop/s") if rate.value is not None else "unknown"]
    told.append(f"{100 * share.value:.1f} %" if share.value is not None else "unknown")
    names = ("achieved_flop_per_s, each device", "share_of_peak")
    return [
        [name, text, r.status, r.how]
        for name, text, r in zip(names, told, (rate, share), strict=True)
    ]


def _machine(run: Run) -> str:
    machine = run.machine
    parts = [
        machine.device_name or machine.device_type,
        f"{machine.hosts} hosts" if machine.hosts > 1 else "",
    ]
    return ", ".join(p for p in (*parts, f"{machine.cores} cores" if machine.cores else "") if p)


def _compared(differences: list[Difference]) -> list[list[str]]:
    from wattlaw.records.table import tell_apart

    telling = tell_apart([d.group for d in differences])
    rows = []
    for d in sorted(differences, key=lambda d: [str(d.group.get(n)) for n in telling]):
        unit = quantity(d.quantity).unit
        is_known = d.status == "measured" and d.ratio.low is not None and d.ratio.high is not None
        ends = f"{d.ratio.low:.3g} … {d.ratio.high:.3g}" if is_known else ""
        values = [
            f"{show(v, unit)}{' est.' if d.status == 'estimated' else ''}" for v in (d.a, d.b)
        ]
        setting = ", ".join(
            _word(v) if n == "workload" else f"{n} {_word(v)}"
            for n in telling
            if (v := d.group.get(n))
        )
        name = quantity(d.quantity).heading or d.quantity
        rows.append(
            [
                setting,
                name,
                *values,
                f"{d.ratio.value:.3g}",
                ends,
                f"{d.runs_a}, {d.runs_b}",
                d.verdict,
            ]
        )
    return rows


def _cell(name: str, reading: Reading, estimated: str = " est.") -> str:
    if reading.value is None:
        return "–"
    known = find_quantity(name)
    unit = known.unit if known else ""
    text = (
        show_time(reading.value)
        if unit == "s"
        else show(reading.value, "" if unit == "1/s" else unit)
    )
    # how far repeats of an estimate scatter says nothing of how far off it is
    if (
        reading.status == "measured"
        and reading.low is not None
        and reading.high is not None
        and reading.value
    ):
        half = (reading.high - reading.low) / 2
        share = 100 * half / abs(reading.value)
        # a share of next to nothing tells nobody anything
        text += f" ±{share:.2g} %" if share < 99.5 else f" ±{show(half, unit)}"
    return text + (estimated if reading.status == "estimated" else "")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
