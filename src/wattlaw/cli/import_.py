"""``wattlaw import``: other people's records as runs."""

from __future__ import annotations

from pathlib import Path

import click

from wattlaw.cli.output import emit_json, json_option, say, say_warnings
from wattlaw.core.errors import UsageError
from wattlaw.core.units import counted

NAMES = {"import": "import_"}


@click.command("import", short_help="Read other people's records as runs.")
@click.argument("source")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the runs.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="NAME=COLUMN of a csv, such as elapsed_s=seconds; repeat it.",
)
@click.option("--workload", default=None, help="What was trained, where the file does not say.")
@json_option
def import_(
    source: str,
    path: Path,
    folder: Path,
    columns: tuple[str, ...],
    workload: str | None,
    as_json: bool,
) -> None:
    """Read PATH, recorded by SOURCE, as runs.

    \b
    SOURCE  mlperf       a round's results: folder, archive or table of runs
            zeus         power summaries and profiling windows
            nvidia-smi   --query-gpu … --format=csv, or dmon
            lightning    metrics.csv
            codecarbon   emissions.csv
            sacct        sacct -P or --json
            csv          any other table; --column says which column is what
    """
    from wattlaw.importers.imported import import_runs
    from wattlaw.records import write_index

    options: dict[str, object] = {}
    if columns:
        options["columns"] = dict(_pair(c) for c in columns)
    if workload:
        options["workload"] = workload
    try:
        found = import_runs(source, path, **options)
    except TypeError:
        given = " and ".join(f"--{n}".rstrip("s") for n in options)
        raise UsageError(f"{given}: {source} says this itself; leave it out") from None
    written = write_index(folder, found.runs)
    if as_json:
        counts = {
            "runs": len(found.runs),
            "skipped": len(found.skipped),
            "replaced": written.replaced,
        }
        emit_json("import", found.skipped, counts, found.notes)
        return
    left_out = f"; {counted(len(found.skipped), 'thing')} skipped" if found.skipped else ""
    say(f"{counted(len(found.runs), 'run')} in {written.path}{left_out}")
    if written.replaced:
        say(
            f"{counted(written.replaced, 'run')} imported earlier bore the same names and were others; they are gone"
        )
    say_warnings(found.notes)


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not equals or not column:
        raise UsageError(f"--column {text!r}: give NAME=COLUMN, such as elapsed_s=seconds")
    return name.strip(), column.strip()
