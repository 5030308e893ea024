"""Time of `wattlaw accelerators list` and `plot`, and errors of the roofline on devices left out.

Each command runs in a fresh process, seven times. A roofline error is the relative error of the
prediction for one device from a fit to all other devices of the benchmark.
Run with `make bench NAME=accelerators`.
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

REPEATS = 7
SOURCE = Path(__file__).parent.parent / "src"


def main(repeats: int = REPEATS) -> dict[str, Any]:
    """Return wall times of each command (median, smallest, largest), s, and roofline errors."""
    from wattlaw.accelerators.catalogue.mlperf_results import BENCHMARK_FLOP
    from wattlaw.accelerators.choosing.roofline import coverage, leave_one_out, measured_devices

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "list": ["list"],
            "plot_svg": ["plot", "--survey", "2025", "-o", f"{folder}/a.svg"],
            "plot_html": ["plot", "--survey", "2025", "-o", f"{folder}/a.html"],
            "plot_png": ["plot", "--survey", "2025", "-o", f"{folder}/a.png"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, words in commands.items():
                times[name].append(_seconds(words))
    for name, values in times.items():
        found[f"{name}_s"] = [round(f(values), 3) for f in (statistics.median, min, max)]
    for benchmark, least in BENCHMARK_FLOP.items():
        errors = [abs(h.error) for h in leave_one_out(measured_devices(benchmark), least)]
        found[f"{benchmark}_left_out"] = {
            "devices": len(errors),
            "median_error": round(statistics.median(errors), 4),
            "mean_error": round(statistics.fmean(errors), 4),
            "greatest_error": round(max(errors), 4),
            "in_the_90_percent_interval": round(coverage(measured_devices(benchmark), least), 3),
        }
    return found


def _seconds(words: list[str]) -> float:
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "wattlaw", "accelerators", *words],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    return time.monotonic() - begin


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
