"""How benchmarks report: median, range and number of repeats; each repeat in a fresh process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

PEAK = "import resource; peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024"


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median, the lowest and the highest of some values."""
    return {
        "median": round(statistics.median(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
        "n": len(values),
    }


def fresh(script: str, *words: str) -> dict[str, float]:
    """Run a script in a fresh process; it prints one JSON object on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
