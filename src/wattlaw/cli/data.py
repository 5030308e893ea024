"""``wattlaw data``: check a file of molecules; make a trajectory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table

if TYPE_CHECKING:
    from wattlaw.workloads.molecules.sources.check_file import FileContents

NAMES = {"data": "data"}

MAX_FAULTS = 20
"""Bad records that are printed; ``--json`` has all."""


@click.group(short_help="Check files of molecules; make trajectories.")
def data() -> None:
    """Check files of molecules, and make trajectories with energies and forces."""


@data.command(short_help="Show what a file of molecules holds, and its bad records.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--energy-unit",
    default="",
    help="Unit of the file's energies.  [default: as the file states or its kind implies]",
)
@json_option
def check(path: Path, energy_unit: str, as_json: bool) -> None:
    """Read PATH to its end: XYZ, SDF, .npz, a database of ASE, a table or a list of SMILES.

    The exit code is 1 if a record cannot be used; `wattlaw run --on-bad skip` skips it.
    """
    from wattlaw.workloads.molecules.sources.check_file import check_file

    contents = check_file(path, energy_unit)
    if as_json:
        fields = {name: getattr(contents, name) for name in contents.__struct_fields__}
        emit_json("data check", fields.pop("faults"), fields)
    else:
        _print(path, contents)
    if contents.faults:
        sys.exit(1)


def _print(path: Path, contents: FileContents) -> None:
    elements = [f"{symbol} {count}" for symbol, count in contents.elements.items()]
    numbers = []
    for name, count in contents.numbers.items():
        is_in_all = count == contents.molecules
        numbers.append(name if is_in_all else f"{name} ({count} of {contents.molecules})")
    rows = [
        ("kind", contents.kind),
        ("molecules", str(contents.molecules)),
        ("atoms per molecule", _atoms(contents)),
        ("elements", ", ".join(elements) or "none"),
        ("numbers", ", ".join(numbers) or "none"),
        ("unit of energies", contents.energy_unit or "none"),
        ("with forces", str(contents.forces)),
        ("with bonds", str(contents.bonds)),
        ("bad records", str(len(contents.faults))),
    ]
    print_table(("what", "found"), rows)
    for fault in contents.faults[:MAX_FAULTS]:
        say(f"{path}, {fault.record}: {fault.fault}")
    if len(contents.faults) > MAX_FAULTS:
        say(f"and {len(contents.faults) - MAX_FAULTS} more; --json lists all")


def _atoms(contents: FileContents) -> str:
    if not contents.molecules:
        return "none"
    least, most = contents.least_atoms, contents.most_atoms
    return str(most) if least == most else f"{least} to {most}"


@data.command(short_help="Make a trajectory by GFN2-xTB (needs tblite).")
@click.argument("molecule")
@click.option(
    "--frames", type=click.IntRange(1), default=1200, show_default=True, help="Geometries to keep."
)
@click.option(
    "--temperature-k", type=float, default=500.0, show_default=True, help="Of the bath, K."
)
@click.option("--step-fs", type=float, default=0.5, show_default=True, help="Time step, fs.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Steps from one kept geometry to the next.",
)
@click.option(
    "--settle",
    type=click.IntRange(0),
    default=2000,
    show_default=True,
    help="Steps before the first kept geometry.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bath's noise.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="An .npz file.  [default: a file in the cache]",
)
def trajectory(molecule: str, out: Path | None, **fields: float) -> None:
    """Make geometries of MOLECULE with energies and forces: a SMILES of QM9, such as CCO, or a
    file.

    The .npz has the layout of rMD17, and its path is printed: train on it with
    `wattlaw run painn-forces --data FILE`.
    """
    from wattlaw.core.files import check_file
    from wattlaw.workloads.molecules.sources.xtb import TrajectoryPlan, make_trajectory_file

    if out is not None:
        check_file(out)
    plan = TrajectoryPlan(**fields)  # type: ignore[arg-type]
    with click.progressbar(length=plan.frames, label="geometries", file=sys.stderr) as bar:
        path = make_trajectory_file(molecule, plan, out, lambda _: bar.update(1))
    click.echo(str(path))
