"""Time and memory to load and group 100,000 runs from the index, and to write the index.

The targets are 5 s and 1 GB to load and group, and 60 s to write the index from the folders. A run
has thirty quantities, half of them missing, as on a machine without a GPU. Loading from the folders
alternates with loading from the index, each in a fresh process with the files in the system's
cache. ``ratio`` is the median time from the folders over that from the index.
Run with `make bench NAME=records`.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from _runs import make
from _spread import PEAK, fresh, spread
from wattlaw.core.run_folder import INDEX
from wattlaw.core.sweepfile import sweep_from, trials

RUNS = 100_000
OVER = {
    "devices": [1, 2, 4, 8],
    "batch_per_device": list(range(1, 51)),
    "power_cap_w": list(range(100, 200)),
}
SHARED = {"workload": "schnet", "preset": "tiny", "stop": {"steps": 100}}

LOAD = f"""
import json, sys, time
start = time.perf_counter()
from wattlaw.records import load_runs
from wattlaw.records.settings_table import tabulate
runs = load_runs(sys.argv[1])
loaded = time.perf_counter()
rows = tabulate(runs).rows
end = time.perf_counter()
{PEAK}
print(json.dumps({{"s": end - start, "group_s": end - loaded, "peak_mb": peak,
    "cpu_s": time.process_time(), "runs": len(runs),
    "groups": len(rows)}}))
"""

COMPACT = f"""
import json, sys, time
start = time.perf_counter()
from wattlaw.records import compact
(written,) = compact(sys.argv[1])
end = time.perf_counter()
{PEAK}
print(json.dumps({{"s": end - start, "peak_mb": peak, "runs": written.runs}}))
"""


def main(count: int = RUNS, repeats: int = 5) -> dict[str, Any]:
    """Return times, s, peak memory, MB, and the ratio."""
    with tempfile.TemporaryDirectory() as place:
        sweep = Path(place, "runs", "big")
        planned = sweep_from({"name": "big", "repeats": 5, "setting": SHARED, "over": OVER})
        make(sweep, trials(planned)[:count])
        index, aside = sweep / INDEX, Path(place, INDEX)
        compacted, loaded, folders = [], [], []
        for _ in range(repeats):
            index.unlink(missing_ok=True)
            compacted.append(fresh(COMPACT, str(sweep.parent)))
            loaded.append(fresh(LOAD, str(sweep.parent)))
            os.replace(index, aside)
            folders.append(fresh(LOAD, str(sweep.parent)))
            os.replace(aside, index)
        size = index.stat().st_size
    ratios = [f["s"] / i["s"] for f, i in zip(folders, loaded, strict=True)]
    return {
        "runs": int(loaded[0]["runs"]),
        "groups": int(loaded[0]["groups"]),
        "load_and_group_s": spread_of(loaded, "s"),
        "load_and_group_cpu_s": spread_of(loaded, "cpu_s"),
        "group_s": spread_of(loaded, "group_s"),
        "load_peak_mb": spread_of(loaded, "peak_mb"),
        "compact_s": spread_of(compacted, "s"),
        "compact_peak_mb": spread_of(compacted, "peak_mb"),
        "index_mb": round(size / 1e6, 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_is": "time to load and group from the folders over that from the index",
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def spread_of(repeats: list[dict[str, float]], name: str) -> dict[str, Any]:
    """Return the spread of one result over all repeats."""
    return spread([each[name] for each in repeats])
