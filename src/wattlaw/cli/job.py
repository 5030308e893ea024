"""`wattlaw job JOBID`: one job's efficiency in a page of text."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from wattlaw.cli.output import emit_json, json_option

NAMES = {"job": "job"}


@click.command(short_help="Say what a Slurm job used of what it asked for.")
@click.argument("jobid")
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    help="Folder of wattlaw's runs; those made within the job are used.",
)
@click.option(
    "--sacct",
    "table",
    type=click.File("r"),
    help="Read sacct's table from this file (- is stdin), ask nobody.",
)
@json_option
def job(jobid: str, runs: Path | None, table: TextIO | None, as_json: bool) -> None:
    """Set what a Slurm job asked for against what it used, and say what to change: three things at most.

    Fit for an epilog: `wattlaw job $SLURM_JOB_ID --runs runs`.
    """
    from wattlaw.cluster.job import page, records_of, text
    from wattlaw.slurm.accounting import ask_sacct, read_sacct

    use = read_sacct(table.read() if table is not None else ask_sacct(jobid), jobid)
    found = page(use, records_of(use.raw_id, runs) if runs else ())
    if as_json:
        emit_json("job", [found])
        return
    click.echo(text(found))
