"""Slowdown of a training loop of 5 ms steps while meters are read at 10 Hz, by measuring tool.

Each tool runs the same loop (_loop.py) in its own process, under its own Python (see _peers.py).
The processes take turns in random order while the others wait. A turn is four blocks of 100 steps,
"off on on off" or "on off off on", so that a linear drift of the machine cancels. The ratio of a
turn is the step time with the tool on over that with it off. A result is the mean over turns of its
logarithm, without the lowest and highest tenth, with a 95 % bootstrap interval. "none" switches
nothing and shows the noise of the machine, in half as many turns. ``ratio`` is wattlaw's.

10,000 steps per tool take 6 minutes; WATTLAW_BENCH_STEPS sets another number.
Run with `make bench NAME=sampler_overhead`.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _peers import absent, environments

STEPS, BLOCK = 10_000, 100
PATTERNS = ("off on on off", "on off off on")
CUT = 0.1

Blocks = list[tuple[bool, float, float]]


class LoopProcess:
    """A process that runs the loop under one tool."""

    def __init__(self, python: str, tool: str) -> None:
        script = Path(__file__).parent / "_loop.py"
        self.turns: list[Blocks] = []
        self.errors = open(os.devnull, "w")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(script), tool, str(BLOCK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def answer(self) -> str:
        """Return the next line of output, or "" if the process has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def turn(self, pattern: str) -> None:
        """Run one turn and keep its result."""
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.stdin.write(pattern + "\n")
            self.process.stdin.flush()
            line = self.answer()
            if line:
                self.turns.append(json.loads(line))

    def end(self) -> None:
        """End the process; kill it after 30 s."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


def main() -> dict[str, Any]:
    """Return the ratio of each tool, with its interval."""
    steps = int(os.environ.get("WATTLAW_BENCH_STEPS", STEPS))
    pythons = {"none": sys.executable, "wattlaw": sys.executable}
    pythons |= {name: str(place / "bin" / "python") for name, place in environments().items()}
    loops = {}
    for tool, python in pythons.items():
        # one after the other, because each calibrates its step at the start
        loops[tool] = LoopProcess(python, tool)
        loops[tool].answer()
    chance = random.Random(11)
    for number in range(math.ceil(steps / (4 * BLOCK))):
        for tool in chance.sample(list(loops), len(loops)):
            if tool != "none" or number % 2 == 0:
                loops[tool].turn(chance.choice(PATTERNS))
    for loop in loops.values():
        loop.end()
    found = {tool: result(loop) for tool, loop in loops.items()}
    missing = {name: {"missing": why} for name, why in absent().items()}
    return {
        "what": "step time with meters at 10 Hz over without, 5 ms steps",
        "ratio": found["wattlaw"].get("ratio"),
        **found,
        **missing,
    }


def result(loop: LoopProcess) -> dict[str, Any]:
    if not loop.turns:
        return {"failed": f"the process ended with exit code {loop.process.returncode}"}
    off = [wall for turn in loop.turns for is_on, wall, _ in turn if not is_on]
    wall_ratios = [log_ratio(turn, 1) for turn in loop.turns]
    cpu_ratios = [log_ratio(turn, 2) for turn in loop.turns]
    return {
        **interval(wall_ratios),
        "of_cpu_time_in_process": interval(cpu_ratios),
        "step_off_ms": round(statistics.median(off) * 1e3, 3),
        "turns": len(loop.turns),
        "steps": len(loop.turns) * 4 * BLOCK,
    }


def log_ratio(turn: Blocks, which: int) -> float:
    """Return ln of the time on over off of one turn: wall time (1) or CPU time (2)."""
    on = sum(block[which] for block in turn if block[0])
    off = sum(block[which] for block in turn if not block[0])
    return math.log(on / off)


def interval(logs: Sequence[float]) -> dict[str, float]:
    """Return the mean ratio of logarithms with its 95 % bootstrap interval."""
    chance = random.Random(3)
    means = sorted(robust_mean(chance.choices(logs, k=len(logs))) for _ in range(4000))
    low, middle, high = (math.exp(m) for m in (means[100], robust_mean(logs), means[3899]))
    return {"ratio": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def robust_mean(logs: Sequence[float]) -> float:
    """Return the mean without the lowest and highest tenth."""
    cut = int(CUT * len(logs))
    return statistics.fmean(sorted(logs)[cut : len(logs) - cut])


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
