"""Polling, and how helper processes are started."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wattlaw.core.helper_process import helper_command, helper_environment
from wattlaw.core.polling import wait_until


def test_polling_ends_when_the_condition_holds() -> None:
    answers = [0, [], "yes"]
    assert wait_until(lambda: answers.pop(0), timeout_s=60, every_s=0)
    assert answers == []


def test_polling_ends_at_the_deadline_after_at_least_one_call() -> None:
    calls: list[int] = []
    assert not wait_until(lambda: calls.append(1), timeout_s=0)
    assert calls == [1]


def test_files_in_the_users_folder_do_not_shadow_the_standard_library_in_a_helper(
    tmp_path: Path,
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('the user\\'s queue was imported')")
    (tmp_path / "signal.py").write_text("raise SystemExit('the user\\'s signal was imported')")
    done = subprocess.run(
        helper_command("wattlaw", "--version"),
        env=helper_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
