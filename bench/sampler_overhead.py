"""How much a training loop of 5 ms steps slows down while all meters are read at 10 Hz; peers beside it.

Meters on and off in alternating blocks of 100 steps in random order within each pair, 10,000 steps and more.
The ratio is on over off of each pair's mean step time; its median comes with a 95 % bootstrap interval. Peers
run the same loop under their own Python: WATTLAW_PEERS names a folder with one virtual environment a peer
(codecarbon, carbontracker, zeus); where one is absent the answer says so. "none" switches nothing: it shows
what this machine's own noise looks like.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS, BLOCK = 10_000, 100
PEERS = ("codecarbon", "carbontracker", "zeus")


def main() -> dict[str, Any]:
    steps = int(os.environ.get("WATTLAW_BENCH_STEPS", STEPS))
    found = {"none": run(sys.executable, "none", steps), "wattlaw": run(sys.executable, "wattlaw", steps)}
    folder = Path(os.environ.get("WATTLAW_PEERS", "peers"))
    for peer in PEERS:
        python = folder / peer / "bin" / "python"
        found[peer] = run(str(python), peer, steps) if python.exists() else {"missing": f"no {python}"}
    return {
        "what": "step time with meters at 10 Hz over without, 5 ms steps",
        "ratio": found["wattlaw"].get("ratio"),
        **found,
    }


def run(python: str, tool: str, steps: int) -> dict[str, Any]:
    script = Path(__file__).parent / "_loop.py"
    done = subprocess.run(
        [python, str(script), tool, str(steps), str(BLOCK)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    return ratio(json.loads(done.stdout[done.stdout.index("[[") :]))


def ratio(blocks: list[tuple[bool, list[tuple[float, float]]]]) -> dict[str, Any]:
    off = [t for is_on, times in blocks for t, _ in times if not is_on]
    return {
        **interval(blocks, 0),
        "of_cpu_time_in_process": interval(blocks, 1),
        "step_off_ms": round(statistics.median(off) * 1e3, 3),
        "pairs": len(blocks) // 2,
    }


def interval(blocks: list[tuple[bool, list[tuple[float, float]]]], which: int) -> dict[str, float]:
    pairs = [dict(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    ratios = [statistics.fmean(t[which] for t in p[True]) / statistics.fmean(t[which] for t in p[False]) for p in pairs]
    chance = random.Random(3)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {"ratio": round(statistics.median(ratios), 4), "low": round(medians[50], 4), "high": round(medians[1949], 4)}


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
