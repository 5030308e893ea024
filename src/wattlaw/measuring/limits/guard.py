"""The small process that restores limits, whatever happens to the process that set them.

`python -m wattlaw.measuring.limits.guard` reads its instructions, one JSON line, from standard
input and waits. It restores every limit of its token when its standard input closes, when its
parent ends (also by SIGKILL), or on SIGTERM. It imports little and does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import WattlawError
from wattlaw.core.plugins import CONTROLS, load
from wattlaw.devices.control import CheckedControl, Control
from wattlaw.measuring.limits.limit_state import (
    HeldLimit,
    abandoned_limits,
    limits_of,
    restore_limit,
)

_POLL_MS = 500
_TRIES = 4
_RETRY_S = 0.1


class Guard(NamedTuple):
    """A process that will restore every limit of its token; ``excluded`` are its helpers.

    None of these processes is part of the measured job.
    """

    token: str
    pid: int
    excluded: tuple[int, ...] = ()


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The token whose limits to restore, and the process whose end to wait for."""

    token: str
    parent: int


def restore(token: str) -> list[str]:
    """Restore the limits of a token on this host; return a message per failure."""
    return _restore([(held, token) for held in limits_of(token)])


def restore_abandoned() -> list[str]:
    """Restore the limits on this host whose guards were killed; return a message per failure."""
    return _restore([(held, held.holders[-1].token) for held in abandoned_limits() if held.holders])


@contextlib.contextmanager
def open_control(name: str) -> Iterator[Control]:
    """Open a control by name. Raises UnknownNameError or DeviceError."""
    control = CheckedControl(name, lambda: load(CONTROLS, name)())
    try:
        yield control
    finally:
        control.close()


def report_failures(failures: list[str]) -> None:
    """Print the limits that could not be restored on standard error."""
    for text in failures:
        print(f"wattlaw: a limit could not be restored: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Wait for the end of the parent, then restore everything; return 1 if that failed."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    print("ready", flush=True)
    _wait_for_end(orders.parent, signals)
    failures = restore(orders.token)
    report_failures(failures)
    return int(bool(failures))


def _restore(limits: Sequence[tuple[HeldLimit, str]]) -> list[str]:
    """Restore limits, several times if a driver refuses: no other process will."""
    failures = _try_to_restore(limits)
    for _ in range(_TRIES - 1):
        if failures:
            time.sleep(_RETRY_S)
            failures = _try_to_restore(limits)
    return failures


def _try_to_restore(limits: Sequence[tuple[HeldLimit, str]]) -> list[str]:
    failures: list[str] = []
    for name in dict.fromkeys(held.control for held, _ in limits):
        try:
            with open_control(name) as control:
                for held, token in limits:
                    if held.control == name:
                        failures += _restore_one(control, name, held.device, token)
        except WattlawError as error:
            failures.append(f"{name}: {error}")
    return failures


def _restore_one(control: Control, name: str, device: str, token: str) -> list[str]:
    try:
        restore_limit(control, name, device, token)
    except WattlawError as error:
        return [f"{name} of {device}: {error}"]
    return []


def _wait_for_end(parent: int, signals: list[int]) -> None:
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    # without pidfd_open (Linux before 5.3) the check of the parent twice a second is enough
    with contextlib.suppress(OSError):
        poll.register(os.pidfd_open(parent), select.POLLIN)
    while not signals and os.getppid() == parent:
        if poll.poll(_POLL_MS):
            return


if __name__ == "__main__":
    raise SystemExit(main())
