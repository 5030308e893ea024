"""Quantities of the phases of steps."""

from __future__ import annotations

import pytest

from wattlaw.measuring.files.rank_files import Step
from wattlaw.measuring.reduce.attempt import split_warmup
from wattlaw.measuring.reduce.step_quantities import step_quantities


def step(number: int, seconds: float, **phases: float) -> Step:
    return Step(
        step=number,
        warmup=False,
        start_s=float(number),
        end_s=number + seconds,
        samples=1.0,
        **phases,
    )


def test_time_outside_of_phases_is_recorded_for_each_step():
    # the difference of the medians would be 0.1 s: 0.4 - 0.2 - 0.1
    whole = [(0.4, 0.3, 0.1), (0.6, 0.2, 0.4), (0.3, 0.2, 0.1)]
    steps = [step(i, t, forward_s=a, backward_s=b) for i, (t, a, b) in enumerate(whole)]
    found = step_quantities(split_warmup({0: steps}, {}), 3.0)
    assert [found[n].value for n in ("step_time_s", "forward_s", "backward_s")] == pytest.approx(
        [0.4, 0.2, 0.1]
    )
    assert found["rest_s"].value == pytest.approx(0.0, abs=1e-9)


def test_steps_without_phases_have_no_rest():
    assert "rest_s" not in step_quantities(split_warmup({0: [step(0, 0.5), step(1, 0.5)]}, {}), 2.0)
