"""What one trial did over time, read from its attempt's folder: steps, and power or busy cores of its devices."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from wattlaw.core.errors import DamagedRunError
from wattlaw.measuring.files.host_files import Column, Series, read_telemetry
from wattlaw.measuring.files.rank_files import Step, read_steps

MOST_RANKS = 16
MOST_DEVICES = 8
MOST_BYTES = 32_000_000
"""A picture of one trial is not worth reading more than this."""
MOST_POINTS = 240
SMOOTH_S = 0.5
"""CPU time comes in ticks of 10 ms, so a rate is taken over so long."""

Points = list[tuple[float, float]]


class Trace(NamedTuple):
    """One trial over time; seconds count from its first measured step.

    steps  (time, s; step time, s), each step's slowest rank, warm-up left out
    lines  device or process group -> (time, s; value), of ``what``: "power_w" or "busy_cores"
    """

    steps: Points
    lines: dict[str, Points]
    what: str
    end_s: float


def read_trace(attempt: Path) -> Trace | None:
    """Read a trial's folder; None where it holds no steps. Ranks and files that are damaged are left out."""
    ranks = [
        s
        for path in _small_enough(sorted(attempt.glob("steps-*.csv"))[:MOST_RANKS])
        if (s := _steps(path))
    ]
    if not ranks:
        return None
    start, end = ranks[0][0].start_s, ranks[0][-1].end_s
    slowest: dict[int, float] = {}
    for rank in ranks:
        for step in rank:
            slowest[step.step] = max(slowest.get(step.step, 0.0), step.end_s - step.start_s)
    steps = [(s.start_s - start, slowest[s.step]) for s in ranks[0]]
    what, lines = _lines(attempt, start)
    return Trace(thinned(steps), lines, what, end - start)


def _small_enough(paths: list[Path]) -> list[Path]:
    sizes = itertools.accumulate(path.stat().st_size for path in paths)
    return [path for path, size in zip(paths, sizes, strict=True) if size <= MOST_BYTES]


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """Return at most ``most`` points, each the median of its neighbours."""
    size = -(-len(points) // most)
    if size <= 1:
        return points
    parts = (points[i : i + size] for i in range(0, len(points), size))
    return [(median(t for t, _ in part), median(v for _, v in part)) for part in parts]


def rate(times: Sequence[float], counter: Sequence[float], over_s: float = SMOOTH_S) -> Points:
    """Return the growth of a counter per second, over windows of at least ``over_s``."""
    found = []
    for i, now in enumerate(times):
        before = bisect_left(times, now - over_s) - 1
        if before >= 0:
            found.append((now, max(0.0, counter[i] - counter[before]) / (now - times[before])))
    return found


def _steps(path: Path) -> list[Step]:
    try:
        return [s for s in read_steps(path) if not s.warmup]
    except (OSError, DamagedRunError):
        return []


def _lines(attempt: Path, start_s: float) -> tuple[str, dict[str, Points]]:
    series: dict[str, Series] = {}
    # clocks of several hosts do not compare, so one host stands for all
    files = _small_enough(sorted(attempt.glob("telemetry-*.csv"))[:1])
    for path in files:
        try:
            series = read_telemetry(path)
        except OSError:
            continue
    power = {d: s.column("power_w") for d, s in series.items() if len(s.column("power_w")) > 1}
    if power:
        return "power_w", {
            d: _moved(_pairs(c), start_s) for d, c in list(power.items())[:MOST_DEVICES]
        }
    busy = series["job"].column("cpu_time_s") if "job" in series else Column()
    cores = rate(busy.times, busy.values)
    return "busy_cores", {"job": _moved(cores, start_s)} if len(cores) > 1 else {}


def _pairs(column: Column) -> Points:
    times: array[float] = column.times
    return list(zip(times, column.values, strict=True))


def _moved(points: Points, start_s: float) -> Points:
    return thinned([(t - start_s, v) for t, v in points])
