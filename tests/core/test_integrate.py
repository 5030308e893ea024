"""The trapezoid rule on plain sequences."""

from __future__ import annotations

import pytest

from wattlaw.core.integrate import interpolate, trapezoid

TIMES, POWERS = [1.0, 2.0, 4.0], [10.0, 20.0, 20.0]


def test_a_window_between_two_points_is_interpolated_at_both_ends():
    assert trapezoid(TIMES, POWERS, 1.0, 4.0) == 55.0
    assert trapezoid(TIMES, POWERS, 1.5, 2.0) == pytest.approx(0.5 * 17.5)
    assert trapezoid(TIMES, POWERS, 1.25, 1.75) == pytest.approx(0.5 * 15)


def test_an_integral_extends_the_nearest_value_beyond_its_points():
    assert trapezoid(TIMES, POWERS, 0.0, 5.0) == 55.0 + 10.0 + 20.0
    assert trapezoid([1.0], [10.0], 0.0, 4.0) == 40.0
    assert [interpolate(TIMES, POWERS, at) for at in (0.0, 1.5, 9.0)] == [10.0, 15.0, 20.0]


def test_a_window_of_no_length_has_no_integral():
    assert trapezoid(TIMES, POWERS, 2.0, 2.0) == 0.0
