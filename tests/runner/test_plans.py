"""Checks before a trial runs: user classes, missing parts, and time estimates."""

from __future__ import annotations

import sys

import pytest

from wattlaw.core.errors import MissingPartError, SettingError, UnknownNameError
from wattlaw.core.reading import measured
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting, Stop
from wattlaw.core.sweepfile import sweep_from
from wattlaw.runner.estimate import START_UP_S, scaled
from wattlaw.runner.node_devices import NodeDevices
from wattlaw.runner.plan import check, plan
from wattlaw.workloads.inspect_class import ClassFacts, inspect_class

HERE = NodeDevices((), 4)


def planned(setting, runs=(), over=None):
    whole = sweep_from({"name": "p", "repeats": 1, "setting": setting, "over": over or {}})
    return plan(whole, HERE, list(runs))


def ran(setting, trial_s, elapsed_s, steps=None):
    quantities = {"trial_s": measured(trial_s), "elapsed_s": measured(elapsed_s)}
    quantities |= {"steps": measured(steps)} if steps else {}
    return Run(setting=setting, trial="t", quantities=quantities)


def seconds(plan):
    return list(plan.seconds.values())


def guessed(plan):
    return plan.time_of(plan.trials)[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own:Lin", "own.py has no Lin; did you mean 'Line'"),
        ("own:", "is not of the form package.module:Class, such as own:Mine"),
        ("onw:Line", "no module onw; did you mean 'own'"),
        ("own.py:Line", "leave out the .py, as in own:Line"),
        ("models/own.py:Line", "as in models.own:Line"),
        ("models/own:Line", "such as models.own:Mine"),
        ("own.deep:Line", "no module own.deep"),
        ("broken:Line", "broken.py:2 is not valid Python"),
    ],
)
def test_a_misspelt_user_class_is_refused_before_anything_runs(
    tmp_path, monkeypatch, name, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("x = 1\nclass Line(:\n")
    with pytest.raises(SettingError, match=message):
        planned({"workload": name})
    assert "own" not in sys.modules


def test_literal_options_and_presets_of_a_user_class_are_checked(tmp_path, monkeypatch):
    check(Setting("own:Line", options={"noise": 0.2, "threads": 1}), HERE)
    check(Setting("own:Raises"), HERE)
    with pytest.raises(UnknownNameError, match="did you mean 'noise'"):
        check(Setting("own:Raises", options={"nose": 0.2}), HERE)
    with pytest.raises(UnknownNameError, match="did you mean 'batch_per_device'"):
        check(Setting("own:Line", options={"batch_per_devise": 2}), HERE)
    with pytest.raises(UnknownNameError, match="unknown preset 'tiny'; valid: base"):
        check(Setting("own:Line", preset="tiny"), HERE)


def test_options_that_are_not_literals_are_checked_by_the_rank(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "late.py").write_text(
        "import own\nfrom own import Line as Base\nMade = type('Made', (Base,), {})\n"
        "if True:\n    from own import Raises\n"
        "class Mine(Base):\n    pass\nclass More(own.Line):\n    options = dict(a=1)\n"
    )
    (tmp_path / "all.py").write_text("from own import *\n")
    for name in ("late:Made", "late:Base", "late:Raises", "late:Mine", "late:More", "all:Line"):
        check(Setting(name, preset="any", options={"a": 1}), HERE)
    package = tmp_path / "deep"
    package.mkdir()
    (package / "models.py").write_text("class Mine: ...\n")
    assert inspect_class("deep.models:Mine") == ClassFacts()
    with pytest.raises(SettingError, match=r"no module deep\.model; did you mean 'models'"):
        inspect_class("deep.model:Mine")


def test_missing_data_are_refused_before_anything_runs(tmp_path):
    (tmp_path / "mine.xyz").touch()
    with pytest.raises(
        SettingError, match=r"there is no such file or folder; name another, or generated"
    ):
        planned(
            {"workload": "schnet"},
            over={"data": [str(tmp_path / "mine.xyz"), str(tmp_path / "mien.xyz")]},
        )
    assert planned({"workload": "schnet", "data": str(tmp_path / "mine.xyz")}).trials
    assert planned({"workload": "schnet", "data": "generated"}).trials


def test_without_torch_a_workload_is_refused_with_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingPartError, match=r"schnet needs torch: pip install 'wattlaw\[train\]'"
    ):
        planned({"workload": "schnet"})
    planned({"command": "sleep 1"})


def test_a_time_estimate_comes_from_runs_of_the_same_setting_scaled_to_its_steps():
    before = ran(Setting("schnet", batch_per_device=8, stop=Stop(steps=100)), 12.0, 10.0, 100)
    values = {"workload": "schnet", "batch_per_device": 8}
    for stop, expected in (({"steps": 100}, 12.0), ({"steps": 300}, 32.0), ({"seconds": 4}, 6.0)):
        made = planned({**values, "stop": stop}, [before])
        assert seconds(made) == [pytest.approx(expected)]
        assert not guessed(made)


def test_a_time_estimate_from_another_setting_is_a_guess_from_the_nearest():
    runs = [
        ran(Setting("schnet", batch_per_device=8), 5.0, 4.0, 100),
        ran(Setting("schnet", batch_per_device=64), 50.0, 40.0, 100),
    ]
    near = planned({"workload": "schnet", "batch_per_device": 64, "precision": "bf16"}, runs)
    assert (seconds(near), guessed(near)) == ([50.0], True)
    far = planned({"workload": "schnet", "batch_per_device": 16}, runs)
    assert guessed(far)
    assert 5.0 <= seconds(far)[0] <= 50.0


def test_the_time_of_one_command_is_no_estimate_for_another():
    long = ran(Setting("command", command="sleep 900"), 900.0, 900.0)
    other = planned({"command": "echo done"}, [long])
    assert (seconds(other), guessed(other)) == ([10 * START_UP_S], True)
    same = planned({"command": "sleep 900"}, [long])
    assert (seconds(same), guessed(same)) == ([900.0], False)
    naps = [
        ran(Setting("command", command="sleep {nap}", options={"nap": n}), n, n)
        for n in (1.0, 30.0)
    ]
    made = planned({"command": "sleep {nap}"}, naps, {"nap": [1.0, 30.0]})
    assert (sorted(seconds(made)), guessed(made)) == ([1.0, 30.0], False)


def test_a_run_is_scaled_only_by_what_its_length_depends_on():
    nap = ran(Setting("command", command="sleep 5", stop=Stop(steps=10)), 5.0, 5.0)
    assert scaled(nap, Setting("command", command="sleep 5", stop=Stop(steps=1000))) == 5.0
    epochs = ran(Setting("schnet", stop=Stop(epochs=1.0)), 12.0, 10.0, 50)
    assert scaled(epochs, Setting("schnet", stop=Stop(epochs=3.0))) == pytest.approx(32.0)
