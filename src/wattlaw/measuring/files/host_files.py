"""The two files of each host: host-<host>.json (its clock, its devices) and telemetry-<host>.csv (what was read)."""

from __future__ import annotations

import itertools
import operator
import os
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


_MOST_PENDING_BYTES = 64 * 2**20
"""What waits in memory while the disk is full; older rows are given up first, and counted."""


class TelemetryFile:
    """Rows go to disk at each ``flush``. A full disk loses none until 64 MiB wait; the next flush tries again.

    ``lost_rows`` were given up or are not on disk after ``close``; their readings are from ``lost_s``, first and last,
    s on the monotonic clock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = -1
        self.pending = bytearray((",".join(TELEMETRY_COLUMNS) + "\n").encode())
        self.trouble = ""
        self.lost_rows = 0
        self.lost_s: tuple[float, float] | None = None
        self._ended_with = b""

    def append(self, samples: Iterable[Sample]) -> None:
        """Add rows; nothing is written yet."""
        for sample in samples:
            self.pending += _line(sample)
        if len(self.pending) > _MOST_PENDING_BYTES:
            # the row at the front may be half on disk already: keep it, so that no two rows grow together
            first = self.pending.find(b"\n") + 1
            cut = self.pending.find(b"\n", len(self.pending) // 4) + 1
            self._give_up(first, cut)

    def flush(self) -> bool:
        """Write what waits. False where the system refuses; ``trouble`` says why."""
        try:
            if self.file < 0:
                self.file = os.open(
                    self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
                )
            while self.pending:
                written = os.write(self.file, self.pending)
                self._ended_with = bytes(self.pending[written - 1 : written])
                del self.pending[:written]
        except OSError as error:
            self.trouble = why(error, self.path)
            return False
        self.trouble = ""
        return True

    def close(self) -> None:
        """Write what waits and close the file; what cannot be written is lost."""
        if not self.flush():
            self._give_up(0, len(self.pending))
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _give_up(self, first: int, end: int) -> None:
        """Forget what waits between two places; remember how many rows, and from when to when."""
        rows = bytes(self.pending[first:end]).splitlines()
        del self.pending[first:end]
        # in front may stand the header, or the rest of a row that is half on disk
        whole = rows if first or self._ended_with == b"\n" else rows[1:]
        self.lost_rows += len(rows) if self._ended_with else len(whole)
        times = [float(row.partition(b",")[0]) for row in (whole[0], whole[-1])] if whole else []
        if times:
            begin, last = self.lost_s or (times[0], times[0])
            self.lost_s = min(begin, *times), max(last, *times)


class Column:
    """Values of one quantity of one device, s and its unit, oldest first."""

    __slots__ = ("times", "values")

    def __init__(self) -> None:
        self.times = array("d")
        self.values = array("d")

    def __len__(self) -> int:
        return len(self.times)


class Series:
    """All that was read of one device: ``columns`` by name, and ``throttle`` as (time, names)."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}
        self.throttle: list[tuple[float, str]] = []

    def column(self, name: str) -> Column:
        """Return a column; an empty one where it was never read."""
        return self.columns.get(name) or Column()

    def between(self, start_s: float, end_s: float) -> Series:
        """Return what was read between two times."""
        part = Series()
        for name, column in self.columns.items():
            first, last = bisect_left(column.times, start_s), bisect_right(column.times, end_s)
            part.columns[name] = made = Column()
            made.times, made.values = column.times[first:last], column.values[first:last]
        part.throttle = [(t, names) for t, names in self.throttle if start_s <= t <= end_s]
        return part


def read_telemetry(
    path: Path, start_s: float = float("-inf"), end_s: float = float("inf")
) -> dict[str, Series]:
    """Read the rows between two times, s on the host's monotonic clock, by device.

    A last line that was cut off by a crash, and any other line that is no row, is left out.
    Raises OSError.
    """
    found: dict[str, Series] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        names = file.readline().rstrip("\n").split(",")
        pens: dict[str, list[_Pen]] = {}
        for line in file:
            cells = line.split(",")
            if len(cells) != len(names) or line[-1] != "\n":
                continue
            try:
                time_s = float(cells[0])
                if start_s <= time_s <= end_s:
                    _write_down(
                        pens.get(cells[1]) or pens.setdefault(cells[1], _pens(names[2:])),
                        time_s,
                        cells,
                    )
            except ValueError:
                continue
    for device, columns in pens.items():
        found[device] = _series(columns)
    return found


class _Pen:
    """Collects one column of one device."""

    __slots__ = ("column", "name", "throttle")

    def __init__(self, name: str) -> None:
        self.name = name
        self.column = Column()
        self.throttle: list[tuple[float, str]] = []


def _pens(names: list[str]) -> list[_Pen]:
    return [_Pen(name) for name in names]


def _write_down(pens: list[_Pen], time_s: float, cells: list[str]) -> None:
    # the loop of the whole reader: a million rows pass here. The last cell carries the line's end
    for pen, text in zip(pens, cells[2:], strict=True):
        if not text or text == "\n":
            continue
        if pen.name == "throttle":
            pen.throttle.append((time_s, "" if text == "-" else text.rstrip("\n")))
            continue
        value = float(text)
        pen.column.times.append(time_s)
        pen.column.values.append(value)


def _series(pens: list[_Pen]) -> Series:
    series = Series()
    for pen in pens:
        if len(pen.column):
            series.columns[pen.name] = pen.column
        series.throttle += pen.throttle
    _put_in_order(series)
    return series


def _put_in_order(series: Series) -> None:
    """Sort where readings of several threads, or an edge, came to disk out of order."""
    for column in series.columns.values():
        times = column.times
        if any(map(operator.gt, times, itertools.islice(times, 1, None))):
            order = sorted(range(len(times)), key=times.__getitem__)
            column.values = array("d", (column.values[i] for i in order))
            column.times = array("d", (times[i] for i in order))
    series.throttle.sort()


def _line(sample: Sample) -> bytes:
    # "-" is a reading that found nothing holding the clocks down; an empty cell is no reading
    throttle = sample.throttle or ("-" if sample.throttle == "" else "")
    cells = [
        _cell(getattr(sample, n)) if n != "throttle" else throttle for n in TELEMETRY_COLUMNS[2:]
    ]
    return f"{sample.time_s:.6f},{sample.device},{','.join(cells)}\n".encode()


def _cell(value: float | int | None) -> str:
    if value is None:
        return ""
    return repr(round(value, 6)) if isinstance(value, float) else str(value)


EDGE_MARGIN_S = 15.0
"""Telemetry this far beyond a window is used too, for slow counters at its edges."""


class HostWindow(NamedTuple):
    """One host's telemetry, with the window on that host's own monotonic clock, s."""

    host: Host
    series: dict[str, Series]
    start_s: float
    end_s: float


def cut_to(window: HostWindow, start_s: float, end_s: float) -> HostWindow:
    """Return a part of a host's window, with as much telemetry around it as its edges need."""
    margin = EDGE_MARGIN_S
    return HostWindow(
        window.host,
        {d: s.between(start_s - margin, end_s + margin) for d, s in window.series.items()},
        start_s,
        end_s,
    )
