"""Time to plan a sweep of 10,000 trials, new and with half of its trials done.

Each plan runs in a fresh process; the target is 2 s for both. ``ratio`` is the median over seven
pairs of the time with half of the trials done over the time of a new sweep.
Run with `make bench NAME=planning`.
"""

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
batch_per_device = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16,
    20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128,
]
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
times = {"list_s": listed - start, "plan_s": end - listed}
print(json.dumps({"trials": len(ordered), "left": left, **times}))
"""


def main(repeats: int = 7) -> dict[str, Any]:
    """Return the times to list the trials, to plan a new sweep and to resume one, s."""
    from wattlaw.core.sweepfile import read_sweep, trials

    with tempfile.TemporaryDirectory() as place:
        file, empty, half = Path(place, "big.toml"), Path(place, "a"), Path(place, "b")
        file.write_text(SWEEP)
        make(half / "big", trials(read_sweep(file))[::2])
        new, resumed = [], []
        for _ in range(repeats):
            new.append(fresh(PLAN, str(file), str(empty)))
            resumed.append(fresh(PLAN, str(file), str(half)))
    list_s = [each["list_s"] for each in new]
    plan_s = [each["plan_s"] for each in new]
    resume_s = [each["plan_s"] for each in resumed]
    ratios = sorted(r / n for n, r in zip(plan_s, resume_s, strict=True))
    return {
        "trials": int(new[0]["trials"]),
        "left_of_new_and_half_done": [int(new[0]["left"]), int(resumed[0]["left"])],
        "list_s": spread(list_s),
        "plan_s": spread(plan_s),
        "resume_s": spread(resume_s),
        "ratio": round(ratios[len(ratios) // 2], 3),
        "ratio_is": "time to plan with half of the trials done over that of a new sweep",
        "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
    }
