"""Caps measured on few devices, predicted and recommended on others."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factory import law_run as run

from wattlaw.advice.advise import advise
from wattlaw.advice.device_count_candidates import device_candidates
from wattlaw.analysis.caps_on_devices import (
    LogDraws,
    cap_laws_by_devices,
    equal_work,
    nearest_cap_law,
    work_share,
)
from wattlaw.analysis.groups import baseline_runs
from wattlaw.analysis.predict import PredictionRequest, predict
from wattlaw.core.errors import FitError
from wattlaw.laws.averaging import DRAWS
from wattlaw.laws.caps import PRIOR, physical, response, with_work

HIGHEST_W = 250.0


def truth(n: float, cap: float, lost: float = 0.05) -> tuple[float, float]:
    """Return time per sample, s, and energy of n devices, J, if caps do not slow communication."""
    scaled = 1 + lost * (n - 1)
    time, power = response(
        with_work(np.zeros((1, 8)), np.array([-np.log(scaled)])), np.array([cap / HIGHEST_W, 1.0])
    )
    seconds = scaled / n * float(np.exp(time[0, 0] - time[0, 1]))
    return seconds, n * seconds * HIGHEST_W * float(np.exp(power[0, 0]))


def tried(sizes=(1, 2, 4), caps=(125.0, 187.5), tried_on=(1,), lost=0.05):
    rng = np.random.default_rng(0)
    planned = [(n, HIGHEST_W, r) for n in sizes for r in range(2)] + [
        (n, cap, 0) for n in tried_on for cap in caps
    ]
    runs = []
    for n, cap, repeat in planned:
        seconds, joules = truth(n, cap, lost)
        noise = float(np.exp(rng.normal(0, 0.01)))
        runs.append(run(seconds * noise, n, repeat, energy=joules * noise, power_cap_w=cap))
    return runs


@given(st.lists(st.floats(-2, 2), min_size=8, max_size=8), st.floats(-3, 0.5))
def test_less_work_per_device_only_adds_waiting(z, log_share):
    before = np.array([z])
    after = with_work(before, np.array([log_share]))
    works = 1 - physical(before)[0, 0]
    assert 1 - physical(after)[0, 0] == pytest.approx(min(works * np.exp(log_share), 1), abs=2e-6)
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])


def test_on_the_measured_number_of_devices_a_cap_follows_its_law():
    (capping,) = cap_laws_by_devices(tried())
    effect = capping.effect(150.0, equal_work())
    best, _ = capping.law.log_time([150.0, HIGHEST_W])
    assert effect.time.middle == pytest.approx(float(best[0] - best[1]), abs=1e-6)
    assert (
        np.quantile(effect.time.draws, 0.05)
        < effect.time.middle
        < np.quantile(effect.time.draws, 0.95)
    )
    assert capping.effect(HIGHEST_W, equal_work()).time == LogDraws(
        0.0, pytest.approx(np.zeros(DRAWS))
    )
    with pytest.raises(FitError, match="outside the caps that were run, 125 to 250 W"):
        capping.effect(100.0, equal_work())


def test_a_cap_slows_less_and_saves_less_if_devices_wait_for_each_other():
    runs = tried((1, 2, 4, 8), lost=0.2)
    ratios = []
    for n in (1, 8):
        free, capped = (
            predict(runs, PredictionRequest(devices=n, power_cap_w=cap))[0].quantities
            for cap in (None, 130.0)
        )
        ratios.append([capped[name].value / free[name].value for name in ("time_s", "energy_j")])
        seconds, joules = truth(n, 130.0, 0.2)
        assert capped["time_s"].low < seconds < capped["time_s"].high
        assert capped["energy_j"].low < joules < capped["energy_j"].high
    assert ratios[0][1] + 0.02 < ratios[1][1] < 1
    assert 1 < ratios[1][0] < ratios[0][0] - 0.01


def test_the_share_of_work_follows_from_the_times_of_a_device():
    # 8 devices take a fifth of the time of one, so each works 5/8 of it
    found = work_share(
        LogDraws(0.0, np.zeros(3)), LogDraws(-np.log(5), np.full(3, -np.log(5))), 8, 1
    )
    assert np.exp(found.middle) == pytest.approx(5 / 8)
    assert np.exp(found.draws) == pytest.approx(5 / 8)


def test_devices_and_cap_are_recommended_together():
    runs = tried((1, 2, 4, 8), caps=(125.0, 150.0, 200.0))
    (advice,) = advise(runs, "energy", limits={"time": 0.2}, unmeasured=True)
    n, cap = advice.setting.devices, advice.setting.power_cap_w
    assert n > 1
    assert cap < HIGHEST_W
    assert not advice.is_measured
    assert f"{cap:g} W cap (not run)" in advice.words
    seconds, joules = truth(n, cap)
    for name, value in (("time_per_sample_s", seconds), ("gpu_energy_per_sample_j", joules)):
        assert advice.predicted[name].low < value < advice.predicted[name].high
    assert seconds <= 0.2
    # no setting that keeps the limit takes much less
    kept = [truth(k, c) for k in (1, 2, 3, 4, 6, 8, 12, 16) for c in range(125, 251, 5)]
    assert joules <= 1.05 * min(e for t, e in kept if t <= 0.2)


def test_measured_and_predicted_settings_are_considered_once():
    runs = tried((1, 2, 4), tried_on=(1, 2, 4))
    options = device_candidates(runs)
    places = [(o.devices, o.run.setting.power_cap_w) for o in options]
    assert len(places) == len(set(places))
    measured = {(o.devices, o.run.setting.power_cap_w) for o in options if o.is_measured}
    assert measured == {(n, cap) for n in (1, 2, 4) for cap in (125.0, 187.5, 250.0)}
    assert any(o.is_at_new_cap and o.devices == 8 for o in options)


def test_with_two_caps_each_has_its_own_law_over_devices():
    options = device_candidates(tried((1, 2, 4), caps=(125.0,), tried_on=(1, 2)))
    assert not any(o.is_at_new_cap for o in options)
    assert any(o.run.setting.power_cap_w == 125.0 and not o.is_measured for o in options)


def test_caps_at_another_batch_are_used_only_on_request():
    runs = tried()
    with pytest.raises(FitError, match="three power caps with one device count"):
        nearest_cap_law(
            cap_laws_by_devices([r for r in runs if r.setting.power_cap_w != 125.0]), 1, 32
        )
    (capping,) = cap_laws_by_devices(runs)
    assert nearest_cap_law([capping, capping._replace(share=64.0, devices=8)], 8, 32.0).devices == 1
    assert nearest_cap_law([capping, capping._replace(devices=8)], 4, 32.0).devices == 8


def test_the_prior_of_a_device_is_unchanged():
    before = PRIOR.copy()
    with_work(np.zeros((1, 8)), np.array([-1.0]))
    np.testing.assert_array_equal(PRIOR, before)


def tried_below(base, sizes=(1, 2, 4, 8), tried_on=(1,)):
    """Return runs without a cap, which draw the highest cap, and at lower caps on some devices."""
    runs = tried(sizes, caps=(85.0, 105.0, 125.0), tried_on=tried_on)
    runs = [r for r in runs if r.setting.devices in sizes or r.setting.power_cap_w != HIGHEST_W]
    return [uncapped(r) if base is None and r.setting.power_cap_w == HIGHEST_W else r for r in runs]


def uncapped(made):
    return msgspec.structs.replace(
        made, setting=msgspec.structs.replace(made.setting, power_cap_w=None)
    )


@pytest.mark.parametrize(
    ("base", "sizes"), [(None, (1, 2, 4, 8)), (None, (2, 4, 8)), (HIGHEST_W, (2, 4, 8))]
)
def test_the_effect_of_the_highest_cap_on_uncapped_runs_is_included(base, sizes):
    runs = tried_below(base, sizes)
    for n in (1, 4, 8):
        (prediction,) = predict(runs, PredictionRequest(devices=n, power_cap_w=105.0))
        seconds, joules = truth(n, 105.0)
        for name, value in (("time_per_sample_s", seconds), ("energy_j", joules)):
            assert prediction.quantities[name].low < value < prediction.quantities[name].high
            assert prediction.quantities[name].value == pytest.approx(value, rel=0.05)
    # the highest measured cap may be chosen, too
    places = {(o.devices, o.run.setting.power_cap_w) for o in device_candidates(runs)}
    assert {(4, 85.0), (4, 105.0), (4, 125.0)} <= places


def test_an_option_at_a_new_cap_equals_its_prediction():
    runs = tried_below(None)
    for option in [o for o in device_candidates(runs) if o.is_at_new_cap and not o.is_beyond]:
        if option.devices not in (1, 2, 4, 8):
            (prediction,) = predict(
                runs,
                PredictionRequest(
                    devices=option.devices, power_cap_w=option.run.setting.power_cap_w
                ),
            )
            assert np.exp(option.log_t) == pytest.approx(
                prediction.quantities["time_per_sample_s"].value, rel=1e-6
            )


def test_a_single_uncapped_run_does_not_replace_the_law_of_capped_runs():
    runs = [*tried((1, 2, 4)), run(1.0, 1, energy=200.0)]
    assert {r.setting.power_cap_w for r in baseline_runs(runs)} == {HIGHEST_W}
    (prediction,) = predict(runs, PredictionRequest(devices=3))
    assert prediction.setting["power_cap_w"] == HIGHEST_W


def test_caps_are_predicted_for_the_only_measured_number_of_devices():
    runs = [r for r in tried((1,)) if r.setting.devices == 1]
    (prediction,) = predict(runs, PredictionRequest(devices=1, power_cap_w=150.0))
    seconds, joules = truth(1, 150.0)
    assert (
        prediction.quantities["time_per_sample_s"].low
        < seconds
        < prediction.quantities["time_per_sample_s"].high
    )
    assert prediction.quantities["energy_j"].low < joules < prediction.quantities["energy_j"].high
    assert prediction.extrapolated == ""
    with pytest.raises(FitError, match="runs of one size do not determine a law"):
        predict(runs, PredictionRequest(devices=2, power_cap_w=150.0))


def test_a_cap_measured_on_every_number_of_devices_needs_no_cap_law():
    runs = tried((1, 2, 4), caps=(125.0,), tried_on=(1, 2, 4))
    (prediction,) = predict(runs, PredictionRequest(devices=3, power_cap_w=125.0))
    seconds, _ = truth(3, 125.0)
    assert (
        prediction.quantities["time_per_sample_s"].low
        < seconds
        < prediction.quantities["time_per_sample_s"].high
    )


@pytest.mark.parametrize("batch", [32, None])
def test_the_bound_counts_from_a_run_without_a_cap_on_one_device_too(batch):
    runs = [r for r in tried_below(None, (1,)) if r.setting.devices == 1]
    runs = [
        msgspec.structs.replace(
            r, setting=msgspec.structs.replace(r.setting, batch_per_device=batch)
        )
        for r in runs
    ]
    fastest, _ = truth(1, HIGHEST_W)
    for bound in (0.05, 0.2):
        (advice,) = advise(runs, "energy", max_slowdown=bound, unmeasured=True)
        assert advice.baseline.power_cap_w is None
        assert (
            "less GPU energy than 1 process, no cap, the fastest setting that was run."
            in advice.words
        )
        seconds, joules = truth(1, advice.setting.power_cap_w)
        assert seconds / fastest - 1 < bound + 0.015
        assert advice.gain.low < 1 - joules / truth(1, HIGHEST_W)[1] < advice.gain.high


def test_a_large_ratio_is_shown_as_a_factor_and_not_in_percent():
    (advice,) = advise(tried((1, 2, 4, 8)), "energy", unmeasured=True)
    assert advice.slowdown.value > 3
    assert "less GPU energy than 8 processes" in advice.words
    assert "× [" in advice.words
    assert "] the time. " in advice.words
