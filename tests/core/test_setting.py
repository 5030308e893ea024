"""A setting, its identity, and the values that users may write."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core.errors import UsageError, WattlawError
from wattlaw.core.setting import Setting, Stop, identity, setting_from, to_json

words = st.text(min_size=1, max_size=12)
positive = st.floats(min_value=1e-3, max_value=1e6)
whole = st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
settings = st.builds(
    Setting,
    workload=words,
    preset=st.sampled_from(["base", "tiny"]),
    nodes=st.integers(1, 400),
    devices_per_node=st.integers(1, 16),
    batch_per_device=st.none() | st.integers(1, 4096),
    precision=st.sampled_from(["fp32", "tf32", "bf16", "fp16"]),
    power_cap_w=st.none() | positive | st.integers(1, 1000),
    sm_clock_mhz=st.none() | positive,
    seed=st.integers(0, 5),
    stop=st.builds(
        Stop, steps=st.integers(1, 200), epochs=st.none() | positive | st.integers(1, 9)
    ),
    warmup_steps=st.integers(0, 9),
    options=st.dictionaries(
        words, words | whole | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
    ),
)


@given(settings)
def test_a_setting_survives_its_json_with_its_identity(setting: Setting):
    for data in (to_json(setting), msgspec.json.encode(setting)):
        again = msgspec.json.decode(data, type=Setting)
        assert again == setting
        assert identity(again) == identity(setting)
        assert to_json(again) == to_json(setting)


@given(settings, st.data())
def test_fields_with_their_default_are_not_part_of_the_identity(
    setting: Setting, data: st.DataObject
):
    spelled_out = {name: getattr(setting, name) for name in Setting.__struct_fields__}
    names = data.draw(st.permutations(list(spelled_out)))
    assert identity(setting_from({n: spelled_out[n] for n in names})) == identity(setting)


def test_the_identity_of_a_setting_never_changes():
    """Folders of runs have these names, so a change would orphan every recorded trial."""
    assert identity(Setting("schnet")) == "00d792ff4461"
    assert identity(Setting("schnet"), version=2) == "246cf488ad4d"
    setting = Setting(
        "bert",
        "tiny",
        2,
        4,
        32,
        "bf16",
        150,
        1410.0,
        seed=7,
        stop=Stop(200),
        options={"lr": 1e-4, "compile": True},
    )
    assert to_json(setting).decode() == (
        '{"batch_per_device":32,"devices_per_node":4,"nodes":2,"options":{"compile":true,"lr":0.0001},'
        '"power_cap_w":150.0,"precision":"bf16","preset":"tiny","seed":7,"sm_clock_mhz":1410.0,'
        '"stop":{"steps":200},"workload":"bert"}'
    )
    assert identity(setting) == "87c60c0c7412"


def test_a_new_field_with_a_default_renames_no_old_setting():
    class Later(Setting, frozen=True):
        interface: str = "auto"
        stages: int = 1

    assert identity(Later("schnet", devices_per_node=2)) == identity(
        Setting("schnet", devices_per_node=2)
    )
    assert identity(Later("schnet", stages=2)) != identity(Setting("schnet"))


def test_devices_are_the_total_over_the_nodes():
    setting = setting_from({"workload": "schnet", "nodes": 2, "devices": 8})
    assert (setting.devices_per_node, setting.devices) == (4, 8)


def test_a_name_that_is_not_a_field_becomes_an_option():
    assert setting_from({"workload": "schnet", "accumulation": 2}).options == {"accumulation": 2}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs a workload"),
        ({"workload": ""}, "workload is empty"),
        ({"workload": "x", "batch_per_device": 0}, "batch_per_device is 0; it must be at least 1"),
        ({"workload": "x", "devices": 3, "nodes": 2}, "a multiple of 2 nodes"),
        ({"workload": "x", "devices": 2, "devices_per_node": 2}, "not both"),
        ({"workload": "x", "devices": True}, "whole number"),
        ({"workload": "x", "nodes": "2"}, "nodes: Expected `int`"),
        ({"workload": "x", "precision": "bf61"}, "did you mean 'bf16'"),
        ({"workload": "x", "device_type": "rocket"}, "valid: auto, cpu, cuda"),
        ({"workload": "x", "backend": "nccl", "device_type": "cpu"}, "use gloo"),
        ({"workload": "x", "power_cap_w": float("inf")}, "positive number"),
        ({"workload": "x", "stop": 100}, "such as stop = { steps = 100 }"),
        ({"workload": "x", "stop": {}}, "stop is empty"),
        ({"workload": "x", "stop": {"step": 100}}, "did you mean 'steps'"),
        ({"workload": "x", "stop": {"epochs": float("nan")}}, "stop must be positive"),
        ({"workload": "x", "options": 3}, "it must be a table"),
        ({"workload": "x", "lr": [1]}, "option 'lr' is [1]"),
        ({"workload": "x", "lr": float("nan")}, "option 'lr' is nan"),
        ({"workload": "x", "lr": 2**70}, "option 'lr'"),
    ],
)
def test_an_impossible_setting_lists_the_valid_values(values: dict, message: str):
    with pytest.raises(UsageError) as caught:
        setting_from(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


json_values = st.recursive(
    st.none() | st.booleans() | whole | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*Setting.__struct_fields__, "devices", "lr"]), json_values, max_size=6
    )
)
def test_any_values_give_a_setting_or_a_one_line_error(values: dict):
    try:
        setting = setting_from({"workload": "x", **values})
    except UsageError as error:
        error_text = str(error)
    else:
        error_text = ""
        assert identity(msgspec.json.decode(to_json(setting), type=Setting)) == identity(setting)
    assert "\n" not in error_text


TARGET = {"metric": "mae_mev", "below": 60}


def test_a_target_is_a_part_of_the_identity_and_settings_without_one_keep_theirs():
    plain = setting_from({"workload": "schnet", "stop": {"steps": 100}})
    aimed = setting_from({"workload": "schnet", "stop": {"steps": 100, "target": TARGET}})
    same = setting_from(
        {
            "workload": "schnet",
            "stop": {"target": {"below": 60.0, "metric": "mae_mev"}, "steps": 100},
        }
    )
    assert to_json(plain) == b'{"workload":"schnet"}'
    assert (
        to_json(aimed)
        == b'{"stop":{"steps":100,"target":{"below":60.0,"metric":"mae_mev"}},"workload":"schnet"}'
    )
    assert identity(aimed) == identity(same) != identity(plain)
    assert msgspec.convert(msgspec.json.decode(to_json(aimed)), Setting) == aimed


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ({"target": TARGET}, "also set a maximum of steps, epochs or seconds"),
        ({"steps": 5, "target": {"metric": "mae_mev"}}, "incomplete"),
        ({"steps": 5, "target": {**TARGET, "above": 3}}, "incomplete"),
        ({"steps": 5, "target": {"metric": "mae_mev", "below": float("nan")}}, "incomplete"),
        ({"steps": 5, "target": "mae_mev"}, "give a metric"),
        ({"steps": 5, "target": {**TARGET, "bellow": 3}}, "did you mean 'below'"),
    ],
)
def test_a_target_that_cannot_be_evaluated_is_refused(stop, message):
    with pytest.raises(WattlawError, match=message):
        setting_from({"workload": "schnet", "stop": stop})
