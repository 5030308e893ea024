"""Summarise repeats by median, range and count, and run each repeat in a fresh process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

PEAK = "import resource; peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024"


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median, the smallest and the largest of some values, and their number."""
    return {
        "median": round(statistics.median(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
        "n": len(values),
    }


def fresh(script: str, *words: str) -> dict[str, float]:
    """Run a script in a fresh process and return the JSON object on its last line of output."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
