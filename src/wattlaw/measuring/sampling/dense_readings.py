"""Extra readings between the regular ones, only where they add information.

A counter shows its value at its last update, so a window's edge is known only as precisely as the
updates around it. After each edge, and every two seconds or so, the counter is therefore read every
millisecond until it changes, and the two readings around the change are kept. A device without a
counter has its power read between the regular readings, and the two readings around each jump are
kept. All this takes at most ``CPU_SHARE`` of one core.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from wattlaw.core.polling import wait_until
from wattlaw.devices.meter import DeviceInfo, Sample, lag_of

CPU_SHARE = 0.005
"""Largest share of one core for these readings, once a small credit is used up."""

_CREDIT_S = 0.1
_PIN_CREDIT_S = 0.06
"""CPU time that may be spent in advance; its last part is reserved for edges."""

_READ_EVERY_S = 0.001
_EDGE_S, _MIN_EDGE_S = 0.25, 0.1
_PIN_AFTER_S, _PIN_GROWTH, _PIN_EVERY_S, _PIN_S = 0.2, 1.6, 2.0, 0.15
"""Looks between edges come at growing intervals: each period found helps to bridge the next."""

_EDGE_CHANGES = 2
_FIRST_S, _FIRST_CHANGES = 0.45, 4

_POWER_EVERY_S = 0.01
_JUMP_W, _JUMP_SHARE = 2.0, 0.02
"""A power reading that differs from the last kept one by more than both is a jump."""

_MIN_PERIODS, _MAX_PERIODS = 3, 100


class DenseSchedule:
    """Decides when to read the devices of one meter, and which readings to keep.

    Times are in s on the monotonic clock. A *look* is a period of readings every millisecond.
    """

    def __init__(self, devices: Sequence[DeviceInfo], now: float) -> None:
        self.counters = {d.id for d in devices if d.energy == "counter"}
        self.powers = {d.id for d in devices if d.energy == "power"}
        self.lag_s = max((d.lag_s for d in devices if d.energy == "power"), default=0.0)
        self.edge_at = self.look_until = self._charged = now
        self.missing_changes = dict.fromkeys(self.counters, 0)
        self.spent_s = 0.0
        self._pin_distance_s = _PIN_AFTER_S
        self._next_pin = now + _PIN_AFTER_S
        self._unchanged_since_edge: set[str] = set()
        self._last: dict[str, Sample] = {}
        self._kept_power: dict[str, float] = {}
        self._changed_at: dict[str, float] = {}
        self._periods: dict[str, list[float]] = {}
        # a longer first look finds the update period
        self._begin_look(now, _FIRST_S, _FIRST_CHANGES)

    def edge(self, now: float) -> None:
        """Begin a look: a window begins or ends now."""
        self._begin_look(now, _EDGE_S, _EDGE_CHANGES)
        self.edge_at, self._unchanged_since_edge = now, set(self.counters)

    def is_settled(self, now: float) -> bool:
        """Return whether all readings that the last edge needs were taken."""
        if now < self.edge_at + self.lag_s:
            return False
        return now >= self.look_until or not self._unchanged_since_edge

    def due(self, now: float) -> float:
        """Return when to read next."""
        self.spent_s = max(0.0, self.spent_s - CPU_SHARE * (now - self._charged))
        self._charged = now
        if self.spent_s > _CREDIT_S:
            return now + (self.spent_s - _CREDIT_S) / CPU_SHARE
        if now < self.look_until:
            return now + _READ_EVERY_S
        next_power = now + _POWER_EVERY_S if self.powers else math.inf
        return min(next_power, max(now, self._next_pin)) if self.counters else next_power

    def take(self, samples: list[Sample], now: float, cost_s: float) -> list[Sample]:
        """Note readings and the CPU time that they took; return those to keep."""
        self.spent_s += cost_s
        if self.counters and now >= self.look_until and now >= self._next_pin:
            self._next_pin = now + self._pin_distance_s
            self._pin_distance_s = min(_PIN_EVERY_S, _PIN_GROWTH * self._pin_distance_s)
            if self.spent_s < _CREDIT_S - _PIN_CREDIT_S:
                self._begin_look(now, _PIN_S, 1)
        kept: list[Sample] = []
        for sample in samples:
            last = self._last.get(sample.device)
            self._last[sample.device] = sample
            if last is None:
                continue
            is_counter = sample.device in self.counters
            kept += (
                self._around_change(last, sample) if is_counter else self._around_jump(last, sample)
            )
        has_all = not self.powers and not any(self.missing_changes.values())
        if has_all and not self.edge_at <= now < self.edge_at + _MIN_EDGE_S:
            self.look_until = min(self.look_until, now)
        return kept

    def with_observed_period(self, device: DeviceInfo) -> DeviceInfo:
        """Return a device with its update period as observed, s."""
        periods = sorted(self._periods.get(device.id, []))
        if len(periods) < _MIN_PERIODS:
            return device
        # if a value did not change in an update, several periods lie between two changes
        single = [period for period in periods if period < 1.5 * periods[len(periods) // 4]]
        update_s = round(single[len(single) // 2], 4)
        is_lag_assumed = device.update_s is not None and device.lag_s == lag_of(device.update_s)
        lag_s = lag_of(update_s) if is_lag_assumed else device.lag_s
        return msgspec.structs.replace(device, update_s=update_s, lag_s=lag_s)

    def _begin_look(self, now: float, duration_s: float, changes: int) -> None:
        if now >= self.look_until:
            # readings from before the pause do not show when a change came
            self._last.clear()
            self._changed_at.clear()
        self.look_until = max(self.look_until, now + duration_s)
        for device, count in self.missing_changes.items():
            self.missing_changes[device] = max(count, changes)

    def _around_change(self, last: Sample, sample: Sample) -> list[Sample]:
        is_far = sample.time_s - last.time_s > 20 * _READ_EVERY_S
        if sample.energy_j == last.energy_j or is_far:
            return []
        self.missing_changes[sample.device] = max(0, self.missing_changes[sample.device] - 1)
        self._unchanged_since_edge.discard(sample.device)
        self._note_change(sample)
        return [last, sample]

    def _around_jump(self, last: Sample, sample: Sample) -> list[Sample]:
        if sample.power_w is None or last.power_w is None:
            return []
        if sample.power_w != last.power_w:
            self._note_change(sample)
        before = self._kept_power.setdefault(sample.device, last.power_w)
        if abs(sample.power_w - before) <= max(_JUMP_W, _JUMP_SHARE * before):
            return []
        self._kept_power[sample.device] = sample.power_w
        return [last, sample]

    def _note_change(self, sample: Sample) -> None:
        """Note the update period between two neighbouring changes, both known to a millisecond."""
        is_in_look = sample.time_s < self.look_until
        before = self._changed_at.pop(sample.device, None)
        if not is_in_look:
            return
        self._changed_at[sample.device] = sample.time_s
        periods = self._periods.setdefault(sample.device, [])
        if before is not None and len(periods) < _MAX_PERIODS:
            periods.append(sample.time_s - before)


class DenseThread:
    """The thread that reads when a DenseSchedule says so."""

    def __init__(
        self,
        meter: str,
        read: Callable[[], list[Sample]],
        schedule: DenseSchedule,
        sink: deque[Sample],
    ) -> None:
        self.meter = meter
        self.schedule = schedule
        self._read, self._sink = read, sink
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"wattlaw-{meter}-dense", daemon=True
        )

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def edge(self) -> None:
        """Note that a window begins or ends now."""
        with self._lock:
            self.schedule.edge(time.monotonic())
        self._wake.set()

    def settle(self) -> None:
        """Wait up to 0.25 s for the readings that the last edge needs."""

        def is_settled() -> bool:
            return self.schedule.is_settled(time.monotonic()) or not self._thread.is_alive()

        wait_until(is_settled, _EDGE_S, every_s=2 * _READ_EVERY_S)

    def stop(self) -> None:
        """Tell the thread to end; ``join`` waits for it."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; False if it hangs in its device."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        used_s = time.thread_time()
        while not self._stop.is_set():
            with self._lock:
                due = self.schedule.due(time.monotonic())
            pause_s = due - time.monotonic()
            if pause_s > 5 * _READ_EVERY_S:
                self._wake.wait(min(pause_s, 3600.0))
                self._wake.clear()
                if self._stop.is_set():
                    return
            elif pause_s > 0:
                time.sleep(pause_s)
            try:
                samples = self._read()
            except (Exception, SystemExit):
                samples = []  # the thread of the regular readings reports the trouble
            before_s, used_s = used_s, time.thread_time()
            with self._lock:
                kept = self.schedule.take(samples, time.monotonic(), used_s - before_s)
                self._sink.extend(kept)
