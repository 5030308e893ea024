"""Two sweeps on one machine at the same time."""

from __future__ import annotations

import json
import subprocess
import sys

SWEEP = """
name = "{name}"
repeats = 1
[setting]
command = "{python} {script} {{burn}}"
[over]
burn = [0.0, 1.0]
"""
BURN = """
import sys, time
while time.process_time() < float(sys.argv[1]): pass
time.sleep(1.5)  # the sampler reads the whole CPU time, however busy the machine is
"""


def test_two_sweeps_on_one_machine_count_only_their_own_processes(tmp_path):
    script = tmp_path / "burn.py"
    script.write_text(BURN)
    running = []
    for name in ("one", "other"):
        path = tmp_path / f"{name}.toml"
        path.write_text(SWEEP.format(name=name, python=sys.executable, script=script))
        words = [
            sys.executable,
            "-m",
            "wattlaw",
            "sweep",
            "start",
            str(path),
            "-o",
            str(tmp_path / "runs"),
        ]
        running.append(
            subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    for runner in running:
        _, errors = runner.communicate(timeout=120)
        assert runner.returncode == 0, errors
    for name in ("one", "other"):
        runs = [
            json.loads(p.read_text()) for p in (tmp_path / "runs" / name).glob("*/summary.json")
        ]
        assert [r.get("state", "done") for r in runs] == ["done", "done"]
        idle, busy = sorted((r["quantities"]["cpu_time_s"].get("value") or 0.0) for r in runs)
        # Python starts in less than half a second; the CPU time of the other sweep must not be counted
        assert idle < 0.5, (idle, busy)
        assert 0.95 < busy < 1.5, (idle, busy)
