"""A synthetic training loop with steps of about 5 ms, for sampler_overhead.py.

Half of a step is Python code. The other half is hashing, which releases the interpreter's lock.
`python _loop.py TOOL BLOCK` runs under the Python of any measuring tool. It reads patterns such as
"off on on off" from standard input. For each pattern it prints one line of JSON with one entry per
block: whether the tool was on, the mean wall time of a step and the mean CPU time, s. The script
uses only the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

STEP_S = 0.005
WARM_UP = 20
SETTLE_S = 0.05
Switch = Callable[[], None]
Mark = Callable[[], None]


def calibrate() -> tuple[int, bytes]:
    """Return the iterations of `spin`, and the bytes to hash, that each take half a step."""
    turns, size = 1000, 1 << 16
    while timed(spin, turns) < STEP_S / 2:
        turns = int(turns * 1.1)
    while timed(hashlib.sha256, bytes(size)) < STEP_S / 2:
        size = int(size * 1.1)
    return turns, bytes(size)


def timed(call: Callable[[Any], object], argument: object) -> float:
    """Return the median time of seven calls, s."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - start)
    return sorted(times)[3]


def spin(turns: int) -> float:
    """Do some arithmetic in the interpreter."""
    x = 0.0
    for i in range(turns):
        x += i * 0.5
    return x


def nothing() -> None:
    return


class Tool(NamedTuple):
    """How to control one measuring tool.

    on, off  start and stop its measurement
    mark     called after every step while it is on
    end      called once, after the last block
    around   wraps the whole loop
    """

    on: Switch
    off: Switch
    mark: Mark = nothing
    end: Switch = nothing
    around: Callable[[Callable[..., None]], Callable[..., None]] = lambda function: function


def none(folder: str) -> Tool:
    """No tool: shows the noise of the machine."""
    return Tool(nothing, nothing)


def wattlaw(folder: str) -> Tool:
    """Read all meters at 10 Hz and mark each step. The sampler process is paused while off."""
    import wattlaw

    window = wattlaw.measure(os.path.join(folder, "runs"), name="loop", hz=10)
    window.__enter__()
    sampler = window._sampler.process.pid

    def switch(number: signal.Signals) -> Switch:
        return lambda: os.kill(sampler, number)

    def end() -> None:
        os.kill(sampler, signal.SIGCONT)
        window.__exit__(None, None, None)

    return Tool(switch(signal.SIGCONT), switch(signal.SIGSTOP), window.step, end)


def codecarbon(folder: str) -> Tool:
    """Start its tracker with a reading every 0.1 s before each block, and stop it after."""
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

    return Tool(on, off, end=off)


def carbontracker(folder: str) -> Tool:
    """Run its threads at the shortest interval it accepts, with one epoch per block."""
    from carbontracker.tracker import CarbonTracker

    tracker = CarbonTracker(
        epochs=10**6,
        monitor_epochs=-1,
        epochs_before_pred=0,
        update_interval=1,
        verbose=0,
        ignore_errors=True,
        components="cpu",
    )
    is_on = [False]

    def on() -> None:
        is_on[0] = True
        tracker.epoch_start()

    def off() -> None:
        if is_on[0]:
            tracker.epoch_end()
        is_on[0] = False

    return Tool(on, off, end=tracker.stop)


def perun(folder: str) -> Tool:
    """Decorate the whole loop, with ten readings a second. Its process is paused while off."""
    import multiprocessing

    from perun import perun as monitored

    os.chdir(folder)

    def readers() -> list[int]:
        return [child.pid for child in multiprocessing.active_children() if child.pid]

    def switch(number: signal.Signals) -> Switch:
        def turn() -> None:
            for pid in readers():
                os.kill(pid, number)

        return turn

    around = monitored(sampling_period=0.1, data_out=folder, rounds=1, warmup_rounds=0)
    return Tool(
        switch(signal.SIGCONT), switch(signal.SIGSTOP), end=switch(signal.SIGCONT), around=around
    )


def zeus(folder: str) -> Tool:
    """Open a window around each block, as documented. It reads only at the edges."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[])
    open_windows = []

    def on() -> None:
        monitor.begin_window("block")
        open_windows.append("block")

    def off() -> None:
        while open_windows:
            monitor.end_window(open_windows.pop())

    return Tool(on, off, end=off)


TOOLS = {f.__name__: f for f in (none, wattlaw, codecarbon, carbontracker, perun, zeus)}


def serve(tool: Tool, block: int, answers: Any) -> None:
    """Run one pattern of blocks, such as "off on on off", for each line of standard input."""
    turns, data = calibrate()
    tool.off()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        steps(turns, data, nothing, WARM_UP)
        found, is_on = [], False
        for word in line.split():
            if is_on != (word == "on"):
                is_on = not is_on
                switch = tool.on if is_on else tool.off
                switch()
            time.sleep(SETTLE_S)
            mark = tool.mark if is_on else nothing
            found.append((is_on, *steps(turns, data, mark, block)))
        if is_on:
            tool.off()
        print(json.dumps(found), file=answers, flush=True)


def steps(turns: int, data: bytes, mark: Mark, count: int) -> tuple[float, float]:
    """Return the mean wall time and the mean CPU time of some steps, s."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        spin(turns)
        hashlib.sha256(data)
        mark()
    return (time.perf_counter() - start) / count, (time.process_time() - cpu) / count


def main(name: str, block: int) -> None:
    """Run the loop under one tool until standard input ends."""
    # tools print to standard output; they get standard error, so that only answers are printed
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tool = TOOLS[name](tempfile.mkdtemp(prefix="bench-"))
    tool.around(serve)(tool, block, answers)
    tool.off()
    tool.end()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
