"""A gain counts only if its interval excludes 0, in the choice and in its sentences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factory import law_run

from wattlaw.advice.advise import advise
from wattlaw.advice.power_caps import choose_clear_cap
from wattlaw.advice.verdict import is_clear, is_unclear_gain_for_time
from wattlaw.analysis.cap_curves import CapOption
from wattlaw.core.findings import Interval


def tried(cap_w: float, time: float, energies: tuple[float, ...]):
    return [
        law_run(time * (1 + 0.001 * r), 1, r, energy=e, power_cap_w=cap_w)
        for r, e in enumerate(energies)
    ]


def test_a_slower_setting_is_not_recommended_for_an_energy_within_the_noise():
    runs = tried(250.0, 1.0, (10.0, 12.0, 14.0)) + tried(150.0, 1.2, (9.0, 12.0, 14.0))
    (found,) = advise(runs, minimise="energy")
    assert found.setting.power_cap_w == 250
    assert "No other setting takes clearly less energy. " in found.words
    assert "The slower setting, " in found.words
    assert "which is no clear difference." in found.words


def test_a_slower_setting_is_recommended_for_clearly_less_energy():
    runs = tried(250.0, 1.0, (12.0, 12.1, 12.2)) + tried(150.0, 1.2, (9.0, 9.1, 9.2))
    (found,) = advise(runs, minimise="energy")
    assert found.setting.power_cap_w == 150
    assert "Per sample it takes 25 % [23, 26] less energy than 1 process, 250 W cap" in found.words


def test_equal_settings_are_no_clear_difference():
    runs = tried(250.0, 1.0, (10.0, 12.0, 14.0)) + tried(150.0, 1.0002, (9.0, 12.0, 14.0))
    (found,) = advise(runs, minimise="energy")
    assert "no clear difference in energy between 1 process, 150 W cap and " in found.words
    assert "Take the first, whose mean is lower." in found.words


def test_single_runs_are_compared_by_value_with_a_warning():
    runs = tried(250.0, 1.0, (12.0,)) + tried(150.0, 1.2, (9.0,))
    (found,) = advise(runs, minimise="energy")
    assert found.setting.power_cap_w == 150
    assert "the run-to-run variation is unknown" in found.words


def option(cap_w: float, cost: Interval, slowdown: Interval) -> CapOption:
    return CapOption(cap_w, cost, cost, slowdown, 0.9, True)


def test_a_cap_that_slows_without_a_clear_saving_is_not_chosen():
    highest = option(250.0, Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.0))
    unclear = option(150.0, Interval(0.98, 0.95, 1.01), Interval(0.1, 0.09, 0.11))
    clear = option(200.0, Interval(0.99, 0.985, 0.995), Interval(0.02, 0.01, 0.03))
    assert choose_clear_cap([unclear, highest], 0.5) is highest
    assert choose_clear_cap([unclear, clear, highest], 0.5) is clear


@pytest.mark.parametrize(
    ("low", "high", "clear"), [(-0.1, 0.2, False), (0.05, 0.2, True), (-0.2, -0.1, True)]
)
def test_an_interval_that_contains_0_is_not_clear(low, high, clear):
    assert is_clear(Interval((low + high) / 2, low, high)) == clear


finite = st.floats(-1, 1)


@given(st.lists(finite, min_size=3, max_size=3), st.lists(finite, min_size=3, max_size=3))
def test_the_baseline_is_replaced_by_every_clear_gain(gains, slowdowns):
    (low, value, high), (least, middle, most) = np.sort(gains), np.sort(slowdowns)
    gain, slowdown = Interval(value, low, high), Interval(middle, least, most)
    if low > 0:
        assert not is_unclear_gain_for_time(gain, slowdown)
    elif least > 0:
        assert is_unclear_gain_for_time(gain, slowdown)
