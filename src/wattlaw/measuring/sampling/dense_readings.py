"""Readings between the regular ones, only where they say more: a counter around a window's edges, power that jumps.

A counter shows its value at its last update, so a window's edge is known only as well as the updates around it.
After each edge, and every two seconds or so, the counter is therefore looked at every millisecond until it changes,
and the two readings around the change are kept. Where a device has no counter, its power is looked at between
the regular readings, and the two readings around each jump are kept. All of it takes at most ``SHARE`` of a core.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from wattlaw.core.errors import WattlawError
from wattlaw.devices.meter import DeviceInfo, Sample, lag_of

SHARE = 0.005
"""These readings take at most this share of one core, once a small credit is used up."""


_CREDIT_S = 0.1


_PIN_CREDIT_S = 0.06
"""CPU time that may be spent at once; only edges may use the last part of it."""


_LOOK_S = 0.001


_EDGE_S, _LEAST_EDGE_S = 0.25, 0.1


_PIN_AFTER_S, _PIN_GROWTH, _PIN_EVERY_S, _PIN_S = 0.2, 1.6, 2.0, 0.15
"""Looks between edges come at growing distances: each tells the update period well enough to span the next."""


_EDGE_CHANGES = 2


_FIRST_S, _FIRST_CHANGES = 0.45, 4


_POWER_S = 0.01


_JUMP_W, _JUMP_SHARE = 2.0, 0.02
"""A power reading that differs from the last kept one by more than both is a jump."""


_UPDATES_KNOWN, _MOST_PERIODS = 3, 100


class Dense:
    """Says when to look at the devices of one meter, and which readings to keep. Times are monotonic s."""

    def __init__(self, devices: Sequence[DeviceInfo], now: float) -> None:
        self.counters = {d.id for d in devices if d.energy == "counter"}
        self.powers = {d.id for d in devices if d.energy == "power"}
        self.lag_s = max((d.lag_s for d in devices if d.energy == "power"), default=0.0)
        self.edge_at = self.until = self._charged = now
        self.wanted = dict.fromkeys(self.counters, 0)
        self.spent_s = 0.0
        self._pin_distance_s = _PIN_AFTER_S
        self._next_pin = now + _PIN_AFTER_S
        self._awaited: set[str] = set()
        self._last: dict[str, Sample] = {}
        self._kept: dict[str, float] = {}
        self._changed_at: dict[str, float] = {}
        self._periods: dict[str, list[float]] = {}
        # a longer look at first tells the update period
        self._begin(now, _FIRST_S, _FIRST_CHANGES)

    def edge(self, now: float) -> None:
        """Look closely from now on: a window begins or ends."""
        self._begin(now, _EDGE_S, _EDGE_CHANGES)
        self.edge_at, self._awaited = now, set(self.counters)

    def is_settled(self, now: float) -> bool:
        """Say whether all that the last edge needs has been seen."""
        if now < self.edge_at + self.lag_s:
            return False
        return now >= self.until or not self._awaited

    def due(self, now: float) -> float:
        """Return when to look next."""
        self.spent_s = max(0.0, self.spent_s - SHARE * (now - self._charged))
        self._charged = now
        if self.spent_s > _CREDIT_S:
            return now + (self.spent_s - _CREDIT_S) / SHARE
        if now < self.until:
            return now + _LOOK_S
        power = now + _POWER_S if self.powers else math.inf
        return min(power, max(now, self._next_pin)) if self.counters else power

    def take(self, samples: list[Sample], now: float, cost_s: float) -> list[Sample]:
        """Note what was read at the cost of some CPU time; return what is to be kept."""
        self.spent_s += cost_s
        if now >= self.until and now >= self._next_pin and self.counters:
            self._next_pin = now + self._pin_distance_s
            self._pin_distance_s = min(_PIN_EVERY_S, _PIN_GROWTH * self._pin_distance_s)
            if self.spent_s < _CREDIT_S - _PIN_CREDIT_S:
                self._begin(now, _PIN_S, 1)
        kept: list[Sample] = []
        for sample in samples:
            last = self._last.get(sample.device)
            self._last[sample.device] = sample
            if last is not None:
                kept += (
                    self._counter(last, sample)
                    if sample.device in self.counters
                    else self._power(last, sample)
                )
        has_all = not self.powers and not any(self.wanted.values())
        if has_all and not self.edge_at <= now < self.edge_at + _LEAST_EDGE_S:
            self.until = min(self.until, now)
        return kept

    def learned(self, device: DeviceInfo) -> DeviceInfo:
        """Return what is known of a device, with its update period as it was seen."""
        seen = sorted(self._periods.get(device.id, []))
        if len(seen) < _UPDATES_KNOWN:
            return device
        # several periods lie between two changes where a value happened to stay
        single = [period for period in seen if period < 1.5 * seen[len(seen) // 4]]
        update_s = round(single[len(single) // 2], 4)
        is_assumed = device.update_s is not None and device.lag_s == lag_of(device.update_s)
        return msgspec.structs.replace(
            device, update_s=update_s, lag_s=lag_of(update_s) if is_assumed else device.lag_s
        )

    def _begin(self, now: float, span_s: float, wanted: int) -> None:
        if now >= self.until:
            # what was read before the pause says nothing of when a change came
            self._last.clear()
            self._changed_at.clear()
        self.until = max(self.until, now + span_s)
        self.wanted = {d: max(n, wanted) for d, n in self.wanted.items()}

    def _counter(self, last: Sample, sample: Sample) -> list[Sample]:
        if sample.energy_j == last.energy_j or sample.time_s - last.time_s > 20 * _LOOK_S:
            return []
        self.wanted[sample.device] = max(0, self.wanted[sample.device] - 1)
        self._awaited.discard(sample.device)
        self._see_period(sample)
        return [last, sample]

    def _power(self, last: Sample, sample: Sample) -> list[Sample]:
        if sample.power_w is None or last.power_w is None:
            return []
        if sample.power_w != last.power_w:
            self._see_period(sample)
        before = self._kept.setdefault(sample.device, last.power_w)
        if abs(sample.power_w - before) <= max(_JUMP_W, _JUMP_SHARE * before):
            return []
        self._kept[sample.device] = sample.power_w
        return [last, sample]

    def _see_period(self, sample: Sample) -> None:
        """Learn the update period from neighbouring changes, both seen to a millisecond or so."""
        is_close = sample.time_s < self.until
        before = self._changed_at.pop(sample.device, None)
        if is_close:
            self._changed_at[sample.device] = sample.time_s
        if before is None or not is_close:
            return
        seen = self._periods.setdefault(sample.device, [])
        if len(seen) < _MOST_PERIODS:
            seen.append(sample.time_s - before)


class DenseLane:
    """The thread that looks when a Dense says so. ``settle`` waits until an edge has been seen to its end."""

    def __init__(
        self, name: str, read: Callable[[], list[Sample]], rule: Dense, sink: deque[Sample]
    ) -> None:
        self.name = f"{name}-dense"
        self.rule = rule
        self._read, self._sink = read, sink
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"wattlaw-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def edge(self) -> None:
        """A window begins or ends now."""
        with self._lock:
            self.rule.edge(time.monotonic())
        self._wake.set()

    def settle(self) -> None:
        """Wait until all that the last edge needs has been read; 0.25 s at most, and not where a device hangs."""
        until = time.monotonic() + _EDGE_S
        while (now := time.monotonic()) < until and self._thread.is_alive():
            if self.rule.is_settled(now):
                return
            time.sleep(2 * _LOOK_S)

    def stop(self) -> None:
        """Ask the thread to end; ``join`` waits for it."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False where it hangs in its device."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        used = time.thread_time()
        while not self._stop.is_set():
            with self._lock:
                due = self.rule.due(time.monotonic())
            pause = due - time.monotonic()
            if pause > 5 * _LOOK_S:
                self._wake.wait(min(pause, 3600.0))
                self._wake.clear()
                if self._stop.is_set():
                    return
            elif pause > 0:
                time.sleep(pause)
            try:
                samples = self._read()
            except (WattlawError, OSError, ValueError):
                samples = []  # the regular readings tell of the trouble
            before, used = used, time.thread_time()
            with self._lock:
                self._sink.extend(self.rule.take(samples, time.monotonic(), used - before))
