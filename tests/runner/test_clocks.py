"""Times of a device with simulated CUDA events, which have single precision."""

from __future__ import annotations

import struct
import time

import pytest
import torch

from wattlaw.runner.worker.device_timer import CudaClock


class Event:
    """An event that completes when it is recorded, at ``now_s``."""

    now_s = 0.0

    def __init__(self, enable_timing: bool) -> None:
        self.at_s = 0.0

    def record(self, stream: object) -> None:
        self.at_s = Event.now_s

    def synchronize(self) -> None:
        return

    def elapsed_time(self, other: Event) -> float:
        return struct.unpack("f", struct.pack("f", (other.at_s - self.at_s) * 1e3))[0]


def test_gpu_times_stay_exact_to_microseconds_for_a_day(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    monkeypatch.setattr(Event, "now_s", 0.0)
    clock = CudaClock(torch.device("cuda", 0))
    before = None
    for step in range(24 * 3600):
        Event.now_s = step * 1.000001
        seconds = clock.seconds(clock.mark())
        if before is not None:
            assert seconds - before == pytest.approx(1.000001, abs=1e-6)
        before = seconds
    # rounding may have a bias of three parts in a hundred million
    assert before == pytest.approx(5.0 + Event.now_s, abs=5e-3)
