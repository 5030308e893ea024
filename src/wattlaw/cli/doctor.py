"""`wattlaw doctor`: what can be measured and controlled here, and what to do about the rest."""

from __future__ import annotations

import click

from wattlaw.cli.output import emit_json, json_option, say
from wattlaw.cli.tables import print_table

NAMES = {"doctor": "doctor"}


@click.command(short_help="Say what can be measured and controlled here.")
@click.option(
    "--put-back",
    is_flag=True,
    help="First put back the limits whose guards were killed, as in an epilog.",
)
@json_option
def doctor(put_back: bool, as_json: bool) -> None:
    """Say what can be measured and controlled on this machine, and what to do about the rest."""
    from wattlaw.core.errors import DeviceError
    from wattlaw.measuring.limits.guard import put_back_left_behind
    from wattlaw.measuring.machine_check import check_up, machine

    if put_back and (troubles := put_back_left_behind()):
        raise DeviceError(f"limits could not be put back: {'; '.join(troubles)}")
    facts, findings = machine(), check_up()
    if as_json:
        emit_json("doctor", findings, facts)
        return
    say(f"{facts['host']}: {facts['cpu']}, {facts['cores']} cores for this process")
    rows = []
    for f in findings:
        limits = ", ".join(
            f"{name.removesuffix('_w').removesuffix('_mhz')} {value:g}"
            for name, value in f.limits.items()
        )
        rows.append((f.what, f.status, f.device, f"{f.how}; {limits}" if limits else f.how, f.do))
    print_table(("what", "status", "device", "how, or why not", "what to do"), rows)
