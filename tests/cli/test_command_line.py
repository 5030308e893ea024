"""The contract of every command: short help, option names, tables in a pipe, JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.factory import make_run

from wattlaw.cli.main import wattlaw
from wattlaw.cli.output import OneOf, emit_json
from wattlaw.cli.sweep import show_runs
from wattlaw.cli.tables import print_table
from wattlaw.core.reading import Note, Reading


def walked(
    group: click.Group = wattlaw, path: str = "wattlaw"
) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from walked(command, f"{path} {name}")


COMMANDS = dict(walked())


def test_no_help_of_a_command_is_cut():
    assert len(COMMANDS) > 20
    assert [n for n, c in COMMANDS.items() if not 0 < len(c.get_short_help_str(1000)) <= 60] == []
    for words in ([], ["runs"], ["sweep"], ["accelerators"], ["study"]):
        listed = CliRunner().invoke(wattlaw, [*words, "--help"], terminal_width=80).output
        assert "..." not in listed.split("Commands:")[1]


def test_options_have_the_same_names_in_all_commands():
    for name, command in COMMANDS.items():
        given = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
        assert not given & {"--output", "--power-cap", "--cap", "--sm-clock", "--memory-clock"}, (
            name
        )
        assert ("-o" in given) == ("--out" in given), name
        folders = [
            p for p in command.params if isinstance(p, click.Argument) and p.name == "folder"
        ]
        assert all((p.metavar or "").strip("[]") == "DIR" for p in folders), name
        assert "FOLDER" not in (command.help or ""), name


def test_a_table_in_a_pipe_folds_no_line(capsys: pytest.CaptureFixture[str]):
    print_table(["name", "reason"], [["batch_per_device", "x" * 400], ["y", "z " * 200]])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "batch_per_device" in line and "x" * 400 in line]
    assert [line for line in lines if ("z " * 200).strip() in line]


@pytest.mark.parametrize(("width", "is_table"), [(80, True), (30, False)])
def test_a_table_breaks_no_word_in_a_narrow_terminal(width: int, is_table: bool):
    rows = [["schnet", "16", "unstable_steps, no_energy_meter"], ["bert", "", "unstable_steps"]]
    script = f"from wattlaw.cli.tables import print_table\nprint_table(['workload', 'batch_per_device', 'warnings'], {rows})"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=theirs, env=environment, timeout=60, check=True
    )
    shown = os.read(ours, 100_000).decode().replace("\r", "")
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    assert {"batch_per_device", "no_energy_meter", "workload"} <= set(shown.split())
    assert ("---" in shown) == is_table
    assert is_table or "workload          schnet\nbatch_per_device  16\n" in shown
    assert is_table or "workload          bert\nwarnings" in shown


def test_json_writes_the_status_of_every_reading(capsysbinary: pytest.CaptureFixture[bytes]):
    emit_json("x", [make_run()], {"a": Reading(1.0)})
    whole = json.loads(capsysbinary.readouterr().out)
    assert {r["status"] for r in whole["items"][0]["quantities"].values()} == {
        "measured",
        "estimated",
        "missing",
    }
    assert whole["items"][0]["state"] == "done"
    assert whole["overall"]["a"]["status"] == "measured"


def test_one_kind_of_json_has_one_shape(capsysbinary: pytest.CaptureFixture[bytes], sweep: Path):
    show_runs([make_run()], as_json=True, out="runs")
    of_sweep = json.loads(capsysbinary.readouterr().out)
    (trial, *_) = sorted(sweep.iterdir())
    of_trial = json.loads(
        CliRunner().invoke(wattlaw, ["runs", "show", str(trial), "--json"]).output
    )
    of_rows = json.loads(CliRunner().invoke(wattlaw, ["runs", "show", str(sweep), "--json"]).output)
    assert (of_sweep["kind"], of_trial["kind"], of_rows["kind"]) == ("trials", "trials", "runs")
    assert set(of_sweep["items"][0]) == set(of_trial["items"][0])


ERRORS = {
    "time limit of 1 s passed": 0,
    "rank 0 ended with exit code 2; the end of its output:\nno such file": 0,
    "Traceback (most recent call last):\n  frame\nValueError: no": 1,
}


@pytest.mark.parametrize(("error", "times"), ERRORS.items())
def test_a_failure_is_reported_once_and_no_recorded_value_is_called_missing(
    capsys: pytest.CaptureFixture[str], error: str, times: int
):
    run = make_run(
        state="failed",
        warnings=(Note("no_energy_meter", "none"),),
        error=error,
        quantities={"trial_s": Reading(1.5)},
    )
    with pytest.raises(SystemExit) as end:
        show_runs([run], as_json=False, out="runs")
    shown = capsys.readouterr()
    assert end.value.code == 1
    assert "1 of 1 trial failed; `wattlaw runs show runs/demo --failed`" in shown.err
    assert "no_energy_meter" not in shown.err
    assert shown.err.count(error) == times
    assert "missing" not in shown.err


def test_every_misspelt_choice_suggests_the_nearest_name():
    choices = [
        p.type for c in COMMANDS.values() for p in c.params if isinstance(p.type, click.Choice)
    ]
    assert len(choices) > 5
    assert [c for c in choices if not isinstance(c, OneOf)] == []
    answer = CliRunner().invoke(wattlaw, ["list", "worklods"]).output
    assert "'worklods' is none of them; did you mean 'workloads'?" in answer


def test_a_missing_choice_or_command_is_a_one_line_error():
    answers = {
        ("job",): "Missing argument",
        ("measure",): "put it after --, such as `wattlaw measure -- python train.py`",
        (
            "measure",
            "--jsn",
            "--",
            "true",
        ): "unknown option --jsn before the command; put the command after --; did you mean '--json'",
        (
            "accelerators",
            "list",
            "--years",
            "20x",
        ): "give a number or a range, such as 2022, 2019-2023 or 2022-",
        (
            "accelerators",
            "plot",
            "-o",
            "nowhere/figure.svg",
        ): "cannot be written: there is no folder nowhere",
    }
    for words, answer in answers.items():
        ended = CliRunner().invoke(wattlaw, words)
        shown = ended.output + str(ended.exception or "")
        assert answer in shown, words
        assert "Traceback" not in shown


@pytest.mark.parametrize("command", ["fit", "advise", "statement", "runs show"])
def test_every_command_gives_the_same_error_for_a_folder_without_runs(command: str, tmp_path: Path):
    ended = CliRunner().invoke(wattlaw, [*command.split(), str(tmp_path)])
    assert f"there are no runs in {tmp_path}; `wattlaw sweep start SWEEP.toml`" in str(
        ended.exception
    )


def test_list_without_a_kind_lists_all_kinds():
    ended = CliRunner().invoke(wattlaw, ["list", "--json"])
    kinds = {item["kind"]: item["names"] for item in json.loads(ended.stdout)["items"]}
    assert "nvml" in kinds["meters"]
    assert "threads" in kinds["options"]
    for kind in kinds:
        assert CliRunner().invoke(wattlaw, ["list", kind]).exit_code == 0
