"""What `wattlaw measure -- true` costs over `true` alone; peers beside it.

Commands run in turn, 15 rounds, peers in 5 of them; medians with 5th and 95th percentile, s. Peers as in _peers.py:
perun measures Python programs only, Zeus code blocks only, so theirs is an empty program and an empty block. Import
time and size of the installations: import_time.py.
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
ZEUS = "from zeus.monitor import ZeusMonitor; m = ZeusMonitor(gpu_indices=[]); m.begin_window('a'); m.end_window('a')"


def main() -> dict[str, Any]:
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
    """Return how each peer measures a program that does nothing; Zeus wraps code only, so it gets the shortest."""
    bins = {name: str(place / "bin") for name, place in environments().items()}
    words = {
        "codecarbon": ["codecarbon", *CODECARBON],
        "carbontracker": ["carbontracker", "true"],
        "perun": ["perun", "monitor", str(script)],
        "zeus": ["python", "-c", ZEUS],
    }
    return {
        name: [f"{bins[name]}/{command[0]}", *command[1:]]
        for name, command in words.items()
        if name in bins
    }


def rounds(
    commands: dict[str, list[str]], folder: str
) -> tuple[dict[str, list[float]], dict[str, str]]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    broken: dict[str, str] = {}
    for number in range(ROUNDS):
        for name, words in commands.items():
            if name in broken or (name in MODULES and number % (ROUNDS // PEER_ROUNDS)):
                continue
            start = time.perf_counter()
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            times[name].append(time.perf_counter() - start)
            if done.returncode:
                broken[name] = (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
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
