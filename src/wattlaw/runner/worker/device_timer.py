"""Marks on the time line of a device, without making the host wait for it.

On a CPU a mark is a reading of the monotonic clock. On a GPU it is an event in the stream; it is turned
into monotonic seconds once the device has passed it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

import torch

_ORIGIN_S = 1.0


class Clock(ABC):
    """Marks moments of a device's work and resolves them to monotonic seconds."""

    @abstractmethod
    def mark(self) -> Any:
        """Mark this moment in the device's order of work."""

    @abstractmethod
    def passed(self, mark: Any) -> bool:
        """Return whether the device has reached a mark."""

    @abstractmethod
    def seconds(self, mark: Any) -> float:
        """Return when a passed mark happened, in s on the host's monotonic clock."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until the device has done all work given to it so far."""


class HostClock(Clock):
    """CPU work is done when its call returns."""

    def mark(self) -> float:
        return time.monotonic()

    def passed(self, mark: float) -> bool:
        return True

    def seconds(self, mark: float) -> float:
        return mark

    def synchronise(self) -> None:
        return


class CudaClock(Clock):
    """CUDA events, tied to the host's clock by one synchronised pair; the device's timer ticks every 0.5 µs.

    Times between events come in single precision, so a passed mark becomes the new origin every second.
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
        if elapsed_s > _ORIGIN_S:
            self._origin, self._origin_s = mark, at_s
        return at_s

    def synchronise(self) -> None:
        torch.cuda.synchronize(self._device)


def clock_for(device: torch.device) -> Clock:
    """Return the clock of a device."""
    return CudaClock(device) if device.type == "cuda" else HostClock()
