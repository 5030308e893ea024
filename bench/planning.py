"""A sweep of 10,000 trials: planned (at most 2 s), and what is left of it when half are done (at most 2 s)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from _runs import make
from _spread import fresh, spread

SWEEP = """
name = "big"
repeats = 5
[setting]
workload = "schnet"
preset = "tiny"
stop = { steps = 100 }
[over]
devices = [1, 2, 4, 8]
batch_per_device = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128]
learning_rate = [0.1, 0.03, 0.01, 0.003]
seed = [0, 1, 2, 3, 4]
"""

PLAN = """
import json, sys, time
from pathlib import Path
from wattlaw.core.sweepfile import read_sweep, trials
from wattlaw.runner.sweeps import plan_sweep, undone
start = time.perf_counter()
ordered = trials(read_sweep(Path(sys.argv[1])))
listed = time.perf_counter()
order = plan_sweep(Path(sys.argv[1]), sys.argv[2])
left = len(undone(order.plan, order.folder))
end = time.perf_counter()
print(json.dumps({"trials": len(ordered), "list_s": listed - start, "plan_s": end - listed, "left": left}))
"""


def main(repeats: int = 7) -> dict[str, Any]:
    """Return the time to list, to plan anew and to plan with half of the trials done, and the ratio of the two."""
    from wattlaw.core.sweepfile import read_sweep, trials

    with tempfile.TemporaryDirectory() as place:
        file, empty, half = (
            Path(place, "big.toml"),
            Path(place, "a", "big"),
            Path(place, "b", "big"),
        )
        file.write_text(SWEEP)
        make(half, trials(read_sweep(file))[::2])
        pairs = [
            (fresh(PLAN, str(file), str(empty.parent)), fresh(PLAN, str(file), str(half.parent)))
            for _ in range(repeats)
        ]
    ratios = sorted(resumed["plan_s"] / new["plan_s"] for new, resumed in pairs)
    return {
        "trials": int(pairs[0][0]["trials"]),
        "left_of_new_and_half_done": [int(pairs[0][0]["left"]), int(pairs[0][1]["left"])],
        "list_s": spread([new["list_s"] for new, _ in pairs]),
        "plan_s": spread([new["plan_s"] for new, _ in pairs]),
        "resume_s": spread([resumed["plan_s"] for _, resumed in pairs]),
        "ratio": round(ratios[len(ratios) // 2], 3),
        "ratio_is": "time to plan with half of the trials done over that to plan anew",
        "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
    }
