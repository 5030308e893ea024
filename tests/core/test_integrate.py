"""The trapezoid rule on plain sequences."""

from __future__ import annotations

import pytest

from wattlaw.core.integrate import gaps, interpolate, sampled_integral, trapezoid

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


def test_a_spacing_is_a_gap_if_it_exceeds_five_times_those_beside_it():
    assert gaps([0.0, 1.0, 2.0, 6.0, 7.0, 8.0]) == []
    assert gaps([0.0, 1.0, 2.0, 8.0, 9.0, 10.0]) == [3]
    assert gaps([0.0, 1.0, 2.0, 3.0, 100.0, 130.0, 160.0]) == []
    assert gaps([0.0, 1.0, 2.0, 3.0, 900.0, 930.0, 960.0]) == [4]
    assert gaps([0.0, 0.01, 0.02, 0.9, 0.91]) == []
    assert gaps([0.0, 500.0]) == gaps([0.0]) == []


def test_an_integral_over_what_was_sampled_leaves_gaps_out():
    times = [0.0, 1.0, 2.0, 100.0, 101.0, 102.0]
    assert sampled_integral(times, [10.0] * 6) == (40.0, 4.0)
