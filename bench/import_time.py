"""Time of `import wattlaw` and `wattlaw --help`, and size of the base install.

The targets are 0.1 s, 0.2 s and 20 MB. Both commands and an empty Python run 25 times in turns;
``import_s`` is the time beyond an empty Python. The size is that of site-packages in a fresh
environment with the base dependencies, without pip and setuptools. The peers (see _peers.py) are
imported in turns with wattlaw, each in its own environment. ``ratio`` is the time of
`wattlaw --help` over that of an empty Python. Run with `make bench NAME=import_time`.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from _peers import MODULES, absent, environments, size_mb
from _spread import spread

ROOT = Path(__file__).parent.parent
PEER_ROUNDS = 5
WORDS = {
    "empty": ["-c", "pass"],
    "import": ["-c", "import wattlaw"],
    "help": ["-m", "wattlaw", "--help"],
}


def main(repeats: int = 25) -> dict[str, Any]:
    """Return the times, the size and the ratio."""
    with tempfile.TemporaryDirectory() as place:
        python, megabytes = base_install(Path(place))
        took: dict[str, list[float]] = {name: [] for name in WORDS}
        busy: dict[str, list[float]] = {name: [] for name in WORDS}
        for turn in range(repeats + 1):
            for name in sorted(WORDS, reverse=turn % 2 == 0):
                start, before = time.perf_counter(), children_cpu()
                subprocess.run([python, *WORDS[name]], stdout=subprocess.DEVNULL, check=True)
                took[name].append(time.perf_counter() - start)
                busy[name].append(children_cpu() - before)
        beside = peers(python)
    empty, imported, helped = (took[name][1:] for name in ("empty", "import", "help"))
    ratios = [h / e for h, e in zip(helped, empty, strict=True)]
    return {
        "import_s": spread([i - e for i, e in zip(imported, empty, strict=True)]),
        "help_s": spread(helped),
        "empty_python_s": spread(empty),
        "help_cpu_s": spread(busy["help"][1:]),
        "empty_python_cpu_s": spread(busy["empty"][1:]),
        "base_install_mb": round(megabytes, 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_is": "time of `wattlaw --help` over that of an empty Python",
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "peers": beside,
        "missing": absent(),
    }


def peers(python: str) -> dict[str, Any]:
    """Return size, MB, and import time beyond an empty Python, s, of wattlaw and each peer."""
    words = {"wattlaw": (python, "wattlaw")}
    for name, place in environments().items():
        words[name] = (str(place / "bin" / "python"), MODULES[name])
    if len(words) == 1:
        return {}
    took: dict[str, list[float]] = {name: [] for name in words}
    for turn in range(PEER_ROUNDS + 1):
        for name, (own, module) in words.items():
            empty = timed([own, "-W", "ignore", "-c", "pass"])
            full = timed([own, "-W", "ignore", "-c", f"import {module}"])
            if turn:  # the first round fills the caches of byte code and files
                took[name].append(full - empty)
    return {
        name: {
            "import_s": spread(values),
            "installed_mb": round(size_mb(Path(words[name][0]).parents[1]), 1),
        }
        for name, values in took.items()
    }


def timed(words: list[str]) -> float:
    """Return the time of a command, s."""
    start = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def children_cpu() -> float:
    """Return the CPU time of all child processes so far, s. It depends little on other load."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def base_install(place: Path) -> tuple[str, float]:
    """Install wattlaw without extras; return the Python of its environment and its size, MB."""
    venv.create(place / "v", with_pip=True)
    python = str(place / "v" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, str(ROOT)], check=True, stdout=sys.stderr)
    return python, size_mb(place / "v")
