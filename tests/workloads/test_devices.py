"""Two devices, each with half the batch, give the gradients of one device with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wattlaw.core.plugins import plugins


def test_two_devices_give_the_gradients_of_one_for_every_workload(tmp_path):
    names = sorted(plugins("wattlaw.workloads"))
    script = Path(__file__).with_name("two_ranks.py")
    words = [sys.executable, "-W", "ignore", str(script)]
    ranks = [
        subprocess.Popen([*words, str(rank), str(tmp_path / "meeting"), *names], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for rank in ranks:
        out, _ = rank.communicate(timeout=240)
        assert rank.returncode == 0
        found = dict(line.split() for line in out.splitlines())
        assert sorted(found) == names
        assert {n: far for n, far in found.items() if float(far) > 1e-5} == {}
