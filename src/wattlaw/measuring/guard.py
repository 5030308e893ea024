"""The small process that puts limits back, whatever becomes of the one that set them.

`python -m wattlaw.measuring.guard` reads its orders, one JSON line, from standard input, then waits. It puts
every limit of its token back when it is told to, when its parent is gone (also by SIGKILL), or when it
is itself asked to end. It imports little and does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator

import msgspec

from wattlaw.core.errors import WattlawError
from wattlaw.core.plugins import load
from wattlaw.devices.control import Control
from wattlaw.measuring.limit_state import give_back

ROOM = "wattlaw.devices.controls"

_LOOK_MS = 500


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What to put back: limits by control name on devices by UUID, all held under one token."""

    token: str
    parent: int
    limits: tuple[tuple[str, str], ...]


def put_back(orders: Orders) -> list[str]:
    """Put every limit of a token back; return what failed, in words."""
    troubles: list[str] = []
    for name in dict.fromkeys(name for name, _ in orders.limits):
        try:
            with opened(name) as control:
                for device in [d for n, d in orders.limits if n == name]:
                    troubles += _put_one_back(control, name, device, orders.token)
        except WattlawError as error:
            troubles.append(f"{name}: {error}")
    return troubles


@contextlib.contextmanager
def opened(name: str) -> Iterator[Control]:
    """Open a control by name. Raises UnknownNameError or DeviceError."""
    control: Control = load(ROOM, "control", name)()
    try:
        yield control
    finally:
        control.close()


def main() -> int:
    """Wait for the end of the parent, then put everything back."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    print("ready", flush=True)
    _wait(orders.parent, told)
    troubles = put_back(orders)
    for text in troubles:
        print(f"wattlaw: a limit could not be put back: {text}", file=sys.stderr)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, b"put back\n" if not troubles else b"failed\n")
    return 1 if troubles else 0


def _put_one_back(control: Control, name: str, device: str, token: str) -> list[str]:
    try:
        give_back(control, name, device, token)
    except WattlawError as error:
        return [f"{name} of {device}: {error}"]
    return []


def _wait(parent: int, told: list[int]) -> None:
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    with contextlib.suppress(OSError):  # an older kernel: the look at the parent twice a second must do
        poll.register(os.pidfd_open(parent), select.POLLIN)
    while not told and os.getppid() == parent:
        if poll.poll(_LOOK_MS):
            return


if __name__ == "__main__":
    raise SystemExit(main())
