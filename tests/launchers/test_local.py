"""The local launcher: ranks as processes of this machine."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from wattlaw.core.errors import TrialError
from wattlaw.launchers.launcher import Job
from wattlaw.launchers.local import Local


def ended(launched, ranks):
    until = time.monotonic() + 20
    while len(launched.poll()) < ranks:
        assert time.monotonic() < until
        time.sleep(0.02)
    return launched.poll()


def python(code):
    return [sys.executable, "-c", code]


def test_each_rank_has_its_number_and_output_and_its_exit_code_is_kept(tmp_path):
    code = "import os; print(os.environ['WORLD_SIZE']); raise SystemExit(int(os.environ['RANK']))"
    launched = Local().launch(Job(python(code), 2, tmp_path))
    exits = ended(launched, 2)
    launched.stop()
    assert sorted((e.rank, e.code) for e in exits) == [(0, 0), (1, 1)]
    assert [(tmp_path / f"output-{rank}.log").read_text() for rank in (0, 1)] == ["2\n", "2\n"]


def test_stopping_ends_what_a_rank_has_started_too(tmp_path):
    code = "import subprocess; subprocess.run(['sleep', '300'])"
    launched = Local().launch(Job(python(code), 1, tmp_path, are_ranks=False))
    rank = psutil.Process(launched.pids()[0])
    until = time.monotonic() + 20
    while not (children := rank.children()):
        assert time.monotonic() < until
        time.sleep(0.02)
    launched.stop()
    launched.stop()
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in children)


def test_a_program_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(TrialError, match="cannot start 'no-such-program'"):
        Local().launch(Job(["no-such-program"], 1, tmp_path, are_ranks=False))
