"""The role Meter: it reads one kind of device, and says what it cannot read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

import msgspec

Boundary = Literal["gpu", "cpu", "dram", "node", "psys", "job"]
"""What an energy includes. ``psys`` is whatever a board's maker connected to the processor's
platform domain; it differs from board to board, so it is recorded but never used as a node's
energy. ``job`` is a tree of processes."""

EnergyBy = Literal["counter", "power", "none"]


class DeviceInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One device that a meter reads.

    id            unique on its host, such as "gpu:0", "cpu:package-0", "dram:package-0", "node",
                  "job"
    uuid          of the hardware, the same in every meter; "" if the device has none
    energy        source of its energy: its own "counter", sampled "power", or "none"
    limits        as read back, such as {"power_limit_w": 300.0, "power_limit_default_w": 350.0}
    update_s      how often its energy counter or power reading changes, s, if known
    lag_s         mean delay of a power reading behind the power that it reports, s, if known
    resolution_j  smallest step of its energy counter, J, if known
    reason        what cannot be read, and why
    lacks         why single quantities are not reported, by the name of a field of Sample
    part_of       id of the device that it is a part of, such as the GPU of a MIG instance; "" for
                  none
    shared        why its energy may include other jobs, though the user named it; "" if it does
                  not
    may_mirror    whether its counter may repeat that of another device of its meter, as dies do
    """

    id: str
    boundary: Boundary
    meter: str = ""
    name: str = ""
    uuid: str = ""
    energy: EnergyBy = "none"
    limits: dict[str, float] = {}
    update_s: float | None = None
    lag_s: float = 0.0
    resolution_j: float | None = None
    reason: str = ""
    lacks: dict[str, str] = {}
    part_of: str = ""
    shared: str = ""
    may_mirror: bool = False


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reading of one device; its fields are the columns of telemetry-<host>.csv.

    None means not read.
    ``time_s`` is time.monotonic() at the reading. ``energy_j``, ``cpu_time_s`` and the bytes
    (received and sent over PCIe, and over NVLink) are running counters. An application clock is the
    clock that was requested for the device under load, as Slurm's ``--gpu-freq`` does. ``throttle``
    names what limits the clocks, joined by "|". ``processes`` counts the job's live processes on
    the device "job", and on a GPU those of others.
    """

    time_s: float
    device: str
    power_w: float | None = None
    energy_j: float | None = None
    utilisation: float | None = None
    memory_utilisation: float | None = None
    memory_used_bytes: int | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle: str | None = None
    cpu_time_s: float | None = None
    processes: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    nvlink_received_bytes: int | None = None
    nvlink_sent_bytes: int | None = None
    application_sm_clock_mhz: float | None = None
    application_memory_clock_mhz: float | None = None


TELEMETRY_COLUMNS = Sample.__struct_fields__
"""Columns of telemetry-<host>.csv: ``time_s`` on the host's monotonic clock, ``utilisation`` as a
share of 1, ``throttle`` is "-" if nothing limited the clocks. An empty cell means not read."""

LINK_BYTES = ("received_bytes", "sent_bytes", "nvlink_received_bytes", "nvlink_sent_bytes")
"""The counters of bytes that a GPU moved over PCIe and NVLink."""


class Probe(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a meter can read on this host.

    boundaries  of the energies that the meter reads on hosts with its devices
    reason      what it cannot read, and why
    grant       the command that would grant permission
    doubt       why what it reads may not be the job's
    """

    meter: str
    devices: tuple[DeviceInfo, ...] = ()
    boundaries: tuple[Boundary, ...] = ()
    reason: str = ""
    grant: str = ""
    doubt: str = ""


class Scope(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the meters of one sampler read, and where the system's files are.

    root_pid   root of the job's tree of processes
    slurm_job  processes of this Slurm job belong to it too, whatever they descend from
    mark       processes with "NAME=value" in their environment belong to it too; "" is none
    gpus       indices or UUIDs of the GPUs to read; None is all that the job may use
    replay     a trace for the meter "replay" to play
    excluded   processes that are not part of the job though they descend from it (the sampler
               itself) or are its root (the runner of a trial)
    """

    root_pid: int
    slurm_job: str = ""
    mark: str = ""
    gpus: tuple[str, ...] | None = None
    replay: str = ""
    excluded: tuple[int, ...] = ()
    proc: str = "/proc"
    sys: str = "/sys"


class Meter(ABC):
    """Reads one kind of device. ``probe`` is called once, before any reading.

    boundaries  of the energies that it reads; () if it reads none
    priority    if two meters read one device, the one of higher priority is used. Meters of this
                package have 50 to 100; use more to replace one of them on purpose
    """

    boundaries: ClassVar[tuple[Boundary, ...]] = ()
    priority: ClassVar[int] = 0

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @abstractmethod
    def probe(self) -> Probe:
        """Open what can be read and say what cannot; never raises."""

    @abstractmethod
    def read(self) -> list[Sample]:
        """Read every device once, fast quantities only.

        Raises DeviceError or OSError if nothing could be read.
        """

    def read_slow(self) -> list[Sample]:
        """Read what changes slowly or takes long, as separate rows; called once a second."""
        return []

    def read_quick(self) -> list[Sample]:
        """Read only the energy counter, or power if a device has no counter.

        Called up to a thousand times a second around a window's edge. Empty if readings are slow
        or the counter is updated within milliseconds.
        """
        return []

    def close(self) -> None:
        """Release what ``probe`` opened."""
        return


def lag_of(update_s: float) -> float:
    """Return the mean delay of power readings, s, if only their update period is known.

    Half the period, since a reading is shown for that long, and half the time that it averages
    over: GPUs average over a quarter of the period or all of it, by model (arXiv 2312.02741); this
    takes the middle.
    """
    return 0.8 * update_s


def scaled(value: float | None, factor: float) -> float | None:
    """Return a value in another unit; None stays None."""
    return None if value is None else value * factor


def boundary_of(device: str) -> Boundary:
    """Return the boundary that a device's id begins with; "node" for any other."""
    kind = device.partition(":")[0]
    return next((boundary for boundary in get_args(Boundary) if boundary == kind), "node")
