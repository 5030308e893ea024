"""Sweep files and the order in which trials run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core.errors import RecordError, UsageError
from wattlaw.core.sweepfile import Sweep, read_sweep, settings, sweep_from, trials

FILE = """
name = "bert-caps"
repeats = 3
[setting]
workload = "bert"
stop = { steps = 200 }
[over]
devices = [1, 2, 4, 8]
batch_per_device = [16, 32]
power_cap_w = [150, 200, 250]
"""

axes = st.dictionaries(
    st.sampled_from(["batch_per_device", "seed", "warmup_steps", "lr"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    max_size=3,
)


def test_a_sweep_file_is_the_grid_of_its_values(tmp_path: Path):
    path = tmp_path / "caps.toml"
    path.write_text(FILE)
    sweep = read_sweep(path)
    assert len(settings(sweep)) == 4 * 2 * 3
    assert len(trials(sweep)) == 4 * 2 * 3 * 3
    assert {s.stop.steps for s in settings(sweep)} == {200}
    path.write_text(FILE.replace('name = "bert-caps"\n', ""))
    assert read_sweep(path).name == "caps"


@given(axes, st.integers(1, 5), st.integers(0, 99))
def test_every_repeat_has_each_setting_once_in_its_own_order(over: dict, repeats: int, seed: int):
    sweep = Sweep(name="x", repeats=repeats, order_seed=seed, setting={"workload": "w"}, over=over)
    planned, size = trials(sweep), len(settings(sweep))
    assert len(planned) == size * repeats
    for block in range(repeats):
        part = planned[block * size : (block + 1) * size]
        assert {t.repeat for t in part} == {block}
        assert len({t.id for t in part}) == size
    assert planned == trials(sweep)


def test_the_order_of_a_sweep_never_changes():
    sweep = sweep_from(
        {"repeats": 2, "setting": {"workload": "w"}, "over": {"seed": [0, 1, 2, 3, 4, 5]}}
    )
    assert [t.setting.seed for t in trials(sweep)] == [4, 2, 1, 0, 5, 3, 4, 0, 1, 5, 2, 3]
    other = sweep_from(
        {
            "order_seed": 1,
            "repeats": 2,
            "setting": {"workload": "w"},
            "over": {"seed": list(range(6))},
        }
    )
    assert [t.id for t in trials(other)] != [t.id for t in trials(sweep)]


def test_a_workload_of_a_new_version_gets_new_trials():
    sweep = sweep_from({"setting": {"workload": "w"}})
    assert trials(sweep)[0].id == trials(sweep, {"w": 1})[0].id != trials(sweep, {"w": 2})[0].id


def test_the_name_of_a_trial_is_a_folder_name():
    sweep = sweep_from({"setting": {"workload": "../my file:Mine"}})
    assert trials(sweep)[0].id.startswith("my-file-Mine-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('repeats = 3"', "line 3"),
        ("repeats = 0", "repeats is 0"),
        ("repeats = 2.5", "repeats: Expected `int`"),
        ("repeat = 3", "did you mean 'repeats'"),
        ("over = 3", "Cannot overwrite"),
        ("hz = nan", "hz is nan"),
        ("cooldown_s = inf", "cooldown_s is inf"),
        ("time_limit_s = 0", "time_limit_s is 0"),
    ],
)
def test_a_wrong_sweep_file_is_named_with_its_fault(tmp_path: Path, change: str, message: str):
    path = tmp_path / "caps.toml"
    path.write_text(FILE.replace("repeats = 3", change))
    with pytest.raises(UsageError) as caught:
        read_sweep(path)
    assert message.lower() in str(caught.value).lower()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"over": {"devices": []}}, "over.devices is empty"),
        ({"over": 3}, "over: Expected"),
        ({"setting": []}, "setting: Expected"),
        ({"name": "../up"}, "name is '../up'"),
    ],
)
def test_an_invalid_grid_is_refused(values: dict, message: str):
    with pytest.raises(UsageError) as caught:
        sweep_from(values)
    assert message in str(caught.value)


def test_a_missing_sweep_file_is_a_one_line_error(tmp_path: Path):
    with pytest.raises(RecordError, match="there is no"):
        read_sweep(tmp_path / "none.toml")
    with pytest.raises(RecordError, match="is a folder"):
        read_sweep(tmp_path)
