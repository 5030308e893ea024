"""`wattlaw measure -- CMD...`: time and energy of any command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wattlaw.cli.flags import refuse
from wattlaw.cli.output import say, say_warnings
from wattlaw.core.errors import nearest

NAMES = {"measure": "measure"}


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run a command and say what it cost in time and energy.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Keep the whole record in this folder, as a run.",
)
@click.option("--name", help="What the record calls the command; its program's name by default.")
@click.option("--hz", default=10.0, show_default=True, help="Readings a second, 0.1 to 100.")
@click.option(
    "--gpus",
    help="Indices or UUIDs of the GPUs to read, such as 0,1; all that the command may use by default.",
)
@click.option(
    "--power-cap-w", type=float, help="Hold the GPUs at this power limit while it runs, W."
)
@click.option("--sm-clock-mhz", type=float, help="Hold the GPUs' SM clock at or below this, MHz.")
@click.option(
    "--memory-clock-mhz", type=float, help="Hold the GPUs' memory clock at or below this, MHz."
)
@click.option(
    "--prometheus",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the live values on this port of 127.0.0.1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the devices as CSV.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Write the JSON or CSV to this file, not to stdout.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no table.")
def measure(
    command: tuple[str, ...],
    out: Path | None,
    name: str | None,
    hz: float,
    gpus: str | None,
    power_cap_w: float | None,
    sm_clock_mhz: float | None,
    memory_clock_mhz: float | None,
    prometheus: int | None,
    as_json: bool,
    as_csv: bool,
    to: Path | None,
    quiet: bool,
) -> None:
    """Run a command and say what it cost: time, energy of each device, power, utilisation, memory.

    Write the command after --. Its output, terminal, signals and exit code pass through unchanged; the
    table goes to stderr.

    \b
    wattlaw measure -- python train.py
    wattlaw measure -o runs/mine --name bert -- torchrun --nproc-per-node 4 train.py
    wattlaw measure --json --to cost.json -- srun python train.py
    """
    from wattlaw.core.files import check_file
    from wattlaw.measuring.command.measure_command import measure_command, pass_on_end
    from wattlaw.measuring.command.outcome import items, lines, overall, to_csv

    _check(command)
    if as_json and as_csv:
        raise click.UsageError("--json and --csv would print two documents; choose one")
    if out is None:
        refuse(["name"], "without --out, the folder that keeps the record")
    if to is not None:
        check_file(to)  # after hours of measuring would be too late
    chosen = None if gpus is None else [g.strip() for g in gpus.split(",") if g.strip()]
    limits = {
        "power_cap_w": power_cap_w,
        "sm_clock_mhz": sm_clock_mhz,
        "memory_clock_mhz": memory_clock_mhz,
    }
    watching = None if prometheus is None else _served(prometheus)
    outcome = measure_command(
        command, folder=out, name=name, hz=hz, gpus=chosen, limits=limits, watching=watching
    )
    if (
        outcome.run is None or outcome.summary is None
    ):  # the first task of this step tells it for all nodes
        raise click.exceptions.Exit(pass_on_end(outcome.exit_code))
    refused = ""
    if as_csv:
        refused = _give(to_csv(items(outcome)), to)
    elif as_json or to is not None:
        refused = _give(_json(items(outcome), overall(outcome), outcome.run.warnings), to)
    if not quiet or refused:
        for line in lines(outcome):
            say(line)
        say_warnings(outcome.run.warnings)
    if refused:
        say(f"wattlaw: {refused}")
    raise click.exceptions.Exit(pass_on_end(outcome.exit_code) or (1 if refused else 0))


def _check(command: tuple[str, ...]) -> None:
    """Raise UsageError where no command is given, or an option that is none stands where it would begin."""
    if not command:
        raise click.UsageError(
            "no command is given; write it after --, such as `wattlaw measure -- python train.py`"
        )
    if command[0].startswith("-"):
        known = [
            o
            for p in click.get_current_context().command.params
            for o in (*p.opts, *p.secondary_opts)
        ]
        options = [o for o in known if o.startswith("--")]
        raise click.UsageError(f"no such option {command[0]!r}; {nearest(command[0], options)}")


def _served(port: int) -> Any:
    from wattlaw.integrations.prometheus import serving

    return lambda engine: serving(port, engine.live, lambda: engine.host.devices, engine.host.host)


def _json(items: list[dict[str, Any]], overall: dict[str, Any], warnings: Any) -> bytes:
    import msgspec

    from wattlaw import __version__

    whole = {
        "wattlaw": __version__,
        "kind": "measure",
        "items": items,
        "overall": overall,
        "warnings": warnings,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _give(data: bytes, to: Path | None) -> str:
    """Write the document; return why it could not be, since the table and the exit code shall still be told."""
    import sys

    from wattlaw.core.errors import RecordError
    from wattlaw.core.files import explained, write_whole

    try:
        if to is not None and to.exists() and not to.is_file():
            with explained(to):
                to.write_bytes(data)  # a pipe or a device, which a rename would replace
        elif to is not None:
            write_whole(to, data)
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except RecordError as error:
        return str(error)
    return ""
