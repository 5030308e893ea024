"""`wattlaw doctor`: what can be measured and controlled here, and what to do about the rest."""

from __future__ import annotations

from collections.abc import Mapping

import click

from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table

NAMES = {"doctor": "doctor"}


@click.command(short_help="Show what can be measured and controlled on this machine.")
@click.option(
    "--restore",
    "--put-back",
    "restore",
    is_flag=True,
    help="First restore the limits whose guards were killed; for an epilog.",
)
@json_option
def doctor(restore: bool, as_json: bool) -> None:
    """Show what can be measured and controlled on this machine, and what to do about the rest."""
    from wattlaw.core.errors import DeviceError
    from wattlaw.measuring.limits.guard import restore_abandoned
    from wattlaw.measuring.machine_check import check_machine, machine_facts

    failures = restore_abandoned() if restore else []
    if failures:
        raise DeviceError(f"limits could not be restored: {'; '.join(failures)}")
    facts, findings = machine_facts(), check_machine()
    if as_json:
        emit_json("doctor", findings, facts)
        return
    say(f"{facts['host']}: {facts['cpu']}, {facts['cores']} cores for this process")
    rows = []
    for f in findings:
        how = f"{f.how}; {_limits_text(f.limits)}" if f.limits else f.how
        rows.append((f.what, f.status, f.device, how, f.do))
    print_table(("what", "status", "device", "how, or why not", "what to do"), rows)


def _limits_text(limits: Mapping[str, float]) -> str:
    texts = []
    for name, value in limits.items():
        title = name.removesuffix("_w").removesuffix("_mhz")
        texts.append(f"{title} {value:g}")
    return ", ".join(texts)
