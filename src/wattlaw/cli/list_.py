"""``wattlaw list``: what there is of each kind of thing, importing none of it."""

from __future__ import annotations

import click

from wattlaw.cli.output import OneOf, emit_json, json_option, say
from wattlaw.cli.tables import print_table

NAMES = {"list": "list_"}

ROOMS = {
    "workloads": "wattlaw.workloads",
    "meters": "wattlaw.devices.meters",
    "controls": "wattlaw.devices.controls",
    "launchers": "wattlaw.launchers",
    "importers": "wattlaw.importers",
    "studies": "wattlaw.studies",
    "sections": "wattlaw.report",
}


@click.command("list", short_help="List workloads, meters, importers, studies and more.")
@click.argument("kind", type=OneOf(list(ROOMS)))
@json_option
def list_(kind: str, as_json: bool) -> None:
    """List what there is of one KIND.

    `run` takes the names of workloads, `import` those of importers, `study run` those of studies. Meters, launchers
    and sections of the report are used by themselves, where they fit.
    """
    if kind == "workloads":
        _workloads(as_json)
    else:
        _plain(kind, as_json)


def _workloads(as_json: bool) -> None:
    from wattlaw.core.units import show
    from wattlaw.workloads.table import listing, table

    items = listing()
    if as_json:
        emit_json("list workloads", items)
        return

    def cell(value: float | None, unit: str = "") -> str:
        return "not counted" if value is None else show(value, unit)

    print_table(
        ("name", "domain", "preset", "batch", "parameters", "flop a step", "gradients", "kept for backward"),
        [
            (i.name, i.domain, i.preset, str(i.batch or "not counted"), cell(i.parameters), cell(i.flop_per_step),
             cell(i.gradient_bytes, "B"), cell(i.activation_bytes, "B"))
            for i in items
        ],
    )  # fmt: skip
    for entry in table().values():
        if entry.options:
            say(
                f"options of {entry.name}: "
                + ", ".join(f"{k}={v!r}" for k, v in entry.options.items())
            )


def _plain(kind: str, as_json: bool) -> None:
    from wattlaw.core.plugins import plugins

    found = sorted(plugins(ROOMS[kind]).values())
    if as_json:
        emit_json(
            f"list {kind}",
            [{"name": p.name, "module": p.module, "version": p.version} for p in found],
        )
        return
    print_table(("name", "in"), [(p.name, p.module) for p in found])
