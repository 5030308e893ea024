"""A training loop's stand-in: steps of about 5 ms, half in the interpreter, half in code that lets go of its lock.

Run as a script under any tool's own Python: `python _loop.py TOOL STEPS BLOCK` prints, as JSON, the time of
every step, and the CPU time of its whole process, in blocks with the tool on and off in turn. Standard library
only.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

STEP_S = 0.005
Switch = Callable[[], None]
Mark = Callable[[], None]


def calibrate() -> tuple[int, bytes]:
    """Return how many turns of plain Python, and which bytes to hash, take half a step each."""
    turns, size = 1000, 1 << 16
    while timed(spin, turns) < STEP_S / 2:
        turns = int(turns * 1.1)
    while timed(hashlib.sha256, bytes(size)) < STEP_S / 2:
        size = int(size * 1.1)
    return turns, bytes(size)


def timed(call: Callable[[Any], object], argument: object) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - start)
    return sorted(times)[3]


def spin(turns: int) -> float:
    x = 0.0
    for i in range(turns):
        x += i * 0.5
    return x


def nothing() -> None:
    return


def none(folder: str) -> tuple[Switch, Switch, Mark, Switch]:
    return nothing, nothing, nothing, nothing


def wattlaw(folder: str) -> tuple[Switch, Switch, Mark, Switch]:
    """All meters at 10 Hz and a step mark a step; off, the sampler process is halted."""
    import wattlaw

    window = wattlaw.measure(os.path.join(folder, "runs"), name="loop", hz=10)
    window.__enter__()
    sampler = window._sampler.process.pid
    is_on = [True]

    def switch(on: bool) -> Switch:
        def turn() -> None:
            is_on[0] = on
            os.kill(sampler, signal.SIGCONT if on else signal.SIGSTOP)

        return turn

    def end() -> None:
        os.kill(sampler, signal.SIGCONT)
        window.__exit__(None, None, None)

    return switch(True), switch(False), lambda: window.step() if is_on[0] else None, end


def codecarbon(folder: str) -> tuple[Switch, Switch, Mark, Switch]:
    """Its tracker thread, asked for a reading every 0.1 s, started and stopped around each block."""
    from codecarbon import OfflineEmissionsTracker

    running = []

    def on() -> None:
        tracker = OfflineEmissionsTracker(
            country_iso_code="USA", measure_power_secs=0.1, save_to_file=False, log_level="critical"
        )
        tracker.start()
        running.append(tracker)

    def off() -> None:
        while running:
            running.pop().stop()

    return on, off, nothing, off


def carbontracker(folder: str) -> tuple[Switch, Switch, Mark, Switch]:
    """Its threads, with the shortest interval it takes, one epoch around each block."""
    from carbontracker.tracker import CarbonTracker

    running = []

    def on() -> None:
        tracker = CarbonTracker(epochs=1, update_interval=1, verbose=0, ignore_errors=True, components="cpu")
        tracker.epoch_start()
        running.append(tracker)

    def off() -> None:
        while running:
            running.pop().stop()

    return on, off, nothing, off


def zeus(folder: str) -> tuple[Switch, Switch, Mark, Switch]:
    """A window around each block, as its documentation shows; it reads at the edges only."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[])
    open_windows = []

    def on() -> None:
        monitor.begin_window("block")
        open_windows.append("block")

    def off() -> None:
        while open_windows:
            monitor.end_window(open_windows.pop())

    return on, off, nothing, off


TOOLS = {f.__name__: f for f in (none, wattlaw, codecarbon, carbontracker, zeus)}


def main(tool: str, steps: int, block: int) -> None:
    folder = tempfile.mkdtemp(prefix="bench-")
    turns, data = calibrate()
    on, off, mark, end = TOOLS[tool](folder)
    chance = random.Random(11)
    blocks: list[tuple[bool, list[tuple[float, float]]]] = []
    for _ in range(steps // (2 * block)):
        pair = [True, False]
        chance.shuffle(pair)
        for is_on in pair:
            off()
            if is_on:
                on()
            time.sleep(0.02)
            times = []
            for _ in range(block):
                start, cpu = time.perf_counter(), time.process_time()
                spin(turns)
                hashlib.sha256(data)
                mark()
                times.append((time.perf_counter() - start, time.process_time() - cpu))
            blocks.append((is_on, times))
    off()
    end()
    json.dump(blocks, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
