"""What each meter read on the machines of these runs, and why it read nothing where it did not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.run import Run
from wattlaw.devices.meter import DeviceInfo, Probe
from wattlaw.measuring.files.host_files import Host, read_host
from wattlaw.records.trial_folders import some_attempts
from wattlaw.report.content import PageTable, Section
from wattlaw.report.context import Context

NAMES = {"meters": "meters"}

MAX_ROWS = 60
WORDS = "What the sampler could read while the trials ran, with the limits of the devices."
COLUMNS = ["host", "meter", "device", "its energy from", "limits", "what it does not read"]


def meters(context: Context) -> Section | None:
    """List every device that was read; None if the folder of the runs is unknown."""
    rows = []
    for host in _hosts(context.folder, context.runs):
        for probe in host.probes:
            rows += [[host.host, probe.meter, *cells] for cells in _rows(probe)]
    if not rows:
        return None
    table = PageTable(COLUMNS, rows[:MAX_ROWS], "Meters", has_code=True)
    tables = [table.without_empty_columns()]
    return Section("meters", "Meters", 65, paragraphs=[WORDS], tables=tables)


def _hosts(folder: Path | None, runs: Sequence[Run]) -> list[Host]:
    """Return the distinct hosts and meters of some runs; unreadable files are left out."""
    found: dict[bytes, Host] = {}
    for attempt in some_attempts(folder, runs):
        for path in sorted(attempt.glob("host-*.json")):
            try:
                host = read_host(path)
            except (OSError, DamagedRunError):
                continue
            found.setdefault(msgspec.json.encode((host.host, host.probes)), host)
    return list(found.values())


def _rows(probe: Probe) -> list[list[str]]:
    rows = []
    for device in probe.devices:
        limits = ", ".join(_limit(name, value) for name, value in device.limits.items())
        energy = "" if device.energy == "none" else device.energy
        rows.append([_name(device), energy, limits, device.reason])
    if probe.reason:
        grant = f"; `{probe.grant}` would change that" if probe.grant else ""
        rows.append(["" if rows else "none", "", "", probe.reason + grant])
    return rows


def _name(device: DeviceInfo) -> str:
    if device.name in ("", device.id):
        return device.id
    return f"{device.id}: {device.name}"


def _limit(name: str, value: float) -> str:
    for ending, unit in (("_w", " W"), ("_mhz", " MHz")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} {value:g}{unit}"
    return f"{name.replace('_', ' ')} {value:g}"
