"""wattlaw.measure around code blocks: records, inner windows, ranks, nesting, errors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import wattlaw
from wattlaw.accelerators.catalogue.achieved import recorded_precision
from wattlaw.core.errors import SettingError, UsageError
from wattlaw.core.factors import factors
from wattlaw.core.run_folder import scan
from wattlaw.measuring.files.rank_files import read_steps
from wattlaw.measuring.sampling.sampler_process import start_sampler
from wattlaw.records.columns import flat_row


def test_three_lines_leave_a_record_that_loads_as_a_run(tmp_path: Path) -> None:
    with wattlaw.measure(
        tmp_path / "mine", name="loop", warmup=1, setting={"batch_per_device": 8}
    ) as m:
        for i in range(4):
            time.sleep(0.02)
            m.step(samples=8, loss=1 / (i + 1))
    (run,) = wattlaw.load_runs(tmp_path / "mine")
    assert run == m.result
    assert (run.setting.workload, run.setting.batch_per_device, run.repeat) == ("loop", 8, 0)
    assert run.reading("steps").value == 3
    assert run.reading("samples").value == 24
    assert run.reading("loss_first").value == 1


def test_each_use_of_a_folder_adds_a_repeat_also_for_a_decorated_function(
    tmp_path: Path,
) -> None:
    @wattlaw.measure(tmp_path / "mine", name="f")
    def double(x: int) -> int:
        return 2 * x

    assert [double(1), double(4)] == [2, 8]
    assert sorted(r.repeat for r in wattlaw.load_runs(tmp_path / "mine")) == [0, 1]


def test_the_energy_of_an_inner_window_is_its_own(monkeypatch: pytest.MonkeyPatch, trace) -> None:
    # with an update every millisecond, readings are current even on a busy machine
    monkeypatch.setenv("WATTLAW_REPLAY", str(trace(500, 60, update_s=0.001)))
    with wattlaw.measure(hz=50) as m:
        time.sleep(0.2)
        with m.window("evaluation"):
            time.sleep(0.4)
        with m.window("evaluation"):
            time.sleep(0.6)
    assert m.result is not None
    for part, seconds in zip(m.windows["evaluation"], (0.4, 0.6), strict=True):
        elapsed = part["elapsed_s"].value
        assert elapsed is not None
        assert elapsed >= seconds
        assert part["gpu_energy_j"].value == pytest.approx(500 * elapsed, abs=500 * 0.03)
    whole = m.result.reading("elapsed_s").value
    assert m.result.reading("gpu_energy_j").value == pytest.approx(
        500 * (whole or 0), abs=500 * 0.03
    )


def test_a_nested_window_uses_the_telemetry_of_the_running_sampler(tmp_path: Path, trace) -> None:
    (tmp_path / "outer").mkdir()
    with start_sampler(tmp_path / "outer", replay=str(trace(100, 60))):
        script = (
            "import time, wattlaw\n"
            "with wattlaw.measure('inner', name='x') as m: time.sleep(1.2)\n"
            "e = m.result.reading('gpu_energy_j')\nprint(e.value / m.result.reading('elapsed_s').value, m._sampler)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    power, sampler = done.stdout.split()
    assert float(power) == pytest.approx(100, rel=0.05)
    assert sampler == "None"


def test_inside_a_sweep_only_steps_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTLAW_ATTEMPT", str(tmp_path))
    monkeypatch.setenv("WATTLAW_WARMUP_STEPS", "2")
    for _ in range(2):
        with wattlaw.measure("elsewhere") as m:
            for _ in range(3):
                m.step(samples=1)
        assert m.result is None
    steps = read_steps(tmp_path / "steps-0.csv")
    assert [s.step for s in steps] == [0, 1, 2, 3, 4, 5]
    assert [s.warmup for s in steps[:3]] == [True, True, False]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rank-0.json", "steps-0.csv"]


def test_inside_a_sweep_a_block_without_steps_does_not_affect_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTLAW_ATTEMPT", str(tmp_path))
    with wattlaw.measure("elsewhere"):
        pass
    with wattlaw.measure("elsewhere") as m:
        m.step(samples=1)
    assert [s.step for s in read_steps(tmp_path / "steps-0.csv")] == [0]


def test_two_ranks_make_one_record_with_one_sampler(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import time, wattlaw\n"
        "with wattlaw.measure('mine', name='ddp') as m:\n"
        "    for _ in range(5):\n        time.sleep(0.05)\n        m.step(samples=2)\n"
    )
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "1234"}
    ranks = [
        subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, env=environment(both, rank))
        for rank in "01"
    ]
    assert [r.wait(60) for r in ranks] == [0, 0]
    (run,) = wattlaw.load_runs(tmp_path / "mine")
    assert run.reading("samples").value == 20
    assert run.setting.devices == 2
    (attempt,) = (tmp_path / "mine").glob("*/attempt-1")
    assert len(list(attempt.glob("telemetry-*.csv"))) == 1
    assert not list((tmp_path / "mine").glob(".job-*"))


def environment(more: dict[str, str], rank: str) -> dict[str, str]:
    import os

    return {**os.environ, **more, "RANK": rank, "LOCAL_RANK": rank}


def test_an_error_in_the_block_is_recorded_and_raised(tmp_path: Path) -> None:
    @wattlaw.measure(tmp_path / "mine", name="x")
    def divide(by: int) -> float:
        return 1 / by

    with pytest.raises(ZeroDivisionError):
        divide(0)
    (summary,) = scan(tmp_path / "mine").summaries
    run = json.loads(summary.read_text())
    assert run["state"] == "failed"
    assert "ZeroDivisionError" in run["error"]
    assert "ZeroDivisionError" in (summary.parent / "attempt-1" / "error.txt").read_text()


def test_a_step_outside_of_its_block_is_an_error() -> None:
    with wattlaw.measure() as m:
        m.step()
    with pytest.raises(UsageError, match="within its block"):
        m.step()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"hz": 1000}, UsageError),
        ({"warmup": -1}, UsageError),
        ({"setting": {"batch_per_device": 0}}, SettingError),
    ],
)
def test_an_impossible_request_is_refused_before_the_block(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        wattlaw.measure("nowhere", **arguments)
    assert not Path("nowhere").exists()


def test_a_decorator_without_a_call_is_an_error_that_shows_the_call():
    with pytest.raises(
        UsageError, match=r"call the decorator with the folder.*: @wattlaw\.measure\('runs/mine'\)"
    ):
        wattlaw.measure(lambda: None)


def test_a_decorated_function_needs_a_folder_since_its_result_would_be_lost():
    with pytest.raises(UsageError, match="a decorator needs a folder"):
        wattlaw.measure()(print)


def test_a_decorated_task_is_measured_until_it_returns(tmp_path: Path) -> None:
    @wattlaw.measure(tmp_path, name="task")
    async def task() -> int:
        await asyncio.sleep(0.3)
        return 3

    assert asyncio.run(task()) == 3
    (run,) = wattlaw.load_runs(tmp_path)
    assert (run.reading("elapsed_s").value or 0) >= 0.3


def test_a_generator_cannot_be_decorated() -> None:
    def rows() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (rows, later):
        with pytest.raises(UsageError, match="is a generator"):
            wattlaw.measure("mine")(function)


def test_a_child_forked_in_a_block_does_not_write_the_record(tmp_path: Path) -> None:
    script = """
import os, sys, wattlaw
with wattlaw.measure("mine", name="f") as m:
    m.step()
    if not os.fork():
        try:
            m.step()
        except wattlaw.WattlawError as error:
            print(error, flush=True)
        sys.exit(4)
    print(os.waitstatus_to_exitcode(os.wait()[1]), sorted(os.listdir(m._record.trial)), flush=True)
    m.step()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "this block was opened by the parent of this process; open a block here",
        "4 ['attempt-1']",
    ]
    (run,) = wattlaw.load_runs(tmp_path / "mine")
    assert run.reading("steps").value == 2
    assert not list(tmp_path.rglob("error.txt"))


def test_an_open_block_cannot_be_opened_again_and_still_ends_normally() -> None:
    with wattlaw.measure() as m:
        m.step()
        with pytest.raises(UsageError, match="already open"):
            m.__enter__()
        m.step()
    assert m.result is not None
    assert m.result.reading("steps").value == 2


def test_a_block_without_steps_has_no_warning_about_missing_ones() -> None:
    with wattlaw.measure() as m:
        time.sleep(0.1)
    assert m.result is not None
    assert "ranks_missing" not in [note.name for note in m.result.warnings]


def test_a_block_has_only_the_fields_of_a_setting_that_the_user_stated(tmp_path: Path) -> None:
    for name, setting in (("plain", {}), ("given", {"precision": "fp32", "preset": "tiny"})):
        with wattlaw.measure(tmp_path, name=name, setting=setting):
            pass
    given, plain = sorted(wattlaw.load_runs(tmp_path), key=lambda run: run.setting.workload)
    assert [factors(plain)[n] for n in ("preset", "precision", "backend")] == [None, None, None]
    assert [factors(given)[n] for n in ("preset", "precision", "backend")] == ["tiny", "fp32", None]
    assert (flat_row(plain)["precision"], recorded_precision(plain)) == (None, "")
    assert (flat_row(given)["precision"], recorded_precision(given)) == ("fp32", "fp32")
