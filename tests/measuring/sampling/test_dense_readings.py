"""Dense readings between the regular ones: which are kept, their cost, and their use."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wattlaw.devices.meter import DeviceInfo, Sample, Scope, lag_of
from wattlaw.measuring.files.host_files import TelemetryColumn, host_name, read_telemetry
from wattlaw.measuring.reduce.counter_updates import counter_changes, update_clock
from wattlaw.measuring.reduce.series import counter_total
from wattlaw.measuring.sampling.dense_readings import CPU_SHARE, DenseSchedule
from wattlaw.measuring.sampling.host_sampler import HostSampler

COUNTER = DeviceInfo(id="gpu:0", boundary="gpu", energy="counter", update_s=0.1)
POWER = DeviceInfo(id="gpu:0", boundary="gpu", energy="power", update_s=0.1, lag_s=lag_of(0.1))
LOOK_COST_S = 5e-5


def play(
    rule: DenseSchedule,
    show: Callable[[float], Sample],
    until_s: float,
    cost_s: float = LOOK_COST_S,
) -> list[Sample]:
    """Read whenever the schedule is due, from 0 s on, and return the kept readings."""
    now, kept = 0.0, []
    while now < until_s:
        kept += rule.take([show(now)], now, cost_s)
        now = rule.due(now)
    return kept


def counter(power_w: float, update_s: float, phase_s: float) -> Callable[[float], Sample]:
    def show(at: float) -> Sample:
        renewed = math.floor((at - phase_s) / update_s) * update_s + phase_s
        return Sample(time_s=at, device="gpu:0", energy_j=power_w * renewed)

    return show


def column(samples: list[Sample]) -> TelemetryColumn:
    made = TelemetryColumn()
    made.times = array("d", (s.time_s for s in samples))
    made.values = array("d", (s.energy_j for s in samples if s.energy_j is not None))
    return made


@given(st.floats(0.02, 0.11), st.floats(0, 0.1))
def test_each_kept_pair_encloses_one_update_of_the_counter(update_s: float, phase_s: float) -> None:
    kept = play(DenseSchedule([COUNTER], 0.0), counter(300, update_s, phase_s), 10)
    assert len(kept) >= 10
    for before, after in zip(kept[::2], kept[1::2], strict=True):
        assert after.time_s - before.time_s < 0.0011
        turns = (after.time_s - phase_s) / update_s
        assert (turns - math.floor(turns + 1e-9)) * update_s < 0.0011


def test_a_steady_power_keeps_no_reading_and_a_jump_keeps_the_two_around_it() -> None:
    kept = play(
        DenseSchedule([POWER], 0.0),
        lambda t: Sample(time_s=t, device="gpu:0", power_w=100.0 + t / 100),
        5,
    )
    assert kept == []
    kept = play(
        DenseSchedule([POWER], 0.0),
        lambda t: Sample(time_s=t, device="gpu:0", power_w=60.0 if t < 3 else 400.0),
        5,
    )
    assert [s.power_w for s in kept] == [60, 400]
    assert kept[0].time_s < 3 <= kept[1].time_s < kept[0].time_s + 0.05


@pytest.mark.parametrize("device", [COUNTER, POWER])
@pytest.mark.parametrize("cost_s", [2e-5, 2e-4, 5e-3])
def test_dense_readings_stay_within_their_share_of_a_core(
    device: DeviceInfo, cost_s: float
) -> None:
    looks = []

    def show(at: float) -> Sample:
        looks.append(at)
        return Sample(time_s=at, device="gpu:0", energy_j=at // 0.1, power_w=at)

    play(DenseSchedule([device], 0.0), show, 120, cost_s)
    # a credit of 0.1 s, and what the last burst may exceed it by
    assert len(looks) * cost_s < 0.1 + CPU_SHARE * 120 + 0.3


def test_many_window_edges_stay_within_the_share_of_a_core() -> None:
    rule, now, looks, last_edge = DenseSchedule([COUNTER], 0.0), 0.0, 0, -1.0
    show = counter(300, 0.1, 0.03)
    while now < 60:
        if now - last_edge > 0.05:
            rule.edge(now)
            last_edge = now
        rule.take([show(now)], now, 1e-4)
        looks += 1
        now = min(rule.due(now), last_edge + 0.051)
    # this loop also reads 20 times per second on its own
    assert (looks - 60 * 20) * 1e-4 < 0.1 + CPU_SHARE * 60 + 0.3


def test_the_update_period_is_found_from_the_readings() -> None:
    rule = DenseSchedule([POWER], 0.0)
    play(rule, lambda t: Sample(time_s=t, device="gpu:0", power_w=100 + t // 0.025 % 2), 1)
    learned = rule.with_observed_period(POWER)
    assert learned.update_s == pytest.approx(0.025, abs=0.002)
    assert learned.lag_s == pytest.approx(lag_of(0.025), abs=0.002)
    assert rule.with_observed_period(DeviceInfo(id="gpu:1", boundary="gpu")) == DeviceInfo(
        id="gpu:1", boundary="gpu"
    )


@example(0.05, 0.06228455612916416, 3.5, 1.0)
@given(st.floats(0.05, 0.11), st.floats(0, 0.1), st.floats(3, 4), st.floats(0, 1))
def test_known_update_times_give_the_time_of_another_reading(
    update_s: float, phase_s: float, start_s: float, more_s: float
) -> None:
    show = counter(300, update_s, phase_s)
    kept = play(DenseSchedule([COUNTER], 0.0), show, 20)
    clock = update_clock(counter_changes(column(kept).times, column(kept).values))
    assert clock is not None
    assert clock.period_s == pytest.approx(update_s, rel=2e-3)
    # with regular and pinned readings, a steady load is exact at any time
    regular = [show(0.1 * i + 0.0123) for i in range(200)]
    both = column(sorted([*kept, *regular], key=lambda s: s.time_s))
    end_s = start_s + 10 + more_s
    found = counter_total(both, start_s, end_s)
    # a reading during an update may show the old or the new value
    near = [s.time_s for s in regular if min(abs(s.time_s - start_s), abs(s.time_s - end_s)) < 0.5]
    is_in_doubt = any((t - phase_s + 0.002) % update_s < 0.004 for t in near)
    assert found.value == pytest.approx(
        300 * (end_s - start_s), abs=300 * (0.006 + update_s * is_in_doubt)
    )


def test_a_counter_with_irregular_updates_has_no_update_period() -> None:
    times, values, at = [], [], 0.0
    for i in range(40):
        at += (0.02, 0.09, 0.05)[i % 3] * (1 + (i * 7 % 5) / 5)
        times += [at, at + 0.001]
        values += [float(i), float(i + 1)]
    assert update_clock(counter_changes(array("d", times), array("d", values))) is None


def test_the_sampler_itself_pins_the_counter_at_its_edges(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = [f"{i / 10},gpu:0,{30.0 * i}" for i in range(300)]
    path.write_text("\n".join(["time_s,device,energy_j", *rows]) + "\n")
    sampler = HostSampler(
        tmp_path, Scope(root_pid=os.getpid(), replay=str(path)), meters=("replay",)
    )
    sampler.start()
    start = sampler.edge()
    sampler.fast[0].join(0.6)
    end = sampler.edge()
    sampler.stop()
    energies = read_telemetry(tmp_path / f"telemetry-{host_name()}.csv")["gpu:0"].column("energy_j")
    assert any(c.by_s - c.after_s < 0.03 for c in counter_changes(energies.times, energies.values))
    assert counter_total(energies, start, end).value == pytest.approx(
        300 * (end - start), abs=300 * 0.1
    )
    assert energies.times[-1] > end
