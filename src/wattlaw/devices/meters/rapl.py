"""RAPL energy counters of Intel and AMD processors, through the kernel's powercap folders."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path

from msgspec.structs import replace

from wattlaw.core.errors import DeviceError, described
from wattlaw.devices.meter import Boundary, DeviceInfo, Meter, Probe, Sample, Scope

NAMES = {"rapl": "Rapl"}

_FOLDER = re.compile(r"intel-rapl[a-z-]*(:\d+)+$")
_MAX_WATTS = 5000.0
"""No package or memory domain draws more: a step back that would mean more power is not a wrap."""

_PERIOD_S = 1e-3
"""Update period of the counters, s (Intel Software Developer's Manual, volume 3, section 15.10)."""


class _RaplDomain:
    """One counter, unwrapped. A true step back (a reset) stays visible to the summary."""

    def __init__(self, info: DeviceInfo, path: Path) -> None:
        self.info = info
        self.file = os.open(path / "energy_uj", os.O_RDONLY)
        self.range_uj = _number(path / "max_energy_range_uj")
        self.before_uj: int | None = None
        self.before_s = 0.0
        self.wrapped_uj = 0

    def read(self) -> Sample:
        now = time.monotonic()
        raw = int(os.pread(self.file, 32, 0))
        if self.before_uj is not None and raw < self.before_uj and self.range_uj:
            step_j = (raw + self.range_uj - self.before_uj) * 1e-6
            if step_j <= _MAX_WATTS * max(now - self.before_s, _PERIOD_S):
                self.wrapped_uj += self.range_uj
        self.before_uj, self.before_s = raw, now
        return Sample(time_s=now, device=self.info.id, energy_j=(raw + self.wrapped_uj) * 1e-6)


class Rapl(Meter):
    """Energy of CPU packages, memory and platform, separately.

    A domain that two drivers show (intel-rapl and intel-rapl-mmio) is read once. Cores and graphics
    are parts of their package and are left out.
    """

    boundaries = ("cpu", "dram", "psys")
    priority = 100

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.root = Path(scope.sys) / "class" / "powercap"
        self.domains: list[_RaplDomain] = []

    def probe(self) -> Probe:
        known: dict[str, _RaplDomain] = {}
        refused: dict[str, DeviceInfo] = {}
        errors: dict[str, OSError | ValueError] = {}
        for path, info in _domains(self.root):
            if info.id in known:
                continue
            try:
                domain = _RaplDomain(info, path)
                domain.read()
            except (OSError, ValueError) as error:
                refused.setdefault(info.id, info)
                errors.setdefault(info.id, error)
                continue
            known[info.id] = domain
        self.domains = list(known.values())
        devices = [d.info for d in self.domains]
        closed = sorted(set(refused) - set(known))
        if closed:
            reason, grant = _refused(closed, errors), self._grant()
            if devices:
                devices += [_unread(refused[id], errors[id], grant) for id in closed]
            return Probe(meter="rapl", devices=tuple(devices), reason=reason, grant=grant)
        if not devices:
            return self._without()
        return Probe(meter="rapl", devices=tuple(devices))

    def read(self) -> list[Sample]:
        found = []
        for domain in self.domains:
            try:
                found.append(domain.read())
            except (OSError, ValueError):
                continue  # a domain may go with its package; its cells stay empty
        if not found and self.domains:
            raise DeviceError(f"no RAPL counter in {self.root} can be read any more")
        return found

    def close(self) -> None:
        for domain in self.domains:
            os.close(domain.file)
        self.domains = []

    def _without(self) -> Probe:
        flags = _text(Path(self.scope.proc) / "cpuinfo")
        if "hypervisor" in flags:
            reason = "a virtual machine: only its host reads the processor's counters"
            return Probe(meter="rapl", reason=reason)
        reason = f"no energy counter in {self.root}: the kernel has not loaded its module"
        return Probe(meter="rapl", reason=reason, grant="sudo modprobe intel_rapl_msr")

    def _grant(self) -> str:
        return f"sudo sh -c 'chmod a+r {self.root}/intel-rapl*/energy_uj'"


def _refused(names: list[str], errors: dict[str, OSError | ValueError]) -> str:
    # the counters can leak secrets between users (CVE-2020-8694), so the kernel reserves them for
    # root
    forbidden = [name for name in names if isinstance(errors[name], PermissionError)]
    reasons = [f"only root may read the energy of {', '.join(forbidden)}"] if forbidden else []
    for name in names:
        if name not in forbidden:
            reasons.append(f"the energy of {name} cannot be read: {described(errors[name])}")
    return "; ".join(reasons)


def _unread(info: DeviceInfo, error: OSError | ValueError, grant: str) -> DeviceInfo:
    """Return a domain without an energy, so that the others are not taken for the whole."""
    reason = _refused([info.id], {info.id: error})
    if isinstance(error, PermissionError):
        reason = f"{reason}; `{grant}` would grant it"
    return replace(info, energy="none", update_s=None, resolution_j=None, reason=reason)


def _domains(root: Path) -> list[tuple[Path, DeviceInfo]]:
    """Return every domain; two of one driver with one name are different and get different ids."""
    found = []
    seen: Counter[tuple[str, str]] = Counter()
    for path in _folders(root):
        info = _describe(path)
        if info is None:
            continue
        key = (path.name.partition(":")[0], info.id)
        if seen[key]:
            info = replace(info, id=f"{info.id}-{seen[key]}")
        seen[key] += 1
        found.append((path, info))
    return found


def _folders(root: Path) -> list[Path]:
    """Return the domains' folders, those of the plain driver before others that repeat them."""
    try:
        names = [n for n in os.listdir(root) if _FOLDER.match(n)]
    except OSError:
        return []
    return [root / n for n in sorted(names, key=lambda n: (not n.startswith("intel-rapl:"), n))]


def _describe(path: Path) -> DeviceInfo | None:
    name = _text(path / "name")
    if name.startswith("package"):
        return _info(f"cpu:{name}", "cpu", f"CPU {name}")
    if name == "dram":
        package = (
            _text(path.parent / path.name.rpartition(":")[0] / "name")
            or path.name.partition(":")[2]
        )
        return _info(f"dram:{package}", "dram", f"memory of {package}")
    if name == "psys":
        return _info(
            f"psys:{path.name.partition(':')[2]}", "psys", "platform as the board's maker wired it"
        )
    return None


def _info(id: str, boundary: Boundary, name: str) -> DeviceInfo:
    return DeviceInfo(
        id=id,
        boundary=boundary,
        meter="rapl",
        name=name,
        energy="counter",
        update_s=_PERIOD_S,
        resolution_j=1e-6,
        may_mirror=True,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0
