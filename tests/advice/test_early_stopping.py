"""Early ranking: scores of the first losses, the final ranking, and savings of stopping."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.advice.early_stopping import rank
from wattlaw.cli.main import main
from wattlaw.core.errors import FitError, UsageError, WattlawError
from wattlaw.core.reading import estimated, measured
from wattlaw.core.run import Run
from wattlaw.core.run_folder import write_run
from wattlaw.core.setting import setting_from
from wattlaw.laws.early_ranking import PARTS, SCORES, Curve, ranked, scores
from wattlaw.laws.learning import lcga

RATES = (0.003, 0.01, 0.03, 0.1)


def curve(rate, steps=100, step_s=0.5):
    losses = np.exp(-rate * np.arange(steps)) + 0.1
    return Curve(losses, np.full(steps, step_s), float(losses[-1]), 1000.0)


def trial(folder, rate, repeat=0, losses=None, ranks=1, joules=None, **options):
    """Write a finished trial with a loss per step and steps of half a second."""
    values = losses if losses is not None else (np.exp(-rate * np.arange(100)) + 0.1).tolist()
    setting = setting_from(
        {"workload": "schnet", "preset": "tiny", "learning_rate": rate, **options}
    )
    attempt = folder / f"t-{rate}-{repeat}" / "attempt-1"
    attempt.mkdir(parents=True)
    for number in range(ranks):
        rows = [
            f"{i},{int(i < 5)},{0.5 * i},{0.5 * i + 0.5},8,{value!r}"
            for i, value in enumerate(values)
        ]
        (attempt / f"steps-{number}.csv").write_text(
            "step,warmup,start_s,end_s,samples,loss\n" + "\n".join(rows) + "\n"
        )
    quantities = {"gpu_energy_j": joules} if joules else {}
    write_run(
        attempt.parent,
        Run(setting=setting, trial=attempt.parent.name, repeat=repeat, quantities=quantities),
    )


def call(capsysbinary, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    out, err = capsysbinary.readouterr()
    return stop.value.code, out.decode(), err.decode()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_curves_that_never_cross_are_ranked_early_and_stopping_half_saves_half_of_the_rest(
    share,
):
    curves = [curve(r) for r in RATES]
    all_scores = [scores(c.losses, share) for c in curves]
    for name in ("TSE", "TSE-E", "TSE-EMA"):
        found = ranked(curves, [t[name] for t in all_scores], share)
        assert found.order == (3, 2, 1, 0)
        assert found.spearman == pytest.approx(1)
        assert found.best_kept
        assert found.time_share == pytest.approx(0.5 * (1 - share))
        assert found.energy_j == pytest.approx(2 * 1000 * (1 - share))


def test_the_size_of_the_gradient_over_the_curvature_is_a_distance_from_the_floor():
    k = np.arange(1, 201)
    losses = 1 / (0.5 + 0.1 * k)
    found = lcga(np.zeros(200), losses, 1, 0)
    assert found.slope_over_curvature == pytest.approx(-np.sqrt(losses / 2).mean(), rel=1e-3)


def test_a_score_uses_only_the_losses_logged_so_far():
    one, other = curve(0.01).losses, curve(0.01).losses.copy()
    other[10:] = 7.0
    assert scores(one, 0.1) == scores(other, 0.1)
    assert scores(one, 0.2) != scores(other, 0.2)


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6), min_size=2 * PARTS, max_size=45), min_size=3, max_size=3
    ),
    st.sampled_from([0.05, 0.1, 0.3]),
)
def test_any_curves_give_a_permutation_and_shares_between_none_and_all(losses, share):
    curves = [Curve(np.array(x), np.ones(len(x)), x[-1], 1.0) for x in losses]
    try:
        all_scores = [scores(c.losses, share) for c in curves]
    except WattlawError as error:
        all_scores, line = [], str(error)
        assert "\n" not in line
    for name in SCORES:
        if all_scores and all(name in t for t in all_scores):
            found = ranked(curves, [t[name] for t in all_scores], share)
            assert sorted(found.order) == list(range(len(curves)))
            assert found.spearman is None or -1.0000001 <= found.spearman <= 1.0000001
            assert 0 <= found.time_share <= 1
            assert 0 <= found.energy_share <= 1


def test_a_folder_is_ranked_with_repeats_as_one_configuration(tmp_path):
    for rate in RATES:
        for repeat in range(2):
            trial(tmp_path / "runs" / "search", rate, repeat, ranks=2, joules=measured(100.0))
    found = rank(tmp_path / "runs")
    assert [c.runs for c in found.configurations] == [2, 2, 2, 2]
    assert found.configurations[0].words == "learning_rate 0.1"
    first = next(r for r in found.rankings if r.after == 0.2 and r.score == "TSE")
    assert first.spearman == pytest.approx(1)
    assert first.time_saved_s == pytest.approx(2 * 50 * 0.8)
    assert first.energy_saved_j.value == pytest.approx(2 * 100 * 0.8)
    assert first.energy_saved_j.status == "measured"
    assert {r.after for r in found.rankings} == {0.1, 0.2, 0.5}


def test_estimated_and_missing_energies_are_marked(tmp_path, capsysbinary):
    for rate in RATES[:3]:
        trial(tmp_path / "a" / "s", rate, joules=estimated(100.0, "a model"))
        trial(tmp_path / "b" / "s", rate)
    code, out, _ = call(capsysbinary, "rank", tmp_path / "a", "--after", "0.2")
    assert code == 0
    assert "estimated" in out
    code, out, _ = call(capsysbinary, "rank", tmp_path / "b", "--json")
    items = json.loads(out)["items"]
    assert items[0]["energy_saved_j"]["status"] == "missing"
    assert items[0]["energy_saved_j"]["value"] is None
    assert {
        "search",
        "score",
        "after",
        "ranking",
        "spearman",
        "time_saved_s",
        "time_saved_share",
    } <= set(items[0])


def test_a_metric_to_maximise_is_ranked_in_reverse(tmp_path):
    for index, rate in enumerate(RATES):
        trial(tmp_path / "runs" / "s", rate)
        place = tmp_path / "runs" / "s" / f"t-{rate}-0"
        run = msgspec.json.decode((place / "summary.json").read_bytes(), type=Run)
        write_run(
            place,
            msgspec.structs.replace(run, quantities={"valid_top1": measured(0.5 + 0.1 * index)}),
        )
    found = rank(tmp_path / "runs", by="valid_top1")
    assert [c.value for c in found.configurations] == pytest.approx([0.8, 0.7, 0.6, 0.5])
    assert found.rankings[0].spearman == pytest.approx(1)


def test_a_diverged_or_a_short_trial_is_left_out_by_name(tmp_path):
    for rate in RATES:
        trial(tmp_path / "runs" / "s", rate)
    trial(tmp_path / "runs" / "s", 9.0, losses=[1.0] * 50 + [float("nan")] * 50)
    trial(tmp_path / "runs" / "s", 8.0, losses=[1.0] * 12)
    found = rank(tmp_path / "runs")
    assert len(found.configurations) == 4
    messages = sorted(n.message for n in found.notes)
    assert "t-8.0-0 is left out: it logged 12 losses; a ranking needs 40" in messages[0]
    assert "t-9.0-0 is left out: its loss is not finite from step 50 on" in messages[1]


def test_runs_of_another_length_are_a_separate_search(tmp_path):
    for rate in RATES[:3]:
        trial(tmp_path / "runs" / "s", rate)
        trial(tmp_path / "runs" / "s", rate, 1, stop={"steps": 7})
    found = rank(tmp_path / "runs")
    assert len({tuple(r.search.items()) for r in found.rankings}) == 2
    assert all("stop" in r.search for r in found.rankings)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--after", "0"], "the share is 0; give a share of the training from 0.05 to below 1"),
        (["--after", "1.5"], "the share is 1.5"),
        (["--after", "nan"], "the share is nan"),
        (["--keep", "4"], "cannot keep 4 of 4 configurations; give 1 to 3"),
        (["--keep", "0"], "cannot keep 0 of 4 configurations"),
        (["--by", "valid_top"], "unknown quantity 'valid_top'; did you mean"),
        (["--by", "valid_top1"], "valid_top1 is missing"),
        (["--by", "steps"], "neither more nor less of steps is better"),
    ],
)
def test_a_wrong_request_is_a_one_line_error(tmp_path, capsysbinary, words, line):
    for rate in RATES:
        trial(tmp_path / "runs" / "s", rate)
    code, out, err = call(capsysbinary, "rank", tmp_path / "runs", *words)
    assert code in (1, 2)
    assert out == ""
    assert line in err
    assert err.count("\n") == 1


def test_too_few_configurations_steps_or_trials_are_a_one_line_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FitError, match=r"no trial under .* is done"):
        rank(tmp_path / "empty")
    for rate in RATES[:2]:
        trial(tmp_path / "two" / "s", rate)
        trial(tmp_path / "short" / "s", rate, losses=[1.0, 0.5])
    with pytest.raises(FitError, match="needs three configurations; there are 2"):
        rank(tmp_path / "two")
    with pytest.raises(FitError, match="it logged 2 losses; a ranking needs 40"):
        rank(tmp_path / "short")
    with pytest.raises(UsageError, match="unknown quantity"):
        rank(tmp_path / "two", by="losss")
