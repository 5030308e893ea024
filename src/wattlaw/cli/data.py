"""``wattlaw data``: files of molecules looked through, and trajectories made."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table

NAMES = {"data": "data"}

MOST_FAULTS = 20


@click.group(short_help="Check files of molecules; make trajectories.")
def data() -> None:
    """Check files of molecules, and make trajectories with energies and forces."""


@data.command(short_help="What a file of molecules holds, and what is bad.")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def check(path: Path, as_json: bool) -> None:
    """Read PATH to its end: XYZ, SDF, .npz, a database of ASE, or a table of SMILES.

    Exit code 1 where a record cannot be used; `--on-bad skip` of `wattlaw run` leaves such out.
    """
    from wattlaw.workloads.molecules.sources.check_file import check_file

    held = check_file(path)
    if as_json:
        emit_json(
            "data check",
            held.faults,
            {n: getattr(held, n) for n in held.__struct_fields__ if n != "faults"},
        )
    else:
        least, most = held.least_atoms, held.most_atoms
        atoms = (
            "none" if not held.molecules else str(most) if least == most else f"{least} to {most}"
        )
        numbers = ", ".join(
            _told(name, count, held.molecules) for name, count in held.numbers.items()
        )
        rows = [
            ("kind", held.kind), ("molecules", str(held.molecules)), ("atoms of one", atoms),
            ("elements", ", ".join(f"{symbol} {n}" for symbol, n in held.elements.items()) or "none"),
            ("numbers", numbers or "none"), ("unit of energies", held.energy_unit or "none"),
            ("with forces", str(held.forces)), ("with bonds", str(held.bonds)), ("bad records", str(len(held.faults))),
        ]  # fmt: skip
        print_table(("what", "found"), rows)
        for fault in held.faults[:MOST_FAULTS]:
            say(f"{path}, {fault.record}: {fault.fault}")
        if len(held.faults) > MOST_FAULTS:
            say(f"and {len(held.faults) - MOST_FAULTS} more")
    if held.faults:
        sys.exit(1)


def _told(name: str, count: int, of: int) -> str:
    return name if count == of else f"{name} ({count} of {of})"


@data.command(short_help="Make a trajectory by GFN2-xTB (needs tblite).")
@click.argument("molecule")
@click.option(
    "--frames", type=click.IntRange(1), default=1200, show_default=True, help="Geometries to keep."
)
@click.option(
    "--temperature-k", type=float, default=500.0, show_default=True, help="Of the bath, K."
)
@click.option(
    "--step-fs", type=float, default=0.5, show_default=True, help="One step of the motion, fs."
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Steps from one to the next.",
)
@click.option(
    "--settle",
    type=click.IntRange(0),
    default=2000,
    show_default=True,
    help="Steps before the first.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="An .npz file.  [default: kept in the cache]",
)
def trajectory(molecule: str, out: Path | None, **fields: float) -> None:
    """Make geometries of MOLECULE with energies and forces: a SMILES of QM9, such as CCO, or a file.

    The .npz is in the layout of rMD17, and its path is printed: train on it with
    `wattlaw run painn-forces --data FILE`.
    """
    from wattlaw.core.files import check_file
    from wattlaw.workloads.molecules.sources.xtb import Plan, made_once

    if out is not None:
        check_file(out)
    plan = Plan(**fields)  # type: ignore[arg-type]
    with click.progressbar(length=plan.frames, label="geometries", file=sys.stderr) as bar:
        path = made_once(molecule, plan, out, lambda _: bar.update(1))
    click.echo(str(path))
