"""The small process that puts limits back, whatever becomes of the one that set them.

`python -m wattlaw.measuring.limits.guard` reads its orders, one JSON line, from standard input, then waits. It puts
every limit of its token back when it is told to, when its parent is gone (also by SIGKILL), or when it
is itself asked to end. It imports little and does nothing else.
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
from wattlaw.devices.control import Control
from wattlaw.measuring.limits.limit_state import Held, give_back, held_by, left_behind

_LOOK_MS = 500
_TRIES = 4
_AGAIN_S = 0.1


class Guard(NamedTuple):
    """A process that will put back every limit that is held under its token; ``apart`` is no part of the job either."""

    token: str
    pid: int
    apart: tuple[int, ...] = ()


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Whose limits to put back, and whose end to wait for."""

    token: str
    parent: int


def put_back(token: str) -> list[str]:
    """Put every limit of a token on this host back; return what failed, in words."""
    return _put_back([(held, token) for held in held_by(token)])


def put_back_left_behind() -> list[str]:
    """Put back every limit on this host whose guard was killed; return what failed, in words."""
    return _put_back([(held, held.holders[-1].token) for held in left_behind() if held.holders])


def _put_back(what: Sequence[tuple[Held, str]]) -> list[str]:
    """Put limits back, again where a driver refuses now and then: nobody else will."""
    troubles = _try_once(what)
    for _ in range(_TRIES - 1):
        if troubles:
            time.sleep(_AGAIN_S)
            troubles = _try_once(what)
    return troubles


def _try_once(what: Sequence[tuple[Held, str]]) -> list[str]:
    troubles: list[str] = []
    for name in dict.fromkeys(held.control for held, _ in what):
        try:
            with opened(name) as control:
                for device, token in [(h.device, t) for h, t in what if h.control == name]:
                    troubles += _put_one_back(control, name, device, token)
        except WattlawError as error:
            troubles.append(f"{name}: {error}")
    return troubles


@contextlib.contextmanager
def opened(name: str) -> Iterator[Control]:
    """Open a control by name. Raises UnknownNameError or DeviceError."""
    control: Control = load(CONTROLS, name)()
    try:
        yield control
    finally:
        control.close()


def tell_troubles(troubles: list[str]) -> None:
    """Say on standard error which limits could not be put back."""
    for text in troubles:
        print(f"wattlaw: a limit could not be put back: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Wait for the end of the parent, then put everything back."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    print("ready", flush=True)
    _wait(orders.parent, told)
    troubles = put_back(orders.token)
    tell_troubles(troubles)
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
    with contextlib.suppress(
        OSError
    ):  # an older kernel: the look at the parent twice a second must do
        poll.register(os.pidfd_open(parent), select.POLLIN)
    while not told and os.getppid() == parent:
        if poll.poll(_LOOK_MS):
            return


if __name__ == "__main__":
    raise SystemExit(main())
