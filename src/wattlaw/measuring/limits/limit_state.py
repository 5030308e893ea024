"""Which limits are set on the devices of this host, by whom, and what was there before.

There is one file for each device and limit, under a lock. While several wattlaws limit one
device, the newest one's value is in force. When one ends, the value of the one before it is
restored, and after the last the value that the first one found. A holder that was killed together
with its guard is noticed by the next one, which then keeps the value that the killed one had found.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from wattlaw.core.errors import DeviceError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.process_identity import start_ticks
from wattlaw.devices.control import Control
from wattlaw.measuring.files.host_files import boot_id

FOLDER = "WATTLAW_STATE"

_TMP = Path("/tmp")
"""Not $TMPDIR, which is each job's own on many clusters: jobs on one device must see each other."""

_TOLERANCE = 0.005
"""Limits that differ by a smaller share are equal: drivers round."""


class LimitHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that set a limit: the guard that will restore it, and the value that was set."""

    token: str
    pid: int
    start: int
    value: float


class HeldLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that is set. ``previous`` is what the first holder found; None is no limit."""

    device: str
    control: str
    boot_id: str
    previous: float | None
    holders: tuple[LimitHolder, ...] = ()

    def is_held_by(self, token: str) -> bool:
        """Return whether a token holds it."""
        return any(h.token == token for h in self.holders)

    def living_holders(self) -> tuple[LimitHolder, ...]:
        """Return the holders whose guards are alive."""
        return tuple(h for h in self.holders if is_alive(h))


def state_folder() -> Path:
    """Return the folder of these files: $WATTLAW_STATE, /run/wattlaw for root, or a user's own."""
    folder = os.environ.get(FOLDER)
    if folder:
        return Path(folder)
    return Path("/run/wattlaw") if os.geteuid() == 0 else _TMP / f"wattlaw-limits-{os.geteuid()}"


def take_limit(
    control: Control, name: str, device: str, value: float, token: str, guard: int
) -> float | None:
    """Set a limit for a holder after its previous value is on disk; return the previous value.

    Raises PermissionDeniedError or DeviceError if the device refuses; then nothing is held.
    """
    with _locked(name, device) as path:
        now = control.read(device)
        held = _read(path)
        previous = _value_to_restore(held, now)
        living = held.living_holders() if held else ()
        new = LimitHolder(token=token, pid=guard, start=start_ticks(guard), value=value)
        _write(
            path,
            HeldLimit(
                device=device,
                control=name,
                boot_id=boot_id(),
                previous=previous,
                holders=(*living, new),
            ),
        )
        try:
            control.write(device, value)
        except DeviceError:
            # nothing was set: restore the file
            if held:
                _write(path, held)
            else:
                path.unlink()
            raise
        return previous


def restore_limit(control: Control, name: str, device: str, token: str) -> None:
    """End a holder's limit: restore the newest other holder's value, or the one before the first.

    Nothing happens if the token holds no limit. Raises PermissionDeniedError or DeviceError
    if the device refuses; then the file stays, and the next wattlaw on the device tries again.
    """
    with _locked(name, device) as path:
        held = _read(path)
        if held is None or not held.is_held_by(token):
            return
        others = tuple(h for h in held.living_holders() if h.token != token)
        if not others:
            control.write(device, held.previous)
            path.unlink()
            return
        if held.holders[-1] != others[-1]:
            # the value in force is this holder's, or that of one killed together with its guard
            control.write(device, others[-1].value)
        _write(path, msgspec.structs.replace(held, holders=others))


def limits_of(token: str) -> list[HeldLimit]:
    """Return the limits on this host that a token holds."""
    return [held for held in _all() if held.is_held_by(token)]


def abandoned_limits() -> list[HeldLimit]:
    """Return the limits on this host whose guards all died without restoring them."""
    return [held for held in _all() if not held.living_holders()]


def is_alive(holder: LimitHolder) -> bool:
    """Return whether a holder's guard is alive; a reused PID does not count."""
    return start_ticks(holder.pid) == holder.start != 0


def _value_to_restore(held: HeldLimit | None, now: float | None) -> float | None:
    """Return the value to restore in the end: what the first holder found, unless another program
    has set a value since."""
    if held is None:
        return now
    last = held.holders[-1].value if held.holders else None
    is_unchanged = now is None or last is None or abs(now - last) <= _TOLERANCE * last
    return held.previous if is_unchanged or held.living_holders() else now


def _all() -> list[HeldLimit]:
    files = [_read(path) for path in sorted(state_folder().glob("*.json"))]
    return [held for held in files if held]


def _read(path: Path) -> HeldLimit | None:
    """Read a file. One of an earlier boot is void: a reboot resets every limit."""
    try:
        held = msgspec.json.decode(path.read_bytes(), type=HeldLimit)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # files are written by rename, so someone edited it; trust the device instead
    return held if held.boot_id == boot_id() else None


def _write(path: Path, held: HeldLimit) -> None:
    write_whole(path, msgspec.json.encode(held))


@contextlib.contextmanager
def _locked(name: str, device: str) -> Iterator[Path]:
    folder = make_folder(state_folder())
    path = folder / f"{device}.{name}.json"
    with explained(path), open(path.with_suffix(".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it even after SIGKILL
        yield path
