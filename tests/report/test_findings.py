"""Findings on the page: laws, advice and single trials."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.factory import grid_runs as sweep
from tests.factory import trial_run as run

from wattlaw.core.errors import RecordError
from wattlaw.core.reading import Reading
from wattlaw.core.run_folder import STEP_COLUMNS, write_run
from wattlaw.devices.meter import TELEMETRY_COLUMNS, DeviceInfo, Probe
from wattlaw.measuring.files.host_files import Host
from wattlaw.measuring.files.trial_trace import rate, thinned
from wattlaw.report.figures.figure_files import paper_spec
from wattlaw.report.formatting import shown, with_ends
from wattlaw.report.page import html, make_page
from wattlaw.report.sections.pareto_fronts import CostPoint, near
from wattlaw.report.sections.speedup_figure import ticks


def sections(runs, **more):
    return {s.name: s for s in make_page(runs, **more).sections}


def test_three_sizes_give_an_exponent_with_its_held_out_error():
    (table,) = sections(sweep([("bert", 0.3)], devices=(1, 2, 4, 8), batches=(8, 16)))[
        "laws"
    ].tables
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["setting"] == "batch 8"
    assert row["law"] == "time per sample = α·N^(−β), N processes"
    assert row["β"].startswith(("0.6", "0.7"))
    assert row["held-out error"].endswith(" %")


def test_a_speedup_above_the_ideal_has_a_warning():
    noise = random.Random(2)
    runs = [
        run(devices=d, repeat=r, step_s=s, noise=noise)
        for d, s in ((1, 0.1), (2, 0.06))
        for r in range(3)
    ]
    made = make_page(runs)
    assert "3." in made.lines[0]
    (table,) = next(s for s in made.sections if s.name == "warnings").tables
    assert "faster than ideal" in [row[0] for row in table.rows]


def test_a_gain_within_the_run_to_run_variation_is_not_called_clear():
    steps = {1: (0.10, 0.16, 0.12), 2: (0.17, 0.30, 0.22)}
    runs = [
        run(devices=d, repeat=r, step_s=s)
        for d, all_steps in steps.items()
        for r, s in enumerate(all_steps)
    ]
    (line,) = make_page(runs).lines
    assert "2 processes are no clear gain over 1 process" in line
    assert "though not clearly" in line


def test_a_slower_setting_can_be_recommended_for_its_measured_energy():
    noise = random.Random(3)
    runs = []
    for cap, step_s, energy in ((250.0, 0.1, "measured"), (150.0, 0.103, "measured")):
        for repeat in range(4):
            one = run(
                repeat=repeat,
                step_s=step_s,
                energy=energy,
                noise=noise,
                device_type="cuda",
                power_cap_w=cap,
            )
            joules = one.quantities["elapsed_s"].value * cap
            one.quantities["cpu_energy_j"] = type(one.quantities["cpu_energy_j"])(
                joules, "measured", "counter"
            )
            runs.append(one)
    made = make_page(runs, max_slowdown=0.1)
    assert "Take 1 GPU, batch 32, 150 W cap. Per sample it takes 3" in made.lines[0].replace(
        "\u00a0", " "
    )
    (table,) = next(s for s in made.sections if s.name == "advice").tables
    assert {"saved", "slower by", "constraint holds"} <= set(table.columns)
    assert any(f.name == "pareto-energy" for s in made.sections for f in s.figures)


def test_settings_are_listed_in_natural_order():
    rows = (
        sections(sweep([("a", 0.1)], devices=(1, 2, 16), batches=(8, 16, 128)))["settings"]
        .tables[0]
        .rows
    )
    assert [r[1] for r in rows][:4] == [
        "1 process, batch 8",
        "1 process, batch 16",
        "1 process, batch 128",
        "2 processes, batch 8",
    ]


def test_a_figure_file_includes_its_legend():
    (figure,) = sections(sweep([("a", 0.1), ("b", 0.2)]))["phases"].figures
    last = paper_spec(figure)["concat"][-1]
    assert last["encoding"]["color"]["legend"]["orient"] == "bottom"


def of_phases(**seconds):
    """Return the section on phases of a run with a median step of 100 ms."""
    one = run(step_s=0.1)
    kept = {
        n: r
        for n, r in one.quantities.items()
        if not n.endswith("_s") or n in ("step_time_s", "elapsed_s")
    }
    step = Reading(0.1, n=40)
    found = {**kept, "step_time_s": step, **{n: Reading(v) for n, v in seconds.items()}}
    return sections([msgspec.structs.replace(one, quantities=found)])["phases"].figures[0]


PARTS = {"data_s": 0.01, "forward_s": 0.02, "backward_s": 0.05, "optimiser_s": 0.01}


@pytest.mark.parametrize("rest", [{}, {"rest_s": 3e-7}])
def test_phases_that_add_up_to_their_step_leave_no_rest(rest):
    # the medians of the phases add up to 90 ms of a median step of 100 ms
    figure = of_phases(**PARTS, **rest)
    assert "rest" not in figure.table.columns
    assert "Rest" not in figure.caption
    (bars,) = figure.panels[0].spec["datasets"].values()
    assert sum(b["value"] for b in bars) == pytest.approx(100)
    assert (
        next(b for b in bars if b["phase"] == "backward")["text"]
        == "56 % of the step; median 50 ms"
    )


@pytest.mark.parametrize(
    ("marked", "rest"),
    [
        ({**PARTS, "rest_s": 0.01}, "10 ms, 10 %"),
        ({"data_s": 0.01, "forward_s": 0.02}, "70 ms, 70 %"),
    ],
)
def test_time_outside_of_the_marked_phases_is_the_rest(marked, rest):
    figure = of_phases(**marked)
    assert figure.table.rows[0][-1] == rest
    assert "Rest is" in figure.caption


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.0031, 0.00305, 0.0032, "3.1 ms [3.05 – 3.2]"),
        (0.0031, 0.0009, 0.0032, "3.1 ms [900 µs – 3.2 ms]"),
        (0.0031, None, None, "3.1 ms"),
        (0.0031, 0.0031, 0.0031, "3.1 ms"),
    ],
)
def test_the_ends_of_an_interval_have_the_unit_of_its_value(value, low, high, text):
    assert with_ends(value, low, high, "s") == text


def test_an_estimate_is_marked_everywhere():
    assert shown(run().quantities["cpu_energy_j"], "J").endswith("(estimate)")


def test_axis_labels_do_not_overlap():
    assert ticks([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) == [1, 2, 3, 4, 5, 6, 8, 10]
    assert ticks([1, 2]) == [1, 2]


def attempt(folder, one, telemetry):
    """Write the files of a trial as its ranks and the sampler do."""
    write_run(folder / one.sweep / one.trial, one)
    path = folder / one.sweep / one.trial / "attempt-1"
    path.mkdir()
    rows = [f"{i},{int(i < 2)},{10 + i},{10.5 + i * 1.1:.6f},16,1.0,0,0,0,0,0\n" for i in range(6)]
    (path / "steps-0.csv").write_text(",".join(STEP_COLUMNS) + "\n" + "".join(rows))
    (path / "telemetry-h.csv").write_text(",".join(TELEMETRY_COLUMNS) + "\n" + telemetry)
    return path


def telemetry(device, column):
    at = TELEMETRY_COLUMNS.index(column)
    cells = [
        [f"{8 + i * 0.1:.6f}", device, *[""] * (len(TELEMETRY_COLUMNS) - 2)] for i in range(90)
    ]
    for i, row in enumerate(cells):
        row[at] = f"{200 + i}" if column == "power_w" else f"{i * 0.2:.2f}"
    return "".join(",".join(row) + "\n" for row in cells)


@pytest.mark.parametrize(
    ("device", "column", "name"),
    [("gpu:0", "power_w", "power-over-time"), ("job", "cpu_time_s", "busy-cores-over-time")],
)
def test_one_trial_is_drawn_over_time(tmp_path, device, column, name):
    attempt(tmp_path, run(), telemetry(device, column))
    figures = sections(tmp_path)["traces"].figures
    assert [f.name for f in figures] == ["steps", name]
    assert figures[0].table.rows[0][2:] == ["4", "700 ms", "1 s"]
    assert figures[1].table.rows[0][-1] == ("289 W" if column == "power_w" else "2")


def test_a_trial_with_damaged_steps_is_not_drawn(tmp_path):
    path = attempt(tmp_path, run(), "")
    (path / "steps-0.csv").write_text("no,steps\n1,2\n")
    assert "traces" not in sections(tmp_path)


def test_a_counter_gives_a_rate_and_long_series_few_points():
    assert rate([0.0, 0.5, 1.0, 1.5], [0.0, 1.0, 2.0, 3.0], 0.4) == [
        (0.5, 2.0),
        (1.0, 2.0),
        (1.5, 2.0),
    ]
    assert len(thinned([(float(i), 1.0) for i in range(10_000)], 240)) <= 240


def test_meters_list_what_they_cannot_read_and_how_to_enable_it(tmp_path):
    path = attempt(tmp_path, run(), "")
    probes = (
        Probe(
            meter="rapl", reason="counters are readable by root only", grant="sudo chmod o+r /sys/x"
        ),
        Probe(
            meter="nvml",
            devices=(DeviceInfo(id="gpu:0", boundary="gpu", limits={"power_limit_w": 250.0}),),
        ),
    )
    (path / "host-h.json").write_bytes(msgspec.json.encode(Host(host="h", probes=probes)))
    page = make_page(tmp_path)
    (table,) = next(s for s in page.sections if s.name == "meters").tables
    assert "power limit 250 W" in table.rows[1]
    assert "<code>sudo chmod o+r /sys/x</code>" in html(page)


def test_a_folder_without_runs_is_reported(tmp_path):
    with pytest.raises(RecordError, match="there are no runs in"):
        make_page(tmp_path)


def test_short_names_leave_out_fields_that_all_settings_share():
    (group,) = make_page(sweep([("a", 0.1)], devices=(1,), batches=(8, 16))).context.groups
    assert [r.short for r in group.rows] == ["batch 8", "batch 16"]
    assert [r.label for r in group.rows] == ["1 process, batch 8", "1 process, batch 16"]


def test_the_time_and_energy_figure_shows_the_points_nearest_to_the_front():
    front = [CostPoint(None, 1.0, 4.0, True, False), CostPoint(None, 2.0, 2.0, True, True)]
    beaten = [CostPoint(None, 3.0 + i, 3.0, False, False) for i in range(30)]
    assert near([*front, *beaten]) == [*front, *beaten[:2]]
    assert near([*front, *beaten[:9]]) == [*front, *beaten[:9]]


def test_settings_with_the_same_shortened_name_stay_separate():
    long = "python train.py --data /very/long/path/that/goes/on/and/on/and/on --lr "
    runs = [run("command", command=long + rate) for rate in ("0.1", "0.2")]
    (group,) = make_page(runs).context.groups
    assert len({r.short for r in group.rows}) == len(group.rows) == 2
