"""Advice chooses among the tunable options, which core/options.py names."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest
from tests.factory import law_run

from wattlaw.advice.advise import advise
from wattlaw.advice.pareto import pareto_points
from wattlaw.core.errors import UsageError
from wattlaw.core.options import OPTIONS, TUNABLE_FIELDS
from wattlaw.core.setting import OptionValue

TUNABLE_OPTIONS = [name for name, option in OPTIONS.items() if option.is_tunable]

VALUES_OF_FIELDS: dict[str, Sequence[OptionValue]] = {
    "devices": (1, 2),
    "nodes": (1, 2),
    "devices_per_node": (1, 2),
    "batch_per_device": (32, 64),
    "precision": ("fp32", "bf16"),
    "power_cap_w": (100.0, 200.0),
    "sm_clock_mhz": (900.0, 1200.0),
    "memory_clock_mhz": (900.0, 1200.0),
    "backend": ("gloo", "nccl"),
}


def values_of(name: str) -> Sequence[OptionValue]:
    option = OPTIONS[name]
    if option.choices:
        return option.choices
    return (False, True) if isinstance(option.default, bool) else (1, 2, 4)


def swept(name: str, values: Sequence[OptionValue]):
    """Return three runs of each value, faster for later values."""
    runs = []
    for index, value in enumerate(values):
        changes = {"devices": 2} if name == "nodes" else {}
        changes[name] = value
        devices = int(changes.pop("devices", 1))
        if name == "devices_per_node":
            devices = int(changes.pop(name))
        for repeat in range(3):
            time = (1 - 0.2 * index) * (1 + 0.01 * repeat)
            runs.append(law_run(time, devices, repeat, **changes))
    return runs


@pytest.mark.parametrize("name", TUNABLE_OPTIONS)
def test_a_sweep_over_a_tunable_option_is_one_group_with_a_recommendation(name):
    values = values_of(name)
    (advice,) = advise(swept(name, values), minimise="time")
    assert advice.setting.options[name] == values[-1]
    assert "only setting" not in advice.words


@pytest.mark.parametrize("name", TUNABLE_FIELDS)
def test_a_sweep_over_a_tunable_field_is_one_group_with_a_recommendation(name):
    values = VALUES_OF_FIELDS[name]
    (advice,) = advise(swept(name, values), minimise="time")
    assert getattr(advice.setting, name) == values[-1]
    assert "only setting" not in advice.words


@pytest.mark.parametrize("name", TUNABLE_OPTIONS)
def test_a_front_holds_the_values_of_a_tunable_option(name):
    points = pareto_points(swept(name, values_of(name)), "time", "device_time")
    assert {tuple(p.group.items()) for p in points} == {(("workload", "schnet"),)}


def test_runs_that_train_something_else_are_not_compared():
    runs = swept("learning_rate", (0.1, 0.01))
    assert [a.group["learning_rate"] for a in advise(runs, minimise="time")] == ["0.1", "0.01"]


PARETO = functools.partial(pareto_points, x="time", y="device_time")


@pytest.mark.parametrize("ask", [advise, PARETO])
def test_a_tunable_option_that_no_run_has_is_refused(ask):
    runs = [law_run(0.01, workload="own", options={"kernel": name}) for name in ("a", "b")]
    with pytest.raises(UsageError, match="'kernal', but no run has that option; did you mean"):
        ask(runs, tunable=["kernal"])
