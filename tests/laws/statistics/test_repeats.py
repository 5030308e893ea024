"""One summary of repeats, used by the terminal, the report and JSON."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from wattlaw.core.reading import estimated, measured, missing
from wattlaw.laws.statistics.repeats import summarise_readings, summarise_repeats


@pytest.mark.parametrize("count", [2, 3, 10, 31, 60, 400])
def test_the_interval_is_students_t_on_logarithms(count):
    logs = np.random.default_rng(count).normal(1.0, 0.1, count)
    found = summarise_repeats(np.exp(logs))
    low, high = stats.t.interval(0.9, count - 1, logs.mean(), stats.sem(logs))
    assert found.value == pytest.approx(math.exp(logs.mean()), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-5)


def test_one_repeat_has_no_interval():
    assert summarise_repeats([3.0]) == (pytest.approx(3.0), None, None, 1)


def test_values_that_are_not_positive_have_the_arithmetic_mean():
    found = summarise_repeats([-1.0, 0.0, 4.0])
    assert found.value == 1.0
    assert found.low < 1.0 < found.high


def test_values_that_are_not_finite_are_left_out():
    assert summarise_repeats([math.nan, 2.0, math.inf]).n == 1
    with pytest.raises(ValueError, match="no finite value"):
        summarise_repeats([math.nan])


def test_measured_values_are_preferred_to_estimates():
    found = summarise_readings([measured(1.0), measured(2.0), estimated(100.0, "a model")])
    assert (found.value, found.status, found.n) == (pytest.approx(math.sqrt(2)), "measured", 2)
    assert found.how == "2 of 3 runs"


def test_estimates_have_no_interval_and_missing_values_keep_their_reason():
    found = summarise_readings([estimated(1.0, "a model"), estimated(2.0, "a model")])
    assert (found.low, found.high, found.how) == (None, None, "a model")
    assert summarise_readings([missing("no meter")]) == missing("no meter")


def test_repeats_are_summarised_without_numpy():
    code = "import sys, wattlaw.laws.statistics.repeats; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
