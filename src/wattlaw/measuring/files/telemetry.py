"""telemetry-<host>.csv: appended to by the sampler, read back column by column."""

from __future__ import annotations

import itertools
import operator
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path

from wattlaw.core.files import why
from wattlaw.core.folder import TELEMETRY_COLUMNS
from wattlaw.devices.meter import Sample

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
