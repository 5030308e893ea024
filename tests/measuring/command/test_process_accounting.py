"""CPU time and peak memory of a command by the kernel's accounting, and bounds of a peak that was missed."""

from __future__ import annotations

import resource
from typing import NamedTuple

import pytest

from wattlaw.core.reading import Reading, measured, missing
from wattlaw.measuring.command.run_command import EndedCommand, accounted


class Own(NamedTuple):
    ru_maxrss: int = 20 * 1024


@pytest.fixture(autouse=True)
def twenty_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that started the command has had a peak of 20 MiB."""
    monkeypatch.setattr("resource.getrusage", lambda who: Own())


def ended(
    used_s: float = 1.0, most_kib: int = 20 * 1024, peak_bytes: int = 0, share: float = 0.0
) -> EndedCommand:
    return EndedCommand(
        0, resource.struct_rusage((used_s, 0.0, most_kib, *[0] * 13)), 1, peak_bytes, share
    )


def sampled(cpu_time_s: float | None = None, memory: float | None = None) -> dict[str, Reading]:
    return {
        "cpu_time_s": missing("-") if cpu_time_s is None else measured(cpu_time_s, "-"),
        "memory_peak_bytes": missing("-") if memory is None else measured(memory, "-"),
    }


def test_cpu_time_is_from_process_accounting_unless_samples_show_more() -> None:
    assert accounted(ended(1.0), sampled(0.98))["cpu_time_s"] == measured(
        1.0, "the kernel's accounting of the command"
    )
    more = accounted(ended(1.0), sampled(1.5))["cpu_time_s"]
    assert (more.value, more.how[:9]) == (1.5, "at least:")
    assert accounted(ended(0.0), sampled())["cpu_time_s"].status == "missing"


def test_a_peak_above_that_of_the_parent_is_from_process_accounting() -> None:
    found = accounted(ended(most_kib=50 * 1024), sampled(memory=40 * 2**20))["memory_peak_bytes"]
    assert (found.value, found.status) == (50 * 2**20, "measured")


def test_a_sampled_peak_is_kept() -> None:
    assert "memory_peak_bytes" not in accounted(ended(), sampled(memory=5 * 2**20))


def test_a_peak_seen_late_in_a_short_life_is_a_lower_bound() -> None:
    found = accounted(ended(peak_bytes=8 * 2**20, share=0.9), sampled())["memory_peak_bytes"]
    assert (found.value, found.status) == (8 * 2**20, "measured")
    assert found.how.startswith("at least: ")
    assert "at most 20 MiB" in found.how


def test_a_peak_seen_early_or_never_is_missing_between_its_bounds() -> None:
    early = accounted(ended(peak_bytes=8 * 2**20, share=0.1), sampled())["memory_peak_bytes"]
    assert early.value is None
    assert "more than 8 MiB" in early.how
    assert "at most 20 MiB" in early.how
    never = accounted(ended(), sampled())["memory_peak_bytes"]
    assert never.value is None
    assert "at most 20 MiB" in never.how
