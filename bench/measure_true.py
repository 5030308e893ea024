"""What `wattlaw measure -- true` costs over `true` alone; import time and size of the installation; peers beside it.

Commands run in turn, 15 rounds; medians with 5th and 95th percentile, s. Peers as in sampler_overhead.py.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 15
CODECARBON = ("monitor", "--offline", "--country-iso-code", "USA", "--", "true")


def main() -> dict[str, Any]:
    peers = Path(os.environ.get("WATTLAW_PEERS", "peers"))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.write_text("")
        commands: dict[str, list[str]] = {
            "true": ["true"],
            "wattlaw": [sys.executable, "-m", "wattlaw", "measure", "-q", "--", "true"],
            "import wattlaw": [sys.executable, "-c", "import wattlaw"],
            "python -c pass": [sys.executable, "-c", "pass"],
            "codecarbon": [f"{peers}/codecarbon/bin/codecarbon", *CODECARBON],
            "carbontracker": [f"{peers}/carbontracker/bin/carbontracker", "true"],
            "perun": [f"{peers}/perun/bin/perun", "monitor", str(script)],
            "import codecarbon": [f"{peers}/codecarbon/bin/python", "-c", "import codecarbon"],
            "import carbontracker": [f"{peers}/carbontracker/bin/python", "-c", "import carbontracker.tracker"],
            "import perun": [f"{peers}/perun/bin/python", "-c", "import perun"],
            "import zeus": [f"{peers}/zeus/bin/python", "-c", "import zeus.monitor"],
        }  # fmt: skip
        times, broken = rounds({n: c for n, c in commands.items() if n == "true" or Path(c[0]).exists()}, folder)
    own = statistics.median(times["wattlaw"]) - statistics.median(times["true"])
    return {
        "what": "seconds that measuring adds to a command that does nothing",
        "ratio": round(own, 4),
        "times_s": {name: spread(values) for name, values in times.items()},
        "failed": broken,
        "site_packages_mb": {p.name: size_mb(p) for p in sorted(peers.glob("*")) if (p / "bin").is_dir()},
    }


def rounds(commands: dict[str, list[str]], folder: str) -> tuple[dict[str, list[float]], dict[str, str]]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    broken: dict[str, str] = {}
    for _ in range(ROUNDS):
        for name, words in commands.items():
            if name in broken:
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


def size_mb(environment: Path) -> float:
    """Size of what was installed beyond pip itself, MB."""
    total = 0
    for path in environment.glob("lib/python*/site-packages/**/*"):
        parts = path.relative_to(environment).parts
        if path.is_file() and not path.is_symlink() and not parts[3].startswith(("pip", "setuptools", "_distutils")):
            total += path.stat().st_size
    return round(total / 1e6, 1)


if __name__ == "__main__":
    import json

    print(json.dumps(main(), indent=1))
