"""What can be measured and controlled on this machine, and what to do about the rest."""

from __future__ import annotations

import os
import shutil

import msgspec

from wattlaw.core.cores import cpu_name, usable_cores
from wattlaw.core.errors import DeviceError
from wattlaw.core.plugins import CONTROLS, plugins
from wattlaw.devices.control import Control
from wattlaw.devices.cpu_model import VARIABLE, watts_per_core
from wattlaw.devices.meter import DeviceInfo, Probe, Scope
from wattlaw.devices.probe_meters import probe_meters
from wattlaw.measuring.files.host_files import host_name
from wattlaw.measuring.limits.guard import open_control
from wattlaw.measuring.limits.limit_state import HeldLimit, abandoned_limits
from wattlaw.measuring.sampling.sampler_process import REPLAY

_ENERGIES = {
    "gpu": "GPU energy",
    "cpu": "CPU energy",
    "dram": "memory energy",
    "psys": "platform energy",
    "node": "node energy",
}

_SOURCES = {"counter": "its own counter", "power": "sampled power"}


class MachineFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the check; ``status`` is "measured", "estimated" or "missing", ``do`` a hint."""

    what: str
    status: str
    how: str = ""
    device: str = ""
    limits: dict[str, float] = {}
    do: str = ""


def check_machine() -> list[MachineFinding]:
    """Probe every meter and control of this machine.

    Raises UsageError if WATTLAW_CPU_WATTS_PER_CORE is not a number.
    """
    probed = probe_meters(Scope(root_pid=os.getpid(), replay=os.environ.get(REPLAY, "")))
    for meter in probed:
        meter.close()
    probes = [meter.probe for meter in probed]
    return [
        *_energies(probes),
        *_missing_meters(probes),
        *_processes(probes),
        *_controls(),
        *_abandoned(),
        *_slurm(),
    ]


def machine_facts() -> dict[str, str | int]:
    """Return the facts with which a problem report should begin."""
    return {"host": host_name(), "cpu": cpu_name(), "cores": usable_cores()}


def _energies(probes: list[Probe]) -> list[MachineFinding]:
    found = []
    for probe in probes:
        for device in probe.devices:
            is_node_without = device.boundary == "node" and device.energy == "none"
            if device.boundary in _ENERGIES and not is_node_without:
                found.append(_energy(device))
    if not any(f.what == "CPU energy" and f.status == "measured" for f in found):
        how = f"CPU-seconds of the job × {watts_per_core():g} W per busy core"
        hint = f"set {VARIABLE} if you know the power of your processor's cores"
        found.append(MachineFinding(what="CPU energy", status="estimated", how=how, do=hint))
    return found


def _energy(device: DeviceInfo) -> MachineFinding:
    status, how = "missing", device.reason
    if device.energy != "none":
        source = f"{_SOURCES[device.energy]} ({device.meter})"
        status, how = "measured", "; ".join(filter(None, (source, device.reason)))
    return MachineFinding(
        what=_ENERGIES[device.boundary],
        status=status,
        how=how,
        device=f"{device.id} {device.name}".strip(),
        limits=device.limits,
    )


def _missing_meters(probes: list[Probe]) -> list[MachineFinding]:
    found = []
    for probe in probes:
        if probe.reason:
            what = f"meter {probe.meter}"
            found.append(
                MachineFinding(what=what, status="missing", how=probe.reason, do=probe.grant)
            )
    return found


def _processes(probes: list[Probe]) -> list[MachineFinding]:
    meters: dict[str, str] = {}
    for probe in probes:
        meters |= {device.id: device.meter for device in probe.devices}
    found = []
    for device, what in (
        ("job", "CPU time and memory of the job"),
        ("node", "utilisation of the machine"),
    ):
        if device in meters:
            found.append(MachineFinding(what=what, status="measured", how=meters[device]))
    return found


def _controls() -> list[MachineFinding]:
    found = []
    for name in plugins(CONTROLS):
        try:
            with open_control(name) as control:
                found += [_control(control, name, device) for device in control.devices(None)]
        except DeviceError as error:
            found.append(MachineFinding(what=f"control {name}", status="missing", how=str(error)))
    return found


def _control(control: Control, name: str, device: str) -> MachineFinding:
    what = f"control {name}"
    try:
        low, high, unit = control.allowed(device)
    except DeviceError as error:
        return MachineFinding(what=what, status="missing", how=str(error), device=device)
    how = f"{low:g} to {high:g} {unit}"
    if os.geteuid() == 0:
        return MachineFinding(what=what, status="measured", how=how, device=device)
    hint = "root may set it: run wattlaw under sudo, or ask for a Slurm prolog"
    if name.endswith("_mhz"):
        hint = "root may set it; under Slurm `srun --gpu-freq` needs no root"
    how = f"{how}, but this user may not set it"
    return MachineFinding(what=what, status="missing", how=how, device=device, do=hint)


def _abandoned() -> list[MachineFinding]:
    """Return the limits that a killed guard left set."""
    return [_abandoned_limit(held) for held in abandoned_limits() if held.holders]


def _abandoned_limit(held: HeldLimit) -> MachineFinding:
    before = "not set" if held.previous is None else f"{held.previous:g}"
    return MachineFinding(
        what=f"abandoned limit: {held.control}",
        status="missing",
        how=f"set to {held.holders[-1].value:g} by a process that was killed with its guard; "
        f"before it was {before}",
        device=held.device,
        do="`wattlaw doctor --restore` restores the old value; "
        "so does the next wattlaw that sets this limit, when it ends",
    )


def _slurm() -> list[MachineFinding]:
    if not shutil.which("srun"):
        return []
    how = "jobs can be submitted from here"
    if "SLURM_JOB_ID" in os.environ:
        how = f"inside job {os.environ['SLURM_JOB_ID']}"
    return [MachineFinding(what="Slurm", status="measured", how=how)]
