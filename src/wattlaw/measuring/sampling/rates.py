"""A thread for each speed of each meter, so that a slow or hanging device holds up no other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from wattlaw.core.errors import WattlawError
from wattlaw.devices.meter import Sample

_EDGE_WAIT_S = 1.0
_JUST_S = 0.1


class Lane:
    """Reads on an absolute schedule; a reading that takes too long skips its missed turns, it never bunches them."""

    def __init__(
        self, name: str, read: Callable[[], list[Sample]], period_s: float, sink: deque[Sample]
    ) -> None:
        self.name = name
        self.period_s = period_s
        self.trouble = ""
        self.turns = self.failures = self.skipped = 0
        self._read = read
        self._sink = sink
        self._busy = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._is_asked = False
        self._last = 0.0
        self._thread = threading.Thread(target=self._run, name=f"wattlaw-{name}", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; ``join`` waits for it, and for a reading that was asked for before."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False where it hangs in its device."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def read_now(self) -> bool:
        """Read at once, beside the schedule; False where the device still hangs in an earlier reading."""
        if not self._busy.acquire(timeout=_EDGE_WAIT_S):
            return False
        try:
            self._turn()
        finally:
            self._busy.release()
        return True

    def read_soon(self) -> None:
        """Have the thread read at once, beside the schedule, and wait for nothing; unless it has just read."""
        if time.monotonic() - self._last > _JUST_S:
            self._is_asked = True
            self._wake.set()

    def _run(self) -> None:
        due = time.monotonic() + self.period_s
        while not self._stop.is_set() or self._is_asked:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            is_asked, self._is_asked = self._is_asked, False
            if not is_asked and (self._stop.is_set() or time.monotonic() < due):
                continue
            with self._busy:
                self._turn()
            if is_asked:
                continue
            missed = int(max(0.0, time.monotonic() - due) / self.period_s)
            self.skipped += missed
            due += self.period_s * (1 + missed)

    def _turn(self) -> None:
        self.turns += 1
        self._last = time.monotonic()
        try:
            self._sink.extend(self._read())
        except (WattlawError, OSError, ValueError) as error:
            # one failed reading leaves its cells empty; the next turn tries again
            self.failures += 1
            self.trouble = str(error)
