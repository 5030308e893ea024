"""host-<host>.json: one host's clock, its devices, and what could not be read there."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.devices.meter import DeviceInfo, Probe


class Jump(msgspec.Struct, frozen=True):
    """The UTC clock moved against the monotonic one: when (monotonic s) and by how much, s."""

    time_s: float
    by_s: float


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """A host's monotonic clock set against the first host's, at ``time_s`` of its own.

    offset_s       the first host's clock minus its own, s
    uncertainty_s  half the round trip in which it was measured: the offset is off by at most this, s
    utc_offset_s   UTC minus monotonic time of the first host, s
    """

    host: str
    boot_id: str
    time_s: float
    offset_s: float
    uncertainty_s: float
    utc_offset_s: float


class Host(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a sampler knows of its host.

    clock_start, clock_end   one moment each as (monotonic s, UTC s since 1970)
    against  its clock set against the first host's, at the start and at the end, where there are several hosts
    probes                   what every meter reads here, or why it reads nothing
    cores                    CPU cores that the job may keep busy
    cpu_share                CPU time of the sampler over elapsed time, once started; 0.01 is 1 % of one core
    shared                   why energies of the whole host are not the job's alone; "" where they are
    gpus_unread              why some GPUs of the job on this host were not read; "" where all were
    troubles                 what went wrong while sampling
    """

    host: str
    boot_id: str = ""
    hz: float = 10.0
    root_pid: int = 0
    cores: int | None = None
    cpu_name: str = ""
    clock_start: tuple[float, float] = (0.0, 0.0)
    clock_end: tuple[float, float] | None = None
    against: tuple[Against, ...] = ()
    jumps: tuple[Jump, ...] = ()
    probes: tuple[Probe, ...] = ()
    cpu_share: float | None = None
    shared: str = ""
    gpus_unread: str = ""
    troubles: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[DeviceInfo, ...]:
        """Every device of every meter."""
        return tuple(d for probe in self.probes for d in probe.devices)

    @property
    def own_offset_s(self) -> float:
        """UTC minus monotonic time at the start, s, by its own clocks."""
        return self.clock_start[1] - self.clock_start[0]

    @property
    def offset_s(self) -> float:
        """What turns its monotonic times into UTC s: the first host's UTC where they were compared, else its own."""
        if not self.against:
            return self.own_offset_s
        offsets = [a.offset_s for a in self.against]
        return sum(offsets) / len(offsets) + self.against[0].utc_offset_s

    @property
    def offset_uncertainty_s(self) -> float | None:
        """How far that may be off, s: half a round trip, and half of what the clocks drifted apart; None: unknown."""
        if not self.against:
            return None
        offsets = [a.offset_s for a in self.against]
        return max(a.uncertainty_s for a in self.against) + (max(offsets) - min(offsets)) / 2


def host_name() -> str:
    """Return the host's short name, fit for a file's name; on a Slurm node the name that Slurm gives it."""
    name = (os.environ.get("SLURMD_NODENAME") or socket.gethostname()).split(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "host"


def boot_id() -> str:
    """Return what tells this boot of this machine from every other; monotonic clocks compare within one only."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def clock_pair() -> tuple[float, float]:
    """Return one moment as (monotonic s, UTC s since 1970), the best of three tries."""
    found = []
    for _ in range(3):
        before = time.monotonic()
        utc = time.time()
        after = time.monotonic()
        found.append((after - before, (before + after) / 2, utc))
    _, monotonic, utc = min(found)
    return monotonic, utc


def read_host(path: Path) -> Host:
    """Read a host file. Raises OSError, or DamagedRunError naming it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Host)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedRunError(f"{path} is damaged: {error}") from None
