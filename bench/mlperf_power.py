"""Node energy of published MLPerf runs against a computation from the raw logs by numpy.

The target is a largest relative difference of 0.1 %. Run with `make bench NAME=mlperf_power`.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from wattlaw.importers.importer import import_runs

DATA = Path(os.environ.get("WATTLAW_DATA", Path(__file__).parents[2] / "shared" / "data"))
ARCHIVE = DATA / "mlperf" / "training_results_v4.1_excerpt.tar.xz"


def independent() -> dict[str, float]:
    """Return the energy of each log by its name, J, from power interpolated on a 1 ms grid."""
    logs, powers = {}, {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if "POWER" not in name or not name.endswith(".txt"):
                continue
            text = archive.extractfile(member).read().decode()
            if match := re.search(r"power/(result_\d+)/node_\d+", name):
                powers.setdefault(name.split("/power/")[0] + "/" + match[1], []).append(text)
            elif "/power/" not in name:
                logs[name.removesuffix(".txt")] = text
    found = {}
    for name, texts in powers.items():
        start, stop = window(logs[name])
        found[name] = sum(energy(text, start, stop) for text in texts)
    return found


def window(log: str) -> tuple[float, float]:
    """Return the start and the stop of the run, s."""
    start = re.search(r'"time_ms": (\d+)[^\n]*"key": "run_start"', log)[1]
    stop = re.search(r'"time_ms": (\d+)[^\n]*"key": "run_stop"', log)[1]
    return int(start) / 1e3, int(stop) / 1e3


def energy(log: str, start: float, stop: float) -> float:
    """Return the energy of one node as a Riemann sum on a 1 ms grid, J."""
    rows = re.findall(r'"time_ms": (\d+)[^\n]*"key": "power_reading", "value": ([\d.]+)', log)
    t, p = np.array(rows, float).T
    grid = np.arange(start, stop, 1e-3) + 5e-4
    return float(np.interp(grid, t / 1e3, p).mean() * (stop - start))


def main() -> dict[str, Any]:
    """Return the number of runs and their largest relative difference."""
    runs = {r.trial: r.quantities["node_energy_j"] for r in import_runs("mlperf", ARCHIVE).runs}
    apart = {name.replace("/", "-"): value for name, value in independent().items()}
    differences = [abs(runs[name].value / value - 1) for name, value in apart.items()]
    said = [runs[name].how for name in apart]
    return {"runs": len(differences), "largest_difference": max(differences), "says": said[0]}


if __name__ == "__main__":
    print(json.dumps(main()))
