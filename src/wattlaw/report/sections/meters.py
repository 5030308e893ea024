"""What each meter read on the machines of these runs, and why it read nothing where it did not."""

from __future__ import annotations

from markupsafe import Markup

from wattlaw.devices.meter import DeviceInfo, Probe
from wattlaw.report.context import Context
from wattlaw.report.figure import Section, filled
from wattlaw.report.folder import hosts
from wattlaw.report.meanings import coded

NAMES = {"meters": "meters"}

MOST_ROWS = 60
WORDS = Markup(
    "<p>What the sampler could read while the trials ran, with the limits of the devices as read back.</p>"
)
COLUMNS = ["host", "meter", "device", "its energy from", "limits", "what it does not read"]


def meters(context: Context) -> Section | None:
    """List every device that was read; None where the runs' folder is not at hand."""
    found = hosts(context.folder, context.runs)
    rows = [[h.host, *cells] for h in found for probe in h.probes for cells in _rows(probe)]
    if not rows:
        return None
    return Section(
        "meters", "Meters", 65, text=WORDS, tables=[filled(COLUMNS, rows[:MOST_ROWS], "Meters")]
    )


def _rows(probe: Probe) -> list[list[str]]:
    rows = [
        [probe.meter, _name(d), d.energy if d.energy != "none" else "", _limits(d), d.reason]
        for d in probe.devices
    ]
    if probe.reason:
        grant = f"; `{probe.grant}` would change that" if probe.grant else ""
        rows.append([probe.meter, "none" if not rows else "", "", "", coded(probe.reason + grant)])
    return rows


def _name(device: DeviceInfo) -> str:
    return f"{device.id}: {device.name}" if device.name and device.name != device.id else device.id


def _energy(device: DeviceInfo) -> str:
    return device.energy if device.energy != "none" else ""


def _limits(device: DeviceInfo) -> str:
    return ", ".join(_limit(name, value) for name, value in device.limits.items())


def _limit(name: str, value: float) -> str:
    for ending, unit in (("_w", " W"), ("_mhz", " MHz")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} {value:g}{unit}"
    return f"{name.replace('_', ' ')} {value:g}"
