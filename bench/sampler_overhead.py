"""How much a training loop of 5 ms steps slows down while all meters are read at 10 Hz; peers beside it, in one run.

Each tool has a process of its own with the same loop, under its own Python (_peers.py says how they are made);
where one is absent the answer says so. The processes take turns in random order, and all others rest. A turn is
four blocks of 100 steps, "off on on off" or "on off off on": a steady drift of the machine cancels. Its ratio is
the time of a step with the tool on over off. Over the turns stands the mean without the lowest and highest tenth,
with a 95 % bootstrap interval. "none" switches nothing, in half as many turns: it shows this machine's own noise.
10,000 steps a tool take 6 minutes in all.
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


class Loop:
    """The loop under one tool, in a process of its own."""

    def __init__(self, python: str, tool: str) -> None:
        script = Path(__file__).parent / "_loop.py"
        self.turns: list[Blocks] = []
        self.errors = open(os.devnull, "w")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(script), tool, str(BLOCK)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip

    def answer(self) -> str:
        """Return its next line; "" where it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def turn(self, pattern: str) -> None:
        """Have it carry out one turn."""
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.stdin.write(pattern + "\n")
            self.process.stdin.flush()
            line = self.answer()
            if line:
                self.turns.append(json.loads(line))

    def end(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


def main() -> dict[str, Any]:
    steps = int(os.environ.get("WATTLAW_BENCH_STEPS", STEPS))
    pythons = {"none": sys.executable, "wattlaw": sys.executable}
    pythons |= {name: str(place / "bin" / "python") for name, place in environments().items()}
    loops = {}
    for tool, python in pythons.items():
        # one after the other, so that each finds out in peace how much work a step is
        loops[tool] = Loop(python, tool)
        loops[tool].answer()
    chance = random.Random(11)
    for number in range(math.ceil(steps / (4 * BLOCK))):
        for tool in chance.sample(list(loops), len(loops)):
            if tool != "none" or number % 2 == 0:
                loops[tool].turn(chance.choice(PATTERNS))
    for loop in loops.values():
        loop.end()
    found = {tool: result(loop) for tool, loop in loops.items()}
    return {
        "what": "step time with meters at 10 Hz over without, 5 ms steps",
        "ratio": found["wattlaw"].get("ratio"),
        **found,
        **{name: {"missing": why} for name, why in absent().items()},
    }


def result(loop: Loop) -> dict[str, Any]:
    if not loop.turns:
        return {"failed": f"it ended with exit code {loop.process.returncode}"}
    off = [wall for turn in loop.turns for is_on, wall, _ in turn if not is_on]
    return {
        **interval([ratio(turn, 1) for turn in loop.turns]),
        "of_cpu_time_in_process": interval([ratio(turn, 2) for turn in loop.turns]),
        "step_off_ms": round(statistics.median(off) * 1e3, 3),
        "turns": len(loop.turns),
        "steps": len(loop.turns) * 4 * BLOCK,
    }


def ratio(turn: Blocks, which: int) -> float:
    """Return the logarithm of on over off of one turn: by wall time (1) or CPU time (2)."""
    on, off = (sum(block[which] for block in turn if block[0] is is_on) for is_on in (True, False))
    return math.log(on / off)


def interval(logs: Sequence[float]) -> dict[str, float]:
    chance = random.Random(3)
    means = sorted(robust_mean(chance.choices(logs, k=len(logs))) for _ in range(4000))
    low, middle, high = (math.exp(m) for m in (means[100], robust_mean(logs), means[3899]))
    return {"ratio": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def robust_mean(logs: Sequence[float]) -> float:
    cut = int(CUT * len(logs))
    return statistics.fmean(sorted(logs)[cut : len(logs) - cut])


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
