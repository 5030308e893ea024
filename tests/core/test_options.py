"""The options of training, defined once."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlaw.core.errors import SettingError, UnknownNameError
from wattlaw.core.options import OPTIONS, TUNABLE, TUNABLE_FIELDS, training_options
from wattlaw.core.setting import FIELDS, setting_from


def test_every_tunable_name_is_an_option_or_a_field_of_a_setting():
    assert set(TUNABLE_FIELDS) <= {*FIELDS, "devices"}
    assert set(TUNABLE) - set(TUNABLE_FIELDS) <= set(OPTIONS)


def test_the_documentation_names_every_option():
    pages = (Path(__file__).parents[2] / "docs").glob("*.md")
    text = "".join(page.read_text() for page in pages)
    assert [name for name in OPTIONS if f"`{name}" not in text] == []


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_a_one_line_description(name):
    option = OPTIONS[name]
    assert option.meaning
    assert "\n" not in option.meaning
    assert not option.choices or option.default in option.choices


@pytest.mark.parametrize("name", [n for n, option in OPTIONS.items() if option.choices])
def test_an_unknown_choice_of_an_option_lists_the_valid_ones(name):
    with pytest.raises(UnknownNameError, match=f"unknown {name} 'q'; valid: "):
        training_options(setting_from({"workload": "schnet", name: "q"}))


def test_a_value_of_the_wrong_type_is_answered_with_an_example():
    with pytest.raises(SettingError, match="must be a bool such as False"):
        training_options(setting_from({"workload": "schnet", "compile": 1}))
