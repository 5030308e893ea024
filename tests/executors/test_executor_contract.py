"""The contract of every executor and every launcher."""

from __future__ import annotations

import pytest

from wattlaw.core.errors import UsageError
from wattlaw.core.plugins import EXECUTORS, LAUNCHERS, load, plugins
from wattlaw.executors.executor import Executor
from wattlaw.launchers.launcher import Launcher
from wattlaw.runner.sweeps import Silent


@pytest.mark.parametrize("name", plugins(EXECUTORS))
def test_an_executor_of_a_new_sweep_has_no_process_to_show_or_cancel(tmp_path, name):
    def work(spec, attempt):
        raise AssertionError("there is no trial")

    executor = load(EXECUTORS, name)(tmp_path, work, Silent())
    assert isinstance(executor, Executor)
    assert executor.status() == []
    with pytest.raises(UsageError, match="no process"):
        executor.cancel()


@pytest.mark.parametrize("name", plugins(LAUNCHERS))
def test_a_launcher_implements_its_role(name):
    assert issubclass(load(LAUNCHERS, name), Launcher)
