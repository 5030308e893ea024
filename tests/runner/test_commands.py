"""A user's own command: checks before it runs, and steps from its output."""

from __future__ import annotations

import csv
import sys

import pytest

import wattlaw
from wattlaw.core.errors import SettingError, TrialError, UsageError
from wattlaw.core.factors import factors
from wattlaw.core.setting import Setting, identity
from wattlaw.measuring.files.rank_files import StepLog
from wattlaw.records.settings_table import tabulate
from wattlaw.runner.command import output_steps
from wattlaw.runner.command.output_steps import OutputSteps

PATTERN = r"it (?P<step>\S+)(?: loss (?P<loss>\S+))?(?: samples (?P<samples>\S+))?"


def sweep(tmp_path, over=None, **setting):
    values = {
        "name": "c",
        "repeats": 1,
        "setting": {"warmup_steps": 0, **setting},
        "over": over or {},
    }
    return wattlaw.sweep(values, out=tmp_path)


def printing(tmp_path, code, **setting):
    """Run a script as a command with steps found by PATTERN."""
    (tmp_path / "train.py").write_text(code)
    values = {
        "command": f"{sys.executable} {tmp_path / 'train.py'}",
        "step_pattern": PATTERN,
        **setting,
    }
    return sweep(tmp_path / "runs", **values)[0]


def rows(tmp_path, run):
    path = tmp_path / "runs" / "c" / run.trial / "attempt-1" / "steps-0.csv"
    return list(csv.DictReader(path.read_text().splitlines()))


def follow(tmp_path, pieces, setting=None, pattern=PATTERN):
    """Follow an output that starts with the first piece; the others are written while it is read."""
    output = tmp_path / "output-0.log"
    output.write_bytes(b"")
    with (
        StepLog(tmp_path) as log,
        OutputSteps(output, pattern, setting or Setting("c", warmup_steps=0), log) as steps,
    ):
        for piece in pieces:
            before = steps.position
            with open(output, "ab") as file:
                file.write(piece)
            while steps.position < before + len(piece):
                steps.check()
    return steps, list(csv.DictReader((tmp_path / "steps-0.csv").read_text().splitlines()))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"command": "sleep 1", "pwer_cap_w": 100},
            "pwer_cap_w changes nothing.*did you mean 'power_cap_w'",
        ),
        ({"command": "sleep 1", "batch_per_devise": 16}, "did you mean 'batch_per_device'"),
        ({"command": "sleep 1", "accumulation": 2}, "accumulation changes nothing"),
        ({"command": "echo {}"}, "plain name"),
        ({"command": "echo {0}"}, "plain name"),
        ({"command": "echo {devices:zz}"}, "plain name"),
        ({"command": "echo {devices!q}"}, "plain name"),
        ({"command": "echo {devices.real}"}, "plain name"),
        ({"command": "echo {devices"}, "a brace itself"),
        ({"command": "echo {steps}"}, "steps is not set; give stop = "),
        ({"command": "echo {precision}"}, "precision is not set"),
        ({"command": "echo {preset}"}, "preset is not set"),
        (
            {"command": "echo", "step_pattern": "(?P<stpe>x)"},
            "unknown group of step_pattern 'stpe'; did you mean 'step'",
        ),
        ({"command": "echo", "step_pattern": "(?u)x"}, "not a valid regular expression"),
        ({"command": "echo", "step_pattern": "a{99999999999}"}, "not a valid regular expression"),
    ],
)
def test_a_contradictory_command_is_refused_with_one_line(tmp_path, setting, message):
    with pytest.raises(UsageError, match=message) as refusal:
        sweep(tmp_path, **setting)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_swept_name_of_a_command_suggests_the_nearest_name(tmp_path):
    with pytest.raises(SettingError, match=r"changes nothing.*did you mean 'batch_per_device'"):
        sweep(tmp_path, {"batch_per_devise": [1, 2]}, command="sleep {devices}")


def test_given_values_fill_the_braces_even_if_they_are_the_default(tmp_path):
    given = {"command": "echo {steps} {precision}", "stop": {"steps": 100}}
    runs = sweep(tmp_path, {"precision": ["fp32"]}, **given)
    output = tmp_path / "c" / runs[0].trial / "attempt-1" / "output-0.log"
    assert output.read_text() == "100 fp32\n"
    assert factors(runs[0])["precision"] == "fp32"


def test_threads_may_be_swept_over_a_command(tmp_path):
    runs = sweep(tmp_path, {"threads": [1, 2]}, command="sh -c 'echo $OMP_NUM_THREADS'")
    outputs = [(tmp_path / "c" / r.trial / "attempt-1" / "output-0.log").read_text() for r in runs]
    assert outputs == [f"{r.setting.options['threads']}\n" for r in runs]


def test_the_setting_of_a_command_has_only_the_given_fields():
    run = wattlaw.Run(setting=Setting("command", command="sleep 1"), trial="t")
    shared = tabulate([run]).shared
    assert not {"precision", "preset", "backend"} & set(shared)
    assert shared["devices"] == 1
    named = wattlaw.Run(setting=Setting("command", command="sleep 1", precision="bf16"), trial="t")
    assert tabulate([named]).shared["precision"] == "bf16"
    ours = wattlaw.Run(setting=Setting("schnet"), trial="t")
    assert tabulate([ours]).shared["precision"] == "fp32"
    assert identity(run.setting) == identity(
        Setting("command", command="sleep 1", preset="base", precision="fp32")
    )


def test_unusual_numbers_in_the_output_end_no_trial_and_steps_are_numbered_once(tmp_path):
    words = ["0", "nan", "inf", "-3", "1e300", "x", "7", "7", "8"]
    code = "import time\n" + "".join(
        f"time.sleep(0.01); print('it {w} loss nan samples -1', flush=True)\n" for w in words
    )
    run = printing(tmp_path, code)
    assert run.state == "done", run.error
    assert [int(r["step"]) for r in rows(tmp_path, run)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert run.quantities["steps"].value == 9
    assert run.quantities["samples"].status == "missing"


def test_samples_are_missing_unless_the_batch_or_the_output_gives_them(tmp_path):
    line = b"it %d\n"
    batch = Setting("c", batch_per_device=4, devices_per_node=2, warmup_steps=0)
    for name, setting, piece, samples in (
        ("none", None, line, ["", ""]),
        ("batch", batch, line, ["8", "8"]),
        ("output", batch, b"it %d samples 5\n", ["5", "5"]),
    ):
        (tmp_path / name).mkdir()
        _, found = follow(tmp_path / name, [piece % i for i in range(3)], setting)
        assert [r["samples"] for r in found] == samples, name


def test_a_line_every_few_steps_covers_all_of_them_even_if_the_count_restarts(tmp_path):
    setting = Setting("c", batch_per_device=4, warmup_steps=5)
    steps, found = follow(
        tmp_path,
        [b"it 10 loss 3\n", b"it 20 loss 2\n", b"it 10 loss 1\n", b"it 9000 loss 1\n"],
        setting,
    )
    assert [int(r["step"]) for r in found] == [*range(11, 32)]
    assert [r["warmup"] for r in found] == ["1"] * 5 + ["0"] * 16
    assert {r["samples"] for r in found} == {"4"}
    assert [r["loss"] for r in found if r["loss"]] == ["2.0", "1.0", "1.0"]
    lasted = [float(r["end_s"]) - float(r["start_s"]) for r in found]
    assert lasted[0] == pytest.approx(lasted[9], abs=2e-6)
    assert steps.seen.skipped == 18


def test_lines_are_timed_as_they_arrive(tmp_path):
    code = (
        "import time\n"
        "for i in range(60):\n"
        "    time.sleep(0.002 if i % 2 else 0.012)\n"
        "    print('it', i, 'at', time.monotonic(), flush=True)\n"
    )
    run = printing(tmp_path, code)
    output = (tmp_path / "runs" / "c" / run.trial / "attempt-1" / "output-0.log").read_text()
    printed_s = [float(line.split()[3]) for line in output.splitlines()]
    seen = [float(r["end_s"]) for r in rows(tmp_path, run)]
    late = sorted(b - a for a, b in zip(printed_s[1:], seen, strict=True))
    # a busy machine may wake the reader late; polling every 50 ms would be late half of the time
    assert late[len(late) // 2] < 0.002


def test_lines_that_arrive_together_give_a_warning_and_no_spread(tmp_path):
    code = (
        "import time\n"
        "for i in range(0, 40, 4):\n"
        "    time.sleep(0.02)\n"
        "    print(''.join(f'it {k}\\n' for k in range(i, i + 4)), end='', flush=True)\n"
    )
    run = printing(tmp_path, code)
    step = run.quantities["step_time_s"]
    assert step.value > 0
    assert (step.low, step.high) == (None, None)
    assert "steps_smoothed" in {n.name for n in run.warnings}


def test_without_inotify_the_output_is_polled_and_fast_steps_have_no_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(
        output_steps, "_IN_CLOEXEC", -1
    )  # the kernel refuses this, as it does a used-up quota
    code = (
        "import time\nfor i in range(20):\n    time.sleep(0.01)\n    print('it', i, flush=True)\n"
    )
    run = printing(tmp_path, code)
    assert run.quantities["steps"].value == 19
    assert run.quantities["step_time_s"].low is None
    assert "steps_smoothed" in {n.name for n in run.warnings}


def test_the_last_line_is_read_without_a_newline(tmp_path):
    _, found = follow(tmp_path, [b"it 1\n", b"it 2\n", b"it 3"])
    assert [r["step"] for r in found] == ["2", "3"]


def test_an_output_file_deleted_by_the_command_loses_no_step(tmp_path):
    code = (
        "import os, time\nos.unlink(os.environ['WATTLAW_ATTEMPT'] + '/output-0.log')\n"
        "for i in range(5):\n    time.sleep(0.02)\n    print('it', i, flush=True)\n"
    )
    run = printing(tmp_path, code)
    assert run.state == "done", run.error
    assert run.quantities["steps"].value == 4


def test_an_unreadable_output_fails_its_trial_and_not_the_sweep(tmp_path):
    with (
        pytest.raises(TrialError, match="cannot be followed: there is no"),
        StepLog(tmp_path) as log,
        OutputSteps(tmp_path / "gone", PATTERN, Setting("c"), log),
    ):
        pass


def test_a_pattern_without_a_match_is_named_with_the_end_of_the_output(tmp_path):
    run = printing(tmp_path, "print('epoch 1')\nprint('step 5 of 7')\n")
    notes = {n.name: n.message for n in run.warnings}
    assert "ranks_missing" not in notes
    assert "step 5 of 7" in notes["pattern_never_matched"]
