"""The role Meter: it reads one kind of device, and says plainly what it cannot read and who could grant it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, get_args

import msgspec

Boundary = Literal["gpu", "cpu", "dram", "node", "psys", "job"]
"""What an energy takes in. ``psys`` is what a board's maker wired to the processor's platform domain; it differs
from board to board, so it is recorded but never taken for a node's energy. ``job`` is a tree of processes."""

EnergyBy = Literal["counter", "power", "none"]


class DeviceInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One device that a meter reads.

    id            unique on its host, such as "gpu:0", "cpu:package-0", "dram:package-0", "node", "job"
    energy        how its energy is had: its own "counter", sampled "power", or "none"
    limits        as read back, such as {"power_limit_w": 300.0, "power_limit_default_w": 350.0}
    update_s      how often its energy counter or power reading changes, s, where known
    lag_s         by how much a power reading trails what it tells of, s, on the mean, where known
    resolution_j  smallest step of its energy counter, J, where known
    reason        what of it cannot be read, and why
    lacks         single quantities that it does not give, by the name of a Sample's field, and why
    part_of       id of the device that it is a part of, such as the GPU of a MIG instance; "" for a whole one
    shared        why its energy may be others' too, though it was asked for; "" where it is the job's
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


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reading of one device; its fields are the columns of telemetry-<host>.csv, None is "not read".

    ``time_s`` is time.monotonic() at the reading; ``energy_j``, ``cpu_time_s`` and the bytes (received and sent
    over PCIe, and over NVLink) are running counters; an application clock is the one that the device was told
    to run at under load, as Slurm's ``--gpu-freq`` does; ``throttle`` names what holds the clocks down, joined
    by "|"; ``processes`` counts the job's live processes on the device "job", and on a GPU those that are not
    the job's.
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


class Probe(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a meter can read here. ``reason`` says what it cannot, ``grant`` is the command that would change that.

    ``doubt`` says why what it reads may not be the job's.
    """

    meter: str
    devices: tuple[DeviceInfo, ...] = ()
    reason: str = ""
    grant: str = ""
    doubt: str = ""


class Scope(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the meters of one sampler are to read, and where the system's files lie.

    root_pid  root of the job's tree of processes
    slurm_job  processes of this Slurm job belong to it too, wherever they descend from
    mark      processes with this in their environment, "NAME=value", belong to it too; "" is none
    gpus      indices or UUIDs of the GPUs to read; None is all that the job may use
    replay    a trace that the meter "replay" plays
    apart     processes that are no part of the job even where they descend from it (the sampler itself),
              or though they are its root (the runner of a trial)
    """

    root_pid: int
    slurm_job: str = ""
    mark: str = ""
    gpus: tuple[str, ...] | None = None
    replay: str = ""
    apart: tuple[int, ...] = ()
    proc: str = "/proc"
    sys: str = "/sys"


class Meter(ABC):
    """Reads one kind of device. Made from a Scope; ``probe`` is called once, before any reading."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @abstractmethod
    def probe(self) -> Probe:
        """Open what can be read and say what cannot; never raises."""

    @abstractmethod
    def read(self) -> list[Sample]:
        """Read every device once, fast quantities only. Raises DeviceError or OSError where nothing could be read."""

    def read_slow(self) -> list[Sample]:
        """Read what changes slowly or takes long, in rows of its own; called about once a second, beside ``read``."""
        return []

    def read_quick(self) -> list[Sample]:
        """Read what energy comes from, and nothing else: the counter, or power where a device has none.

        Called up to a thousand times a second around a window's edge. Empty where readings are slow or the
        counter is renewed within milliseconds.
        """
        return []

    def close(self) -> None:
        """Let go of what ``probe`` opened."""
        return


def lag_of(update_s: float) -> float:
    """Return by how much power readings trail, s, where only their update period is known.

    Half the period, since a reading stands for that long, and half the time that it averages over: GPUs average
    over a quarter of the period or over all of it, by model (arXiv 2312.02741); the middle of that is taken.
    """
    return 0.8 * update_s


def boundary_of(device: str) -> Boundary:
    """Return the boundary that a device's id begins with; "node" for any other."""
    kind = device.partition(":")[0]
    return next((b for b in get_args(Boundary) if b == kind), "node")
