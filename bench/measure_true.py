"""Time that `wattlaw measure -- true` adds to `true`, compared with other measuring tools.

All commands run in turns, 15 rounds, the peers (see _peers.py) in 5 of them. Times are medians with
the 5th and 95th percentile, s. perun measures only Python programs and gets an empty one. Zeus
measures only blocks of code and gets an empty block. ``ratio`` is the median time of
`wattlaw measure -q -- true` minus that of `true`, s.
Run with `make bench NAME=measure_true`. For import time and size see import_time.py.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _peers import MODULES, absent, environments

ROUNDS, PEER_ROUNDS = 15, 5
CODECARBON = ("monitor", "--offline", "--country-iso-code", "USA", "--", "true")
ZEUS = """
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor(gpu_indices=[])
monitor.begin_window("a")
monitor.end_window("a")
"""


def main() -> dict[str, Any]:
    """Return the times of all commands, s, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.write_text("")
        commands = {
            "true": ["true"],
            "wattlaw": [sys.executable, "-m", "wattlaw", "measure", "-q", "--", "true"],
            "python -c pass": [sys.executable, "-c", "pass"],
            **{name: words for name, words in of_peers(script).items() if Path(words[0]).exists()},
        }
        times, broken = rounds(commands, folder)
    own = statistics.median(times["wattlaw"]) - statistics.median(times["true"])
    return {
        "what": "seconds that measuring adds to a command that does nothing",
        "ratio": round(own, 4),
        "times_s": {name: spread(values) for name, values in times.items()},
        "failed": broken,
        "missing": absent(),
    }


def of_peers(script: Path) -> dict[str, list[str]]:
    """Return the command of each peer that measures an empty program or block."""
    bins = {name: str(place / "bin") for name, place in environments().items()}
    words = {
        "codecarbon": ["codecarbon", *CODECARBON],
        "carbontracker": ["carbontracker", "true"],
        "perun": ["perun", "monitor", str(script)],
        "zeus": ["python", "-c", ZEUS],
    }
    found = {}
    for name, folder in bins.items():
        program, *arguments = words[name]
        found[name] = [f"{folder}/{program}", *arguments]
    return found


def rounds(
    commands: dict[str, list[str]], folder: str
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the times of each command, s, and the last line of the error of those that fail."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    broken: dict[str, str] = {}
    every = ROUNDS // PEER_ROUNDS
    for number in range(ROUNDS):
        for name, words in commands.items():
            if name in broken or (name in MODULES and number % every):
                continue
            start = time.perf_counter()
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            times[name].append(time.perf_counter() - start)
            if done.returncode:
                broken[name] = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
                times[name] = []
    return {name: values for name, values in times.items() if values}, broken


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 4),
        "p5": round(ordered[int(0.05 * len(ordered))], 4),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 4),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(main(), indent=1))
