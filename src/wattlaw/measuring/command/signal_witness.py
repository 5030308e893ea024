"""Tells a signal that was sent to this process alone from one that was sent to all of its process group.

The terminal and `timeout` send a signal to the whole group: the command has it already, and passed on it would have
it twice. `kill`, and Slurm that tracks processes by control group, send it to this process alone: the command has
it only when it is passed on. A small process in the same group, which blocks every signal, shows which it was: what
the group was sent waits there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_WAIT_S = 0.005
"""A group's signal may reach this process so much earlier than the witness."""

_PROGRAM = """
import os, _signal
while os.read(0, 1):
    while _signal.sigtimedwait(_signal.valid_signals(), 0):
        pass
"""


class Witness:
    """The small process. It ends with ``close``, and with this process however that ends. Raises OSError."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        listening, self._told = os.pipe()
        nothing = (
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        )
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, listening, 0), *nothing],
                setsigmask=signal.valid_signals(),
            )
        except OSError:
            os.close(self._told)
            raise
        finally:
            os.close(listening)

    def saw(self, number: int) -> bool:
        """Say whether a signal that has just come here came to the group."""
        if not self._waits(number):
            time.sleep(_WAIT_S)
            if not self._waits(number):
                return False
        self.forget()
        return True

    def forget(self) -> None:
        """Have the witness drop what it was sent up to now."""
        with suppress(OSError):  # it was killed: then nothing is seen any more
            os.write(self._told, b".")

    def close(self) -> None:
        """End it; a child that was forked since only lets go of it."""
        os.close(self._told)
        if os.getpid() != self._owner:
            return
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _waits(self, number: int) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return False
        pending = status.partition(b"\nShdPnd:")[2].split(None, 1)
        return bool(pending) and bool(int(pending[0], 16) >> (number - 1) & 1)


@contextmanager
def witnessed() -> Iterator[Witness | None]:
    """Give a witness as long as this lasts; None where the system allows no more processes."""
    try:
        witness = Witness()
    except OSError:
        yield None
        return
    try:
        yield witness
    finally:
        witness.close()
