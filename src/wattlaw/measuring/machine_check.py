"""What can be measured on this machine, and what to do about the rest."""

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
from wattlaw.measuring.limits.guard import opened
from wattlaw.measuring.limits.limit_state import left_behind
from wattlaw.measuring.sampling.sampler_process import REPLAY

_WHAT = {
    "gpu": "GPU energy",
    "cpu": "CPU energy",
    "dram": "memory energy",
    "psys": "platform energy",
    "node": "node energy",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the check-up. ``status`` is "measured", "estimated" or "missing"; ``do`` is a command or a hint."""

    what: str
    status: str
    how: str = ""
    device: str = ""
    limits: dict[str, float] = {}
    do: str = ""


def check_up() -> list[Finding]:
    """Probe every meter of this machine and say, quantity by quantity, what is had and what is not.

    Raises UsageError where WATTLAW_CPU_WATTS_PER_CORE is no number.
    """
    probed = probe_meters(Scope(root_pid=os.getpid(), replay=os.environ.get(REPLAY, "")))
    for meter in probed:
        meter.close()
    probes = [meter.probe for meter in probed]
    return [
        *_energies(probes),
        *_refusals(probes),
        *_rest(probes),
        *_controls(),
        *_left(),
        *_slurm(),
    ]


def machine() -> dict[str, str | int]:
    """Return the facts that a report of trouble should begin with."""
    return {"host": host_name(), "cpu": cpu_name(), "cores": usable_cores()}


def _energies(probes: list[Probe]) -> list[Finding]:
    devices = [d for p in probes for d in p.devices]
    found = [
        _energy(d)
        for d in devices
        if d.boundary in _WHAT and (d.boundary != "node" or d.energy != "none")
    ]
    if not any(f.what == "CPU energy" and f.status == "measured" for f in found):
        how = f"CPU-seconds of the job × {watts_per_core():g} W a busy core"
        found.append(Finding(what="CPU energy", status="estimated", how=how,
                             do=f"set {VARIABLE} if you know your processor better"))  # fmt: skip
    return found


def _energy(device: DeviceInfo) -> Finding:
    what = _WHAT[device.boundary]
    if device.energy == "none":
        return Finding(
            what=what,
            status="missing",
            how=device.reason,
            device=_name(device),
            limits=device.limits,
        )
    how = {"counter": "its own counter", "power": "sampled power"}[
        device.energy
    ] + f" ({device.meter})"
    text = f"{how}; {device.reason}" if device.reason else how
    return Finding(
        what=what, status="measured", how=text, device=_name(device), limits=device.limits
    )


def _refusals(probes: list[Probe]) -> list[Finding]:
    return [
        Finding(what=f"meter {p.meter}", status="missing", how=p.reason, do=p.grant)
        for p in probes
        if p.reason
    ]


def _rest(probes: list[Probe]) -> list[Finding]:
    meters = {d.id: d.meter for p in probes for d in p.devices}
    found = []
    for device, what in (
        ("job", "CPU time and memory of the job"),
        ("node", "utilisation of the machine"),
    ):
        if device in meters:
            found.append(Finding(what=what, status="measured", how=meters[device]))
    return found


def _controls() -> list[Finding]:
    found = []
    for name in plugins(CONTROLS):
        try:
            with opened(name) as control:
                found += [_control(control, name, device) for device in control.devices(None)]
        except DeviceError as error:
            found.append(Finding(what=f"control {name}", status="missing", how=str(error)))
    return found


def _control(control: Control, name: str, device: str) -> Finding:
    try:
        low, high, unit = control.allowed(device)
    except DeviceError as error:
        return Finding(what=f"control {name}", status="missing", how=str(error), device=device)
    how = f"{low:g} to {high:g} {unit}"
    if os.geteuid() == 0:
        return Finding(what=f"control {name}", status="measured", how=how, device=device)
    hint = "root sets it: run wattlaw under sudo, or ask for a Slurm prolog"
    if name.endswith("_mhz"):
        hint = "root sets it; under Slurm `srun --gpu-freq` needs no root"
    return Finding(
        what=f"control {name}",
        status="missing",
        how=f"{how}, but not by this user",
        device=device,
        do=hint,
    )


def _left() -> list[Finding]:
    """Return the limits that a killed guard left behind."""
    return [
        Finding(
            what=f"limit left behind: {held.control}",
            status="missing",
            how=f"set to {held.holders[-1].value:g} by a process that was killed together with its guard; "
            f"before it was {'not set' if held.previous is None else f'{held.previous:g}'}",
            device=held.device,
            do="`wattlaw doctor --put-back` puts the old value back; so does the next wattlaw that sets it, at its end",
        )
        for held in left_behind()
        if held.holders
    ]


def _slurm() -> list[Finding]:
    if not shutil.which("srun"):
        return []
    if "SLURM_JOB_ID" in os.environ:
        return [
            Finding(what="Slurm", status="measured", how=f"inside job {os.environ['SLURM_JOB_ID']}")
        ]
    return [Finding(what="Slurm", status="measured", how="jobs can be submitted from here")]


def _name(device: DeviceInfo) -> str:
    return f"{device.id} {device.name}".strip()
