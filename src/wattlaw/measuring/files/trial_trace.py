"""One trial over time, for a figure: its steps, and the power or the busy cores of its devices."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from wattlaw.core.errors import DamagedRunError
from wattlaw.measuring.files.host_files import Series, TelemetryColumn, read_telemetry
from wattlaw.measuring.files.rank_files import Step, read_steps

MAX_RANKS = 16
MAX_DEVICES = 8
MAX_BYTES = 32_000_000
"""A figure of one trial reads at most this much of each kind of file."""
MAX_POINTS = 240
SMOOTH_S = 0.5
"""CPU time comes in ticks of 10 ms, so its rate is taken over this long."""

Points = list[tuple[float, float]]


class Trace(NamedTuple):
    """One trial over time; seconds count from its first measured step.

    steps  (time in s, step time in s): the slowest rank of each step, without the warm-up
    lines  device or process group -> (time in s, value) of ``quantity``
    quantity  "power_w" or "busy_cores"
    end_s  end of the last measured step
    """

    steps: Points
    lines: dict[str, Points]
    quantity: str
    end_s: float


def read_trace(attempt: Path) -> Trace | None:
    """Read the folder of an attempt; None if it has no steps.

    Ranks and files that are damaged are left out.
    """
    ranks = []
    for path in _small_enough(sorted(attempt.glob("steps-*.csv"))[:MAX_RANKS]):
        steps = _measured_steps(path)
        if steps:
            ranks.append(steps)
    if not ranks:
        return None
    start, end = ranks[0][0].start_s, ranks[0][-1].end_s
    slowest: dict[int, float] = {}
    for step in itertools.chain.from_iterable(ranks):
        slowest[step.step] = max(slowest.get(step.step, 0.0), step.end_s - step.start_s)
    points = [(step.start_s - start, slowest[step.step]) for step in ranks[0]]
    quantity, lines = _lines(attempt, start)
    return Trace(thinned(points), lines, quantity, end - start)


def thinned(points: Points, most: int = MAX_POINTS) -> Points:
    """Return at most ``most`` points, each the median of its neighbours."""
    size = -(-len(points) // most)
    if size <= 1:
        return points
    found = []
    for start in range(0, len(points), size):
        times, values = zip(*points[start : start + size], strict=True)
        found.append((median(times), median(values)))
    return found


def rate(times: Sequence[float], counter: Sequence[float], over_s: float = SMOOTH_S) -> Points:
    """Return the growth of a counter per second, over windows of at least ``over_s``."""
    found = []
    for i, now in enumerate(times):
        before = bisect_left(times, now - over_s) - 1
        if before >= 0:
            growth = max(0.0, counter[i] - counter[before])
            found.append((now, growth / (now - times[before])))
    return found


def _small_enough(paths: list[Path]) -> list[Path]:
    sizes = itertools.accumulate(path.stat().st_size for path in paths)
    return [path for path, size in zip(paths, sizes, strict=True) if size <= MAX_BYTES]


def _measured_steps(path: Path) -> list[Step]:
    try:
        return [step for step in read_steps(path) if not step.warmup]
    except (OSError, DamagedRunError):
        return []


def _lines(attempt: Path, start_s: float) -> tuple[str, dict[str, Points]]:
    series: dict[str, Series] = {}
    # monotonic clocks of two hosts cannot be compared, so only one host is read
    for path in _small_enough(sorted(attempt.glob("telemetry-*.csv"))[:1]):
        try:
            series = read_telemetry(path)
        except OSError:
            continue
    power: dict[str, Points] = {}
    for device, columns in series.items():
        column = columns.column("power_w")
        if len(column) > 1 and len(power) < MAX_DEVICES:
            power[device] = _since(start_s, _pairs(column))
    if power:
        return "power_w", power
    busy = series["job"].column("cpu_time_s") if "job" in series else TelemetryColumn()
    cores = rate(busy.times, busy.values)
    if len(cores) < 2:
        return "busy_cores", {}
    return "busy_cores", {"job": _since(start_s, cores)}


def _pairs(column: TelemetryColumn) -> Points:
    times: array[float] = column.times
    return list(zip(times, column.values, strict=True))


def _since(start_s: float, points: Points) -> Points:
    return thinned([(time - start_s, value) for time, value in points])
