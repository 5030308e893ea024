"""The energy of a whole node as Slurm's own plug-in reads it (IPMI, XCC or Cray's counters)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.plausible import is_sentinel

NAMES = {"slurm-energy": "SlurmEnergy"}

_WHOLE_NODE = ("ipmi", "xcc", "pm_counters")
"""Plug-ins that read the whole node; "rapl" and "gpu" read parts that other meters read better."""

_ANSWER_S = 10.0
_MIN_S = 0.9


class SlurmEnergy(Meter):
    """Asks the controller at most about once a second; its energy is for long windows only.

    On a node that other jobs share, this energy is not the job's: the summary leaves it out.
    """

    boundaries = ("node",)
    priority = 50

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.node = os.environ.get("SLURMD_NODENAME", "")
        self.last_read_s = 0.0

    def probe(self) -> Probe:
        if "SLURM_JOB_ID" not in os.environ or not self.node or not shutil.which("scontrol"):
            return Probe(meter="slurm-energy", reason="not inside a Slurm job")
        try:
            settings = _ask("show", "config")
            plugin = _value(settings, "AcctGatherEnergyType").rpartition("/")[2]
            if plugin not in _WHOLE_NODE:
                found = f"Slurm's energy plug-in is {plugin or 'none'}"
                reason = f"{found}; the whole node is read by {', '.join(_WHOLE_NODE)}"
                return Probe(meter="slurm-energy", reason=reason)
            every = re.match(r"\d+", _value(settings, "AcctGatherNodeFreq"))
            if self._joules() is None:
                reason = f"Slurm's plug-in {plugin} reports no energy of {self.node}"
                return Probe(meter="slurm-energy", reason=reason)
        except DeviceError as error:
            return Probe(meter="slurm-energy", reason=str(error))
        period = float(every[0]) if every and int(every[0]) else 30.0
        info = DeviceInfo(
            id="node:slurm",
            boundary="node",
            meter="slurm-energy",
            name=f"node {self.node} ({plugin})",
            energy="counter",
            update_s=period,
            resolution_j=1.0,
        )
        return Probe(meter="slurm-energy", devices=(info,))

    def read(self) -> list[Sample]:
        return []

    def read_slow(self) -> list[Sample]:
        if time.monotonic() - self.last_read_s < _MIN_S:
            return []  # the edges of many short windows would overload the controller
        self.last_read_s = time.monotonic()
        joules = self._joules()
        if joules is None:
            return []
        return [Sample(time_s=time.monotonic(), device="node:slurm", energy_j=joules)]

    def _joules(self) -> float | None:
        text = _value(_ask("show", "node", self.node), "ConsumedJoules")
        if not text.isdigit() or int(text) == 0 or is_sentinel(int(text)):
            return None
        return float(text)


def _ask(*words: str) -> str:
    try:
        done = subprocess.run(
            ["scontrol", *words], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"scontrol does not answer: {error}") from None
    if done.returncode:
        raise DeviceError(f"scontrol: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return done.stdout


def _value(text: str, name: str) -> str:
    found = re.search(rf"\b{name}\s*=\s*(\S+)", text)
    return found[1] if found else ""
