"""The sentences of advice."""

from __future__ import annotations

import pytest
from tests.factory import trial_run as run

from wattlaw.advice.advise import advise
from wattlaw.advice.sentences import describe, percentage
from wattlaw.analysis.groups import summarise_faults
from wattlaw.core.findings import Interval


def words(times: dict[int, tuple[float, ...]]) -> str:
    """Return the advice on runs with the given step times by number of processes."""
    runs = [
        run(devices=d, repeat=r, step_s=s)
        for d, all_steps in times.items()
        for r, s in enumerate(all_steps)
    ]
    (advice,) = advise(runs, max_slowdown=0.0, minimise="time")
    return advice.words


def test_a_gain_within_the_run_to_run_variation_is_no_clear_difference():
    answer = words({1: (0.10, 0.13, 0.11), 2: (0.21, 0.27, 0.24)})
    assert "no clear difference in time between 1 process and 2 processes. Take the first" in answer
    assert "the fastest setting" not in answer


def test_a_setting_with_a_clear_gain_is_called_the_fastest():
    assert (
        "take 2 processes, the fastest setting. It is 1.67× [1.64, 1.69] as fast as 1 process."
        in words({1: (0.1, 0.101, 0.099), 2: (0.12, 0.121, 0.119)})
    )


@pytest.mark.parametrize("second", [0.1, 0.3])
def test_single_runs_say_that_their_variation_is_unknown(second: float):
    assert "the run-to-run variation is unknown" in words({1: (0.1,), 2: (second,)})


def test_errors_of_many_groups_stay_a_readable_line():
    faults = [(f"w{i}", f"fault {'abcdefg'[i % 7]}") for i in range(70)]
    summary = summarise_faults(faults)
    assert summary.count(";") == 3
    assert summary.startswith("w0: fault a (and 9 more similar groups); ")
    assert summary.endswith("; 40 more groups for other reasons")
    assert summarise_faults(faults[:3]) == "w0: fault a; w1: fault b; w2: fault c"


def test_an_option_that_a_setting_lacks_is_shown_as_a_word():
    runs = [run(1.0), run(1.0, options={"strategy": "fsdp"})]
    assert describe(runs[0], ["strategy"]).endswith("no strategy")


def test_a_percentage_of_three_hundred_digits_is_not_printed_in_full():
    assert percentage(Interval(1.0, -1e300, 1e300)) == "100 % [-1e+302, 1e+302]"
