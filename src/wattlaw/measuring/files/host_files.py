"""The two files of each host in an attempt's folder.

host-<host>.json        its clock, its devices, and what could not be read
telemetry-<host>.csv    every reading of its devices
"""

from __future__ import annotations

import itertools
import operator
import os
import re
import socket
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import why
from wattlaw.devices.meter import TELEMETRY_COLUMNS, DeviceInfo, Probe, Sample

EDGE_MARGIN_S = 15.0
"""Telemetry up to this far outside a window is also read, for slow counters at its edges."""

_MAX_PENDING_BYTES = 64 * 2**20
"""Size of the rows that wait while the disk is full; then the oldest are dropped and counted."""


class Jump(msgspec.Struct, frozen=True):
    """A step of the UTC clock: when (monotonic s) and by how much, s."""

    time_s: float
    by_s: float


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """The offset of a host's monotonic clock to the first host's, measured at its ``time_s``.

    offset_s       the first host's clock minus this one's, s
    uncertainty_s  largest possible error of the offset, s: half the round trip of the exchange
    utc_offset_s   UTC minus monotonic time of the first host, s
    """

    host: str
    boot_id: str
    time_s: float
    offset_s: float
    uncertainty_s: float
    utc_offset_s: float


class Host(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a sampler knows about its host.

    clock_start, clock_end   one moment each as (monotonic s, UTC s since 1970)
    against     offsets to the first host's clock, at the start and at the end; empty on one host
    jumps       steps of the UTC clock while sampling
    probes      what every meter reads here, or why it reads nothing
    cores       CPU cores that the job may use
    cpu_share   CPU time of the sampler over elapsed time; 0.01 is 1 % of one core
    shared      why energies of the whole host are not only the job's; "" where they are
    gpus_unread why some of the job's GPUs here were not read; "" if all were
    troubles    what went wrong while sampling
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
        return tuple(itertools.chain.from_iterable(p.devices for p in self.probes))

    @property
    def own_offset_s(self) -> float:
        """UTC minus monotonic time at the start by the host's own clocks, s."""
        return self.clock_start[1] - self.clock_start[0]

    @property
    def offset_s(self) -> float:
        """What to add to the host's monotonic times to get UTC, s.

        The UTC is the first host's if the clocks were compared, else the host's own.
        """
        if not self.against:
            return self.own_offset_s
        offsets = [a.offset_s for a in self.against]
        return sum(offsets) / len(offsets) + self.against[0].utc_offset_s

    @property
    def offset_uncertainty_s(self) -> float | None:
        """Largest error of that offset, s; None if the clocks were not compared.

        Half the longer round trip plus half the drift between the two comparisons.
        """
        if not self.against:
            return None
        offsets = [a.offset_s for a in self.against]
        return max(a.uncertainty_s for a in self.against) + (max(offsets) - min(offsets)) / 2


def host_name() -> str:
    """Return the host's short name, valid in a file's name; on a Slurm node Slurm's name of it."""
    name = (os.environ.get("SLURMD_NODENAME") or socket.gethostname()).split(".")[0]
    return re.sub(r"[^\w-]", "-", name) or "host"


def boot_id() -> str:
    """Return the id of this boot of this machine; monotonic clocks compare within one boot only."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def clock_pair() -> tuple[float, float]:
    """Return one moment as (monotonic s, UTC s since 1970), the most accurate of three readings."""
    readings = []
    for _ in range(3):
        before = time.monotonic()
        utc = time.time()
        after = time.monotonic()
        readings.append((after - before, (before + after) / 2, utc))
    _, monotonic, utc = min(readings)
    return monotonic, utc


def read_host(path: Path) -> Host:
    """Read a host file. Raises OSError, or DamagedRunError naming it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Host)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedRunError(f"{path} is damaged: {error}") from None


class TelemetryFile:
    """Writes telemetry; rows go to disk at each ``flush``.

    While the disk is full, rows wait in memory (64 MiB) and the next flush tries again.
    ``lost_rows`` counts the rows that were dropped, or are not on disk after ``close``;
    ``lost_s`` are the monotonic times of the first and the last of them, s.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = -1
        self.pending = bytearray((",".join(TELEMETRY_COLUMNS) + "\n").encode())
        self.trouble = ""
        self.lost_rows = 0
        self.lost_s: tuple[float, float] | None = None
        self._last_byte = b""

    def append(self, samples: Iterable[Sample]) -> None:
        """Add rows; nothing is written yet."""
        for sample in samples:
            self.pending += _line(sample)
        if len(self.pending) > _MAX_PENDING_BYTES:
            # half of the first row may be on disk already: keep it, so that no two rows merge
            first = self.pending.find(b"\n") + 1
            cut = self.pending.find(b"\n", len(self.pending) // 4) + 1
            self._drop(first, cut)

    def flush(self) -> bool:
        """Write the waiting rows. False if the system refuses; ``trouble`` says why."""
        try:
            if self.file < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self.file = os.open(self.path, flags, 0o644)
            while self.pending:
                written = os.write(self.file, self.pending)
                self._last_byte = bytes(self.pending[written - 1 : written])
                del self.pending[:written]
        except OSError as error:
            self.trouble = why(error, self.path)
            return False
        self.trouble = ""
        return True

    def close(self) -> None:
        """Write the waiting rows and close the file; rows that cannot be written are lost."""
        if not self.flush():
            self._drop(0, len(self.pending))
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _drop(self, first: int, end: int) -> None:
        """Delete pending bytes; remember how many rows they held, and from when to when."""
        rows = bytes(self.pending[first:end]).splitlines()
        del self.pending[first:end]
        # the first piece may be the header, or the rest of a row that is half on disk
        is_first_whole = first > 0 or self._last_byte == b"\n"
        whole = rows if is_first_whole else rows[1:]
        self.lost_rows += len(rows) if self._last_byte else len(whole)
        if whole:
            times = [float(row.partition(b",")[0]) for row in (whole[0], whole[-1])]
            begin, last = self.lost_s or (times[0], times[0])
            self.lost_s = min(begin, *times), max(last, *times)


class TelemetryColumn:
    """One quantity of one device: ``times`` in s, oldest first, and ``values`` in its unit."""

    __slots__ = ("times", "values")

    def __init__(self) -> None:
        self.times = array("d")
        self.values = array("d")

    def __len__(self) -> int:
        return len(self.times)

    def between(self, start_s: float, end_s: float) -> TelemetryColumn:
        """Return the readings between two times."""
        first, last = bisect_left(self.times, start_s), bisect_right(self.times, end_s)
        part = TelemetryColumn()
        part.times, part.values = self.times[first:last], self.values[first:last]
        return part


class Series:
    """All readings of one device: ``columns`` by name, and ``throttle`` as (time, reasons).

    ``implausible`` has the readings that were left out of the columns.
    """

    def __init__(self) -> None:
        self.columns: dict[str, TelemetryColumn] = {}
        self.implausible: dict[str, TelemetryColumn] = {}
        self.throttle: list[tuple[float, str]] = []

    def column(self, name: str) -> TelemetryColumn:
        """Return a column; an empty one if it was never read."""
        return self.columns.get(name) or TelemetryColumn()

    def between(self, start_s: float, end_s: float) -> Series:
        """Return the readings between two times."""
        part = Series()
        for name, column in self.columns.items():
            part.columns[name] = column.between(start_s, end_s)
        for name, column in self.implausible.items():
            part.implausible[name] = column.between(start_s, end_s)
        part.throttle = [(t, names) for t, names in self.throttle if start_s <= t <= end_s]
        return part

    def newest_s(self) -> float | None:
        """Return the time of the last reading of any quantity, s; None without any."""
        return max((c.times[-1] for c in self.columns.values() if len(c)), default=None)


class HostWindow(NamedTuple):
    """One host's telemetry by device, and a window on that host's own monotonic clock, s."""

    host: Host
    series: dict[str, Series]
    start_s: float
    end_s: float

    def series_of(self, device: str) -> Series:
        """Return the readings of a device; empty if it was never read."""
        return self.series.get(device) or Series()

    def newest_s(self) -> float | None:
        """Return the time of the last reading of any device, s; None without any."""
        times = [s.newest_s() for s in self.series.values()]
        return max((t for t in times if t is not None), default=None)

    def cut(self, start_s: float, end_s: float) -> HostWindow:
        """Return a shorter window, with the telemetry around it that its edges need."""
        first, last = start_s - EDGE_MARGIN_S, end_s + EDGE_MARGIN_S
        series = {device: s.between(first, last) for device, s in self.series.items()}
        return HostWindow(self.host, series, start_s, end_s)


def read_telemetry(
    path: Path, start_s: float = float("-inf"), end_s: float = float("inf")
) -> dict[str, Series]:
    """Read the rows between two times, s on the host's monotonic clock, by device.

    Lines that are not a row are left out, such as a last line that a crash cut off. Raises OSError.
    """
    builders: dict[str, list[_ColumnBuilder]] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        names = file.readline().rstrip("\n").split(",")
        for line in file:
            cells = line.split(",")
            if len(cells) != len(names) or line[-1] != "\n":
                continue
            try:
                time_s = float(cells[0])
                if start_s <= time_s <= end_s:
                    device = builders.get(cells[1])
                    if device is None:
                        device = builders[cells[1]] = [_ColumnBuilder(n) for n in names[2:]]
                    _add_row(device, time_s, cells)
            except ValueError:
                continue
    return {device: _series(columns) for device, columns in builders.items()}


class _ColumnBuilder:
    """Collects one column of one device."""

    __slots__ = ("column", "name", "throttle")

    def __init__(self, name: str) -> None:
        self.name = name
        self.column = TelemetryColumn()
        self.throttle: list[tuple[float, str]] = []


def _add_row(columns: list[_ColumnBuilder], time_s: float, cells: list[str]) -> None:
    # this loop runs for each of millions of rows; the last cell ends with the newline
    for builder, text in zip(columns, cells[2:], strict=True):
        if not text or text == "\n":
            continue
        if builder.name == "throttle":
            builder.throttle.append((time_s, "" if text == "-" else text.rstrip("\n")))
            continue
        value = float(text)
        builder.column.times.append(time_s)
        builder.column.values.append(value)


def _series(columns: list[_ColumnBuilder]) -> Series:
    series = Series()
    for builder in columns:
        if len(builder.column):
            series.columns[builder.name] = builder.column
        series.throttle += builder.throttle
    _sort(series)
    return series


def _sort(series: Series) -> None:
    """Sort by time: rows of several threads reach the disk out of order."""
    for column in series.columns.values():
        times = column.times
        if any(map(operator.gt, times, itertools.islice(times, 1, None))):
            order = sorted(range(len(times)), key=times.__getitem__)
            column.values = array("d", (column.values[i] for i in order))
            column.times = array("d", (times[i] for i in order))
    series.throttle.sort()


def _line(sample: Sample) -> bytes:
    cells = [_cell(getattr(sample, name)) for name in TELEMETRY_COLUMNS[2:]]
    return f"{sample.time_s:.6f},{sample.device},{','.join(cells)}\n".encode(errors="replace")


def _cell(value: float | int | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(round(value, 6))
    # "-" is a reading that found no throttling; an empty cell is no reading
    return str(value) or "-"
