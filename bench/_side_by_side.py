"""Time several implementations of one task in turns in one process.

Changes in the speed of the machine then affect all of them.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Took(NamedTuple):
    """Wall time and CPU time of each call, s. CPU time counts all threads of the process."""

    wall_s: list[float]
    cpu_s: list[float]


def alternate(
    ways: dict[str, Callable[[], Any]], rounds: int = 20, warmup: int = 3
) -> dict[str, Took]:
    """Return the times of each implementation.

    Each round calls every implementation once, in random order.
    """
    for way in ways.values():
        for _ in range(warmup):
            way()
    draw = random.Random(0)
    took = {name: Took([], []) for name in ways}
    for _ in range(rounds):
        order = list(ways)
        draw.shuffle(order)
        for name in order:
            wall, cpu = time.perf_counter(), time.process_time()
            ways[name]()
            took[name].cpu_s.append(time.process_time() - cpu)
            took[name].wall_s.append(time.perf_counter() - wall)
    return took


def ratio(reference: Took, ours: Took) -> dict[str, float]:
    """Return how many times faster ours is than the reference.

    ``ratio`` is the median over rounds of the reference's wall time over ours. ``p5`` and ``p95``
    are percentiles of the same ratios. ``cpu_ratio`` is the ratio of median CPU times, which other
    programs on the machine affect less.
    """
    each = sorted(r / o for r, o in zip(reference.wall_s, ours.wall_s, strict=True))
    ends = statistics.quantiles(each, n=20, method="inclusive")
    return {
        "ratio": round(statistics.median(each), 2),
        "p5": round(ends[0], 2),
        "p95": round(ends[-1], 2),
        "cpu_ratio": round(statistics.median(reference.cpu_s) / statistics.median(ours.cpu_s), 2),
        "reference_s": round(statistics.median(reference.wall_s), 5),
        "ours_s": round(statistics.median(ours.wall_s), 5),
    }


def peak_bytes(file: str, way: str) -> int:
    """Return the peak memory that ``python FILE peak WAY`` prints, bytes."""
    return int(printed(file, "peak", way).split()[-1])


def printed(file: str, *words: str) -> str:
    """Return the output of ``python FILE WORDS``."""
    done = subprocess.run(
        [sys.executable, file, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(file).parent,
    )
    return done.stdout


def grown(work: Callable[[], Any]) -> int:
    """Return how far the peak memory rises above the present use during ``work``, bytes (Linux)."""
    before = _status("VmRSS")
    # "5" resets the peak to the present use, see proc(5)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(name + ":")[1].split()[0]) * 1024
