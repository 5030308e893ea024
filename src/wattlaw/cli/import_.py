"""`wattlaw import`: reads the records of other programs as runs."""

from __future__ import annotations

from pathlib import Path

import click

from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.core.errors import UsageError
from wattlaw.core.plugins import need
from wattlaw.core.units import counted

NAMES = {"import": "import_"}


@click.command("import", short_help="Read the records of other programs as runs.")
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
    help="NAME=COLUMN, such as elapsed_s=seconds (csv) or loss=mse (lightning); repeat it.",
)
@click.option("--workload", default=None, help="Name of the workload, if the file has none.")
@click.option(
    "--interval",
    "interval_s",
    type=float,
    default=None,
    help="Seconds between two readings of nvidia-smi dmon, if it printed no time.",
)
@json_option
def import_(
    source: str,
    path: Path,
    folder: Path,
    columns: tuple[str, ...],
    workload: str | None,
    interval_s: float | None,
    as_json: bool,
) -> None:
    """Read PATH, recorded by SOURCE, as runs.

    \b
    SOURCE  mlperf       results of a round: folder, archive or table of runs
            zeus         power summaries and profiling windows
            nvidia-smi   --query-gpu … --format=csv, or dmon
            lightning    metrics.csv, or a folder of them
            codecarbon   emissions.csv
            sacct        the output of sacct -P or sacct --json
            csv          any other table; --column says which column is what
    """
    from wattlaw.importers.importer import import_runs
    from wattlaw.records import write_index

    options: dict[str, object] = {}
    if columns:
        options["columns"] = dict(_pair(text) for text in columns)
    if workload:
        options["workload"] = workload
    if interval_s is not None:
        options["interval_s"] = interval_s
    need("pyarrow", "the index that `wattlaw import` writes")
    found = import_runs(source, path, **options)
    written = write_index(folder, found.runs)
    if as_json:
        counts = {
            "runs": len(found.runs),
            "skipped": len(found.skipped),
            "replaced": written.replaced,
        }
        emit_json("import", found.skipped, counts, found.notes)
        return
    skipped = f"; {counted(len(found.skipped), 'part')} skipped" if found.skipped else ""
    say(f"{counted(len(found.runs), 'run')} in {written.path}{skipped}")
    if written.replaced:
        replaced = counted(written.replaced, "earlier run")
        say(f"replaced {replaced} of the same name and different content")
    for note in found.notes:
        say(f"warning: {note.name}: {note.message}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not equals or not column:
        raise UsageError(f"--column {text!r}: give NAME=COLUMN, such as elapsed_s=seconds")
    return name.strip(), column.strip()
