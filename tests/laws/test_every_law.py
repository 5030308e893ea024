"""The contract of every law, built in or provided by another package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wattlaw.core.errors import FitError
from wattlaw.core.plugins import LAWS, load, plugins
from wattlaw.laws.law import Law, applies

NOISE = 0.01
REPEATS = 40
"""Data sets per law. Of 40, a 90 % interval covers at least 31 in 99.6 % of cases."""

MIN_COVERED = 31

ALL = sorted(plugins(LAWS))


def law_of(name):
    return load(LAWS, name)


def made_by(law, rng):
    """Return a law's predictions at its example's points, with noise in every measured quantity."""
    example = type(law).example
    noise = np.exp(rng.normal(0, NOISE, (len(example.covariates) + 1, len(example.x))))
    covariates = dict(example.covariates)
    for row, name in zip(noise[1:], covariates, strict=True):
        if name.endswith(("_s", "_j", "_w")):
            covariates[name] = covariates[name] * row
    return replace(example, y=law.predict(example) * noise[0], covariates=covariates)


@pytest.fixture(scope="module", params=ALL)
def trials(request):
    """Return a law, and fits to noisy data from it, each with one more run at the same points."""
    law = law_of(request.param)
    truth = law.fit(law.example)
    rng = np.random.default_rng(11)
    fitted = [law.fit(made_by(truth, rng)) for _ in range(REPEATS)]
    return truth, fitted, [made_by(truth, rng) for _ in range(REPEATS)]


def test_every_documented_law_exists():
    assert {"speedup", "power", "amdahl", "usl", "alpha-beta", "cap", "clock", "samples"} <= set(
        ALL
    )


@pytest.mark.parametrize("name", ALL)
def test_a_law_implements_the_role_and_applies_to_its_example(name):
    law = law_of(name)
    assert issubclass(law, Law)
    assert law.__doc__
    assert applies(law, law.example.over, law.example.target)
    assert set(law.covariates) <= set(law.targets) or not law.targets


def test_a_law_recovers_the_parameters_of_its_own_data(trials):
    truth, fitted, _ = trials
    for name, true in truth.parameters().items():
        found = [law.parameters()[name] for law in fitted]
        covered = sum(each.low <= true.value <= each.high for each in found)
        assert covered >= MIN_COVERED, (name, covered)


def test_the_interval_of_a_law_covers_the_law_behind_the_data(trials):
    truth, fitted, _ = trials
    points = truth.example
    expected = truth.predict(points)
    covered = np.array(
        [
            [
                each.low <= value <= each.high
                for each, value in zip(law.interval(points), expected, strict=True)
            ]
            for law in fitted
        ]
    )
    assert covered.mean() >= 0.8


def test_the_predictive_interval_covers_runs_that_were_held_out(trials):
    truth, fitted, held_out = trials
    covered = []
    for law, runs in zip(fitted, held_out, strict=True):
        found = law.interval(truth.example, of_a_run=True)
        covered += [each.low <= y <= each.high for each, y in zip(found, runs.y, strict=True)]
    assert np.mean(covered) >= 0.85


# a speedup is a ratio between sizes that were run: it predicts no other size
@pytest.mark.parametrize("trials", [name for name in ALL if name != "speedup"], indirect=True)
def test_a_hidden_size_lies_in_the_predictive_interval_of_the_others(trials):
    truth, _, held_out = trials
    law, sizes = type(truth), np.unique(truth.example.x)
    covered = []
    for runs in held_out:
        hidden = runs.x == sizes[len(sizes) // 2]
        found = law.fit(runs.at(~hidden)).interval(runs.at(hidden), of_a_run=True)
        covered += [
            each.low <= y <= each.high for each, y in zip(found, runs.y[hidden], strict=True)
        ]
    assert np.mean(covered) >= 0.8


def test_an_interval_contains_the_prediction_and_is_wider_for_a_run(trials):
    _, (law, *_), _ = trials
    points = law.example
    pairs = zip(
        law.interval(points), law.interval(points, of_a_run=True), law.predict(points), strict=True
    )
    for of_law, of_run, value in pairs:
        assert of_law.low <= of_law.value <= of_law.high
        assert of_law.value == pytest.approx(value, rel=0.02)
        assert of_run.high / of_run.low > of_law.high / of_law.low


def test_the_held_out_error_is_about_the_noise(trials):
    truth, _, (runs, *_) = trials
    error = type(truth).held_out_error(runs)
    assert error is None or 0 < error < 10 * NOISE


@pytest.mark.parametrize("name", ALL)
def test_too_few_points_are_refused_in_one_line(name):
    law = law_of(name)
    first = law.example.at(law.example.x == law.example.x[0])
    for few in (first, first.at(np.zeros(len(first.x), bool))):
        with pytest.raises(FitError) as refused:
            law.fit(few)
        assert "\n" not in str(refused.value)
