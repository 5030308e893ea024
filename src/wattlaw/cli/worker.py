"""`wattlaw worker`: one prepared trial, in this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from wattlaw.cli.output import say
from wattlaw.core.errors import UsageError

NAMES = {"worker": "worker"}


@click.command(short_help="Carry out one prepared trial.")
@click.argument("spec", type=click.Path(path_type=Path), metavar="SPEC.json")
def worker(spec: Path) -> None:
    """Carry out the trial of SPEC.json and record it in the folder of its sweep.

    `wattlaw sweep prepare` writes the file. A trial that has a result does not run again; for one
    that another process carries out, this one waits. Exit code 1 if the trial has failed.
    """
    from wattlaw.cli.sweep import stoppable
    from wattlaw.runner.prepare import read_trial_spec
    from wattlaw.runner.progress import outcome
    from wattlaw.runner.sweeps import run_prepared

    prepared = read_trial_spec(spec)
    try:
        os.chdir(prepared.directory)
    except OSError as error:
        raise UsageError(
            f"{spec} was prepared in {prepared.directory}, which this machine cannot open: "
            f"{error.strerror}; make it visible here, or prepare the sweep in a shared folder"
        ) from None
    try:
        with stoppable():
            run = run_prepared(prepared)
    except KeyboardInterrupt:
        say(f"stopped; {prepared.id} is undone")
        sys.exit(130)
    if run is None:
        say(f"{prepared.id} has a result of a newer wattlaw")
        return
    say(f"{prepared.id}: {outcome(run)}")
    if run.state == "failed":
        sys.exit(1)
