"""`wattlaw job JOBID`: the efficiency of one job as a page of text."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from wattlaw.cli.output import emit_json, json_option

NAMES = {"job": "job"}


@click.command(short_help="Compare what a Slurm job requested with what it used.")
@click.argument("jobid")
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    help="Folder with wattlaw's runs; the page uses those that were made in this job.",
)
@click.option(
    "--sacct",
    "table",
    type=click.File("r"),
    help="Read a saved table of sacct from this file (- is stdin) and do not run sacct.",
)
@json_option
def job(jobid: str, runs: Path | None, table: TextIO | None, as_json: bool) -> None:
    """Compare what a Slurm job requested with what it used, and give up to three pieces of advice.

    For an epilog: `wattlaw job $SLURM_JOB_ID --runs runs`.
    """
    from wattlaw.cluster.job_efficiency import page, summaries_of_job, text
    from wattlaw.slurm.accounting import read_job, run_sacct

    use = read_job(table.read() if table is not None else run_sacct(jobid), jobid)
    found = page(use, summaries_of_job(use.raw_id, runs) if runs else ())
    if as_json:
        emit_json("job", [found])
        return
    click.echo(text(found))
