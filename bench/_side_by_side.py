"""Two ways to do the same, timed in turns in one process, so that the machine's mood meets both alike."""

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
    """Seconds of each call: on the clock, and of this process's CPU time (all its threads)."""

    wall_s: list[float]
    cpu_s: list[float]


def alternate(
    ways: dict[str, Callable[[], Any]], rounds: int = 20, warmup: int = 3
) -> dict[str, Took]:
    """Return what each call took, by way; in each round every way is called once, in random order."""
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
    """Return how many times faster ours is: median of the rounds' ratios of wall time, 5th and 95th percentile.

    ``cpu_ratio`` is that of CPU time, which other programs on the machine disturb less.
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
    """Return the peak memory that ``python FILE peak WAY`` prints, in a process of its own."""
    return int(printed(file, "peak", way).split()[-1])


def printed(file: str, *words: str) -> str:
    """Return what ``python FILE WORDS`` prints."""
    done = subprocess.run(
        [sys.executable, file, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(file).parent,
    )
    return done.stdout


def grown(work: Callable[[], Any]) -> int:
    """Return by how many bytes the peak memory of this process exceeds what it holds before ``work`` (Linux)."""
    before = _status("VmRSS")
    # "5" sets the peak back to what is held now, see proc(5)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(name + ":")[1].split()[0]) * 1024
