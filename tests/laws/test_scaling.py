"""Rates over devices, nodes and batch; samples to a target; priors from other families."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.analysis.run_laws import time_to_target
from wattlaw.core.errors import FitError
from wattlaw.laws.priors import Family, learn_priors
from wattlaw.laws.samples import fit_samples
from wattlaw.laws.scaling import (
    PARAMETERS,
    Points,
    fit_scaling,
    log_step,
    scale_prior,
    shipped_critical_batch,
    shipped_prior,
)

PRIOR = shipped_prior()


def made(devices, batches, z=(0.0,) * 8, sample_s=0.002):
    """Return points on nodes of 8 devices and their exact rates."""
    points = Points.of(devices, batches, np.maximum(np.array(devices) / 8, 1))
    return points, points.batches / np.exp(
        log_step(np.array([z]), points, scale_prior(PRIOR, sample_s))[0]
    )


def test_the_next_size_is_predicted_from_three():
    points, rates = made([8, 16, 32, 64], [256, 512, 1024, 2048])
    law = fit_scaling(Points(*(v[:3] for v in points)), rates[:3], PRIOR)
    (found,) = law.rate(Points(*(v[3:] for v in points)))
    assert found.value == pytest.approx(rates[3], rel=0.05)
    assert found.low < rates[3] < found.high


def test_a_smaller_batch_per_device_lowers_the_rate():
    points, rates = made([8, 64, 64], [1024, 8192, 128])
    law = fit_scaling(Points(*(v[:2] for v in points)), rates[:2], PRIOR)
    full, starved = law.rate(Points.of([64, 64], [8192, 128], [8, 8]))
    assert starved.value < 0.7 * full.value


def test_intervals_widen_with_the_distance_from_the_runs():
    points, rates = made([8, 16, 32], [256, 512, 1024])
    law = fit_scaling(points, rates, PRIOR)
    near, far = law.rate(Points.of([64, 4096], [2048, 131072], [8, 512]))
    assert far.high / far.low > near.high / near.low
    assert law.extrapolates(Points.of([16, 64], [512, 2048], [2, 8])).tolist() == [False, True]


def test_time_to_target_is_samples_over_rate_with_both_uncertainties():
    points, rates = made([8, 16, 32], [256, 512, 1024])
    needed = 1e6 * (1 + points.batches / 4000)
    law, samples = fit_scaling(points, rates, PRIOR), fit_samples(points.batches, needed)
    (time,) = time_to_target(law, samples, Points.of([64], [2048], [8]))
    (rate,) = law.rate(Points.of([64], [2048], [8]))
    assert time.low < 1e6 * (1 + 2048 / 4000) / made([64], [2048])[1][0] < time.high
    assert time.high / time.low > rate.high / rate.low


def test_the_critical_batch_is_where_the_number_of_samples_starts_to_grow():
    batches = np.array([256, 1024, 4096, 16384])
    found = fit_samples(
        batches, 2e6 * (1 + batches / 8000), shipped_critical_batch("")
    ).critical_batch()
    assert found.low < 8000 < found.high


def test_a_family_never_informs_its_own_prior():
    rng = np.random.default_rng(2)
    data = []
    for name in range(6):
        points, rates = made([8, 16, 32], [256, 512, 1024], z=rng.normal(size=8))
        data.append(Family((str(name),), "task", points, rates, np.full(3, np.nan)))
    pool = learn_priors(data, rounds=2)
    odd = pool.lessons[("0",)]._replace(mean=np.full(8, 9.0))
    changed = pool._replace(lessons={**pool.lessons, ("0",): odd})
    assert np.array_equal(pool.prior("task", [("0",)]), changed.prior("task", [("0",)]))
    assert not np.array_equal(pool.prior("task"), changed.prior("task"))


def test_the_shipped_prior_has_every_parameter_and_a_default_task():
    assert (
        shipped_prior("resnet").shape
        == shipped_prior("nobody trained this").shape
        == (len(PARAMETERS), 2)
    )
    assert shipped_critical_batch("resnet") is not None
    assert shipped_critical_batch("nobody trained this") is None


@pytest.mark.parametrize(
    ("devices", "rates", "message"),
    [
        ([8], [1.0], "two settings"),
        ([8, 8], [1.0, 1.1], "two settings"),
        ([8, 16], [1.0, -1.0], "a rate is -1"),
    ],
)
def test_points_without_a_scaling_law_are_refused(devices, rates, message):
    with pytest.raises(FitError, match=message):
        fit_scaling(Points.of(devices, [32.0 * n for n in devices]), rates, PRIOR)


@given(
    st.lists(
        st.tuples(
            st.integers(-1, 10**6),
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(1e-300, 1e300),
        ),
        max_size=8,
    )
)
def test_any_settings_give_finite_rates_or_a_one_line_error(rows):
    devices, batches, rates = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [], [])
    try:
        law = fit_scaling(Points.of(devices, batches), rates, PRIOR)
    except FitError as error:
        line = str(error)
    else:
        line = ""
        for found in law.rate(Points.of([1, 64], [32, 2048])):
            assert 0 <= found.low <= found.value <= found.high
    assert "\n" not in line


@given(st.lists(st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True)), max_size=8))
def test_any_samples_give_a_critical_batch_or_a_one_line_error(rows):
    batches, samples = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [])
    try:
        found = fit_samples(batches, samples).critical_batch()
    except FitError as error:
        assert str(error)  # noqa: PT017
    else:
        assert 0 <= found.low <= found.value <= found.high
