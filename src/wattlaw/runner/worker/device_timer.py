"""Marks moments in a device's work without making the host wait for the device.

On a CPU a mark is a reading of the monotonic clock. On a GPU it is an event in the stream, which is
converted to monotonic seconds once the device has passed it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeAlias, TypeVar

import torch

_NEW_ORIGIN_S = 1.0

Mark = TypeVar("Mark")


class Clock(ABC, Generic[Mark]):
    """Marks moments of a device's work and converts them to monotonic seconds."""

    @abstractmethod
    def mark(self) -> Mark:
        """Mark this moment in the device's order of work."""

    @abstractmethod
    def passed(self, mark: Mark) -> bool:
        """Return whether the device has reached a mark."""

    @abstractmethod
    def seconds(self, mark: Mark) -> float:
        """Return when a passed mark happened, s on the host's monotonic clock."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until the device has done all work it has received so far."""


AnyClock: TypeAlias = Clock[Any]
"""A clock whose marks are used with no other clock."""


class HostClock(Clock[float]):
    """The clock of a CPU, which has done its work when the call returns."""

    def mark(self) -> float:
        return time.monotonic()

    def passed(self, mark: float) -> bool:
        return True

    def seconds(self, mark: float) -> float:
        return mark

    def synchronise(self) -> None:
        return


class CudaClock(Clock[torch.cuda.Event]):
    """CUDA events, tied to the host's clock by one synchronised pair; their resolution is 0.5 µs.

    The time between two events has single precision, so that a passed mark becomes the new origin
    every second.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.synchronize(device)
        self._origin = torch.cuda.Event(enable_timing=True)
        self._origin.record(torch.cuda.current_stream(device))
        self._origin.synchronize()
        self._origin_s = time.monotonic()

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def passed(self, mark: torch.cuda.Event) -> bool:
        return bool(mark.query())

    def seconds(self, mark: torch.cuda.Event) -> float:
        elapsed_s = float(self._origin.elapsed_time(mark)) / 1e3
        at_s = self._origin_s + elapsed_s
        if elapsed_s > _NEW_ORIGIN_S:
            self._origin, self._origin_s = mark, at_s
        return at_s

    def synchronise(self) -> None:
        torch.cuda.synchronize(self._device)


def clock_for(device: torch.device) -> AnyClock:
    """Return the clock of a device."""
    return CudaClock(device) if device.type == "cuda" else HostClock()
