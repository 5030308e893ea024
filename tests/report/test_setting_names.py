"""Names of settings, series and shares in figures and tables, and their colours."""

from __future__ import annotations

import random

import pytest
from tests.factory import grid_runs as sweep
from tests.factory import trial_run as run

from wattlaw.advice.sentences import percentage
from wattlaw.core.findings import Interval
from wattlaw.report.figures.chart import legend_room
from wattlaw.report.figures.theme import DARK, LIGHT
from wattlaw.report.formatting import unbroken
from wattlaw.report.page import make_page


def sections(runs, **more):
    return {s.name: s for s in make_page(runs, **more).sections}


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("power_cap_w", (150.0, 250.0), "150 W cap"),
        ("sm_clock_mhz", (900, 1380), "SM 900 MHz"),
        ("memory_clock_mhz", (810, 1593), "memory 810 MHz"),
    ],
)
def test_each_speedup_is_named_by_its_limit_if_there_are_several(field, values, words):
    noise = random.Random(4)
    runs = [
        run(
            devices=n,
            repeat=r,
            step_s=0.04 * n**0.1,
            noise=noise,
            device_type="cuda",
            energy="measured",
            **{field: v},
        )
        for n in (1, 2)
        for v in values
        for r in range(3)
    ]
    (figure,) = sections(runs)["speedup"].figures
    assert words in {row[1] for row in figure.table.rows}


def test_a_setting_without_a_cap_is_labelled_so_next_to_capped_ones():
    noise = random.Random(4)
    runs = [
        run(
            devices=n,
            repeat=r,
            step_s=0.04 * n**0.1,
            noise=noise,
            device_type="cuda",
            power_cap_w=cap,
        )
        for n in (1, 2)
        for cap in (150.0, None)
        for r in range(3)
    ]
    found = sections(runs)
    (figure,) = found["speedup"].figures
    assert {row[1] for row in figure.table.rows} == {"150 W cap", "no cap set"}
    (table,) = found["settings"].tables
    assert "2 GPUs, batch 32, no cap set" in {row[1] for row in table.rows}


def test_a_finding_spells_an_option_as_its_settings_do():
    noise = random.Random(4)
    runs = [
        run(devices=n, repeat=r, noise=noise, options={"checkpointing": on})
        for n in (1, 2)
        for on in (True, False)
        for r in range(3)
    ]
    (figure,) = sections(runs)["speedup"].figures
    assert {row[1] for row in figure.table.rows} == {"checkpointing: yes", "checkpointing: no"}


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (Interval(0.021, 0.0206, 0.0214), "2.1 % [2.1, 2.1]"),
        (Interval(0.095, 0.081, 0.113), "9.5 % [8.1, 11.3]"),
        (Interval(0.49, 0.14, 0.7), "49 % [14, 70]"),
        (Interval(0.021), "2.1 %"),
        (Interval(0.21), "21 %"),
    ],
)
def test_a_share_and_the_ends_of_its_interval_have_the_same_number_of_digits(share, words):
    assert percentage(share) == words


def test_trials_without_repeats_are_not_called_stable():
    once = sections([run(devices=n, batch=b) for n in (1, 2) for b in (8, 16, 32)])["drift"]
    assert not once.figures
    assert "twice" in once.missing


def test_twelve_workloads_have_their_own_colours_and_others_share_a_grey_with_a_legend():
    runs = sweep([(f"net{k}", 0.01 * (k + 1)) for k in range(14)], devices=(1,), batches=(16,))
    (figure,) = sections(runs)["drift"].figures
    colours = dict(figure.legend)
    assert len(set(colours.values())) == 13
    assert list(colours)[-1] == "2 others"
    for palette in (LIGHT, DARK):
        assert len({palette[c.removeprefix("var(--").rstrip(")")] for c in colours.values()}) == 13


def test_a_legend_has_room_for_its_names():
    assert legend_room(["batch 16", "batch 32"]) == {"columns": 3, "labelLimit": 70}
    long = legend_room(["batch 128, learning_rate 0.0003, seed_data 3"])
    assert long["columns"] == 1
    assert long["labelLimit"] > 250


def test_long_commands_are_shortened_to_their_differences():
    start = "python train.py --data /a/very/long/path/that/all/of/the/commands/share --lr "
    runs = [run("command", command=start + rate) for rate in ("0.1", "0.2")]
    (group,) = make_page(runs).context.groups
    assert [row.short for row in group.rows] == ["… --lr 0.1", "… --lr 0.2"]


def test_no_line_breaks_inside_a_number_or_its_interval():
    assert unbroken("5.3 ms [5.2 – 5.4]") == "5.3\u00a0ms [5.2\u00a0–\u2060\u00a05.4]"
    assert unbroken("8 processes, batch 32") == "8 processes, batch 32"
