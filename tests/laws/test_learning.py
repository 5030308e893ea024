"""Loss against size, and scores from the beginning of a training curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core.errors import FitError, UsageError, WattlawError
from wattlaw.importers.lightning_metrics import losses
from wattlaw.laws.learning import (
    curve_gradients,
    epoch_means,
    fit_offset,
    lcga,
    tse,
    tse_e,
    tse_ema,
)

PUBLISHED_SCORES = {
    5: (97.2300748598008, 7.752910651857891, 104.60742797172551),
    10: (129.8276312691825, 5.670970326378232, 134.53728970599116),
    20: (180.30650705382936, 4.5720852102552145, 182.34927953265725),
}


@pytest.fixture(scope="module")
def curve(published):
    found = losses(published / "litmatter" / "metrics.csv")
    return [e for _, e, _ in found], [loss for _, _, loss in found]


@pytest.mark.parametrize("epochs", PUBLISHED_SCORES)
def test_training_speed_estimates_equal_the_published_ones(curve, epochs):
    means = epoch_means(*curve)
    found = tse(means, epochs), tse_e(means, epochs), tse_ema(means, epochs)
    assert found == pytest.approx(PUBLISHED_SCORES[epochs], rel=1e-12)


def test_the_loss_curve_gradient_approximation_equals_the_published_one(curve):
    found = lcga(*curve)
    assert (found.b1, found.b2, found.b3) == pytest.approx((0.93441, 0.028303, 0.0096737), rel=1e-4)
    assert found.slope_over_curvature == pytest.approx(-1.87481, rel=1e-4)
    assert found.slope == pytest.approx(-0.0244703, rel=1e-4)


def test_a_loss_floor_is_distinguished_from_a_power_law():
    sizes = np.geomspace(1e5, 1e9, 8)
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(60):
        law = fit_offset(sizes, (5 * sizes**-0.2 + 0.3) * np.exp(rng.normal(0, 0.005, 8)))
        hits += law.floor.low <= 0.3 <= law.floor.high
    assert hits > 46


def test_curves_without_information_are_refused():
    with pytest.raises(UsageError, match="20 epochs requested; the curve has 3"):
        tse([3.0, 2.0, 1.0], 20)
    with pytest.raises(FitError, match="loss of step 1 is not finite"):
        epoch_means([0, 0], [1.0, math.nan])
    with pytest.raises(FitError, match="four sizes"):
        fit_offset([1, 1, 1, 1], [1, 1, 1, 1])


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.floats(allow_nan=True, allow_infinity=True)), max_size=30
    )
)
def test_any_curve_gives_finite_scores_or_a_one_line_error(rows):
    epochs, loss = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [])
    try:
        found = lcga(epochs, np.clip(loss, -1e100, 1e100))
    except WattlawError as error:
        line = str(error)
    else:
        line = ""
        assert all(math.isfinite(v) for v in found)
    assert "\n" not in line


@pytest.mark.parametrize(
    "losses", [np.full(24, 1e-7), np.linspace(1, 3, 24), np.r_[1e6, np.full(23, 1e-6)]]
)
def test_a_curve_that_does_not_fall_as_fitted_has_finite_gradients_that_are_not_positive(losses):
    found = lcga(np.arange(24) // 2, losses)
    assert all(math.isfinite(v) for v in found)
    assert found.slope <= 0
    assert found.slope_over_curvature <= 0


@pytest.mark.parametrize("b2", [0.0, 1e-200, 1e-3, 1e200])
def test_gradients_of_a_fitted_curve_are_finite_however_little_it_falls(b2):
    first, ratio = curve_gradients(np.array([0.5, b2, 0.1]), np.arange(1.0, 50.0))
    assert np.isfinite(first).all()
    assert np.isfinite(ratio).all()
    if b2 == 1e-3:
        base = 0.5 + b2 * np.arange(1.0, 50.0)
        assert ratio == pytest.approx(first / np.sqrt(2 * b2**2 / base**3))
