"""Quantities and values as shown to people."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.quantities import all_quantities, quantity
from wattlaw.core.units import convert, counted, parse_value, show, show_time


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (0, "J", "0 J"),
        (999.6, "J", "1 kJ"),
        (1234567, "J", "1.23 MJ"),
        (150, "W", "150 W"),
        (1e-5, "h", "1e-05 h"),
        (0.0005, "", "0.0005"),
        (0.93, "", "0.93"),
        (1537, "", "1537"),
        (96000, "", "96 000"),
        (110e6, "", "110 M"),
        (1412, "MHz", "1412 MHz"),
        (641.2, "1/s", "641/s"),
        (3.2e12, "1/s", "3.2 T/s"),
        (512, "B", "512 B"),
        (1023, "B", "0.999 KiB"),
        (3 * 2**30, "B", "3 GiB"),
        (125, "s", "2 min 05 s"),
        (-0.5, "s", "-500 ms"),
        (float("nan"), "s", "not a number"),
        (float("inf"), "J", "∞ J"),
    ],
)
def test_a_value_is_shown_with_three_digits_and_a_prefix(value: float, unit: str, text: str):
    assert show(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.002, "2 ms"),
        (99.9, "99.9 s"),
        (3599.7, "1 h 00 min"),
        (7440, "2 h 04 min"),
        (259200, "3.0 d"),
    ],
)
def test_a_duration_is_shown_in_the_units_of_a_clock(seconds: float, text: str):
    assert show_time(seconds) == text


FACTORS = {
    "P": 1e15,
    "T": 1e12,
    "G": 1e9,
    "M": 1e6,
    "k": 1e3,
    "": 1,
    "m": 1e-3,
    "µ": 1e-6,
    "n": 1e-9,
}
FACTORS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@given(st.floats(min_value=1e-9, max_value=1e17), st.sampled_from(["J", "W", "B", "J·s"]))
def test_a_shown_value_is_within_half_a_percent(value: float, unit: str):
    number, _, named = show(value, unit).rpartition(" ")
    assert named.endswith(unit)
    shown = float(number.replace(" ", "")) * FACTORS[named.removesuffix(unit)]
    assert shown == pytest.approx(value, rel=0.0051)
    assert shown != 0


def test_the_name_of_every_quantity_includes_its_unit():
    endings = {
        "s": "_s",
        "J": "_j",
        "W": "_w",
        "B": "_bytes",
        "MHz": "_mhz",
        "°C": "_c",
        "h": "_hours",
        "J·s": "_js",
    }
    for name, known in all_quantities().items():
        ending = endings.get(known.unit, "_per_s" if known.unit == "1/s" else "")
        assert name.endswith(ending), name
        assert known.title
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_a_misspelt_quantity_suggests_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'step_time_s'"):
        quantity("step_times")


def test_a_count_has_the_noun_that_fits_it() -> None:
    assert [counted(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert counted(2, "process", "processes") == "2 processes"


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3 kWh", "J", 1.08e7),
        ("250", "W", 250),
        ("0.25kW", "W", 250),
        ("20 ms", "s", 0.02),
        ("2 h", "s", 7200),
        ("90 min", "h", 1.5),
        ("16 GiB", "B", 2**34),
        ("1.41 GHz", "MHz", 1410),
        ("5 %", "", 0.05),
        ("60 meV", "meV", 60),
        ("1e-3", "h", 0.001),
    ],
)
def test_a_value_is_read_with_its_unit(text: str, unit: str, value: float):
    assert parse_value(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3 W", "the cap is '3 W'; W is not a unit of it; valid: J, mJ, kJ"),
        ("much", "the cap is 'much'; give a number in J"),
        ("1.2.3", "give a number"),
        ("", "give a number"),
    ],
)
def test_a_value_of_another_dimension_is_refused_with_the_valid_units(text: str, message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_value(text, "J", "the cap")


def test_units_of_different_dimensions_do_not_convert():
    assert convert(2, "h", "s") == 7200
    assert convert(1, "furlong", "furlong") == 1
    with pytest.raises(UsageError, match="kg is not a unit of s; valid: s, ms"):
        convert(1, "kg", "s")
