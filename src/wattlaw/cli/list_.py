"""``wattlaw list``: the plug-ins of each kind, importing none of them."""

from __future__ import annotations

import click

from wattlaw.cli.output import OneOf, emit_json, json_option, say
from wattlaw.cli.tables import print_table
from wattlaw.core.plugins import KINDS, plugins

NAMES = {"list": "list_"}


@click.command("list", short_help="List workloads, meters, importers, studies and more.")
@click.argument("kind", type=OneOf([*KINDS, "options"]), required=False)
@json_option
def list_(kind: str | None, as_json: bool) -> None:
    """List the plug-ins of one KIND; without KIND, list the kinds.

    `run --option NAME=VALUE` takes the options, which every workload understands.
    `run` takes the names of workloads, `import` those of importers, `study run` those of studies.
    Meters, controls and sections of the report are used automatically if they apply.
    """
    if kind is None:
        _list_kinds(as_json)
    elif kind == "workloads":
        _list_workloads(as_json)
    elif kind == "options":
        _list_options(as_json)
    else:
        _list_plugins(kind, as_json)


def _list_kinds(as_json: bool) -> None:
    from wattlaw.core.options import OPTIONS

    items: list[dict[str, object]] = []
    rows = []
    for kind in (*KINDS, "options"):
        names = sorted(OPTIONS)
        if kind in KINDS:
            names = sorted(plugins(KINDS[kind]))
        items.append({"kind": kind, "names": names})
        rows.append((kind, str(len(names)), ", ".join(names)))
    if as_json:
        emit_json("list", items)
        return
    print_table(("kind", "number", "names"), rows)


def _list_workloads(as_json: bool) -> None:
    from wattlaw.core.units import show
    from wattlaw.workloads.counts import list_presets, workload_entries

    items = list_presets()
    if as_json:
        emit_json("list workloads", items)
        return

    def cell(value: float | None, unit: str = "") -> str:
        return "not counted" if value is None else show(value, unit)

    rows = []
    for item in items:
        row = [item.name, item.domain, item.preset, str(item.batch or "not counted")]
        row += [cell(item.parameters), cell(item.flop_per_step)]
        row += [cell(item.gradient_bytes, "B"), cell(item.activation_bytes, "B")]
        rows.append(row)
    heads = ["name", "domain", "preset", "batch", "parameters", "FLOP per step"]
    print_table([*heads, "gradients", "activations"], rows)
    for entry in workload_entries().values():
        if entry.options:
            defaults = ", ".join(f"{name}={value!r}" for name, value in entry.options.items())
            say(f"options of {entry.name}: {defaults}")


def _list_options(as_json: bool) -> None:
    from wattlaw.core.options import OPTIONS

    if as_json:
        items = [{"name": name, **option._asdict()} for name, option in OPTIONS.items()]
        emit_json("list options", items)
        return
    rows = []
    for name, option in OPTIONS.items():
        choices = ", ".join(option.choices) or type(option.default).__name__
        tunable = "yes" if option.is_tunable else "no"
        rows.append((name, choices, str(option.default), tunable, option.meaning))
    print_table(("name", "type or choices", "default", "tunable", "meaning"), rows)
    say("tunable options change speed or energy, not what is trained: `wattlaw advise` picks them")


def _list_plugins(kind: str, as_json: bool) -> None:
    found = sorted(plugins(KINDS[kind]).values())
    if as_json:
        items = []
        for p in found:
            item = {"name": p.name, "module": p.module, "version": p.version}
            items.append({**item, "package": p.provider})
        emit_json(f"list {kind}", items)
        return
    print_table(("name", "module", "package"), [(p.name, p.module, p.provider) for p in found])
