"""Who has set which limit on which device of this host, and what was there before the first of them.

One file a device and limit, under a lock. While several wattlaws hold limits on one device the newest
one's value is in force; as they end, the one before it comes back, and after the last the value that the
first one found. A holder that was killed together with its guard is found dead by the next one, which
then takes over the value that it had found.
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
from wattlaw.devices.control import Control
from wattlaw.measuring.files.host_files import boot_id

FOLDER = "WATTLAW_STATE"

_TMP = Path("/tmp")
"""Not $TMPDIR, which is each job's own on many clusters: two jobs on one device must see each other."""

_CLOSE = 0.005
"""Limits that differ by less than this share are the same: drivers round."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One who has set a limit: the guard that will put it back, and the value that it set."""

    token: str
    pid: int
    start: int
    value: float


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that is set. ``previous`` is what the first holder found; None is no limit."""

    device: str
    control: str
    boot_id: str
    previous: float | None
    holders: tuple[Holder, ...] = ()


def state_folder() -> Path:
    """Return where limits are noted: $WATTLAW_STATE, /run/wattlaw for root, else a folder of this user's own."""
    given = os.environ.get(FOLDER)
    if given:
        return Path(given)
    return Path("/run/wattlaw") if os.geteuid() == 0 else _TMP / f"wattlaw-limits-{os.geteuid()}"


def take(
    control: Control, name: str, device: str, value: float, token: str, guard: int
) -> float | None:
    """Set a limit for a holder, after its previous value is safely on disk; return that value.

    Raises PermissionDeniedError or DeviceError where the device refuses; then nothing is held.
    """
    with _locked(name, device) as path:
        now = control.read(device)
        held = _read(path)
        previous = _first_previous(held, now)
        alive = tuple(h for h in held.holders if is_alive(h)) if held else ()
        mine = Holder(token=token, pid=guard, start=start_of(guard), value=value)
        _write(
            path,
            Held(
                device=device,
                control=name,
                boot_id=boot_id(),
                previous=previous,
                holders=(*alive, mine),
            ),
        )
        try:
            control.write(device, value)
        except DeviceError:
            # nothing was set: the note is again what it was
            if held:
                _write(path, held)
            else:
                path.unlink()
            raise
        return previous


def give_back(control: Control, name: str, device: str, token: str) -> None:
    """End a holder's limit: the newest other holder's comes back, else the value that the first one found.

    A token that holds nothing is none of our business. Raises PermissionDeniedError or DeviceError where
    the device refuses; then the note stays, and the next wattlaw on the device tries again.
    """
    with _locked(name, device) as path:
        held = _read(path)
        if held is None or all(h.token != token for h in held.holders):
            return
        alive = tuple(h for h in held.holders if h.token == token or is_alive(h))
        others = tuple(h for h in alive if h.token != token)
        if not others:
            control.write(device, held.previous)
            path.unlink()
            return
        if held.holders[-1] != others[-1]:
            # this one's own value is in force, or that of one who was killed with its guard
            control.write(device, others[-1].value)
        _write(path, msgspec.structs.replace(held, holders=others))


def held_by(token: str) -> list[Held]:
    """Return the limits on this host that a token holds."""
    return [held for held in _all() if any(h.token == token for h in held.holders)]


def left_behind() -> list[Held]:
    """Return the limits on this host whose holders all died without putting them back."""
    return [held for held in _all() if not any(map(is_alive, held.holders))]


def is_alive(holder: Holder) -> bool:
    """Return whether a holder's guard still lives; a number that another process got since does not count."""
    return start_of(holder.pid) == holder.start != 0


def start_of(pid: int) -> int:
    """Return when a process started, in ticks since boot; 0 where there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _first_previous(held: Held | None, now: float | None) -> float | None:
    """Return the value to put back in the end: what the first holder found, unless somebody else set another since."""
    if held is None:
        return now
    last = held.holders[-1].value if held.holders else None
    is_ours = now is None or last is None or abs(now - last) <= _CLOSE * last
    return held.previous if is_ours or any(map(is_alive, held.holders)) else now


def _all() -> list[Held]:
    return [held for path in sorted(state_folder().glob("*.json")) if (held := _read(path))]


def _read(path: Path) -> Held | None:
    """Read a note. One of an earlier boot is void: a reboot sets every limit back."""
    try:
        held = msgspec.json.decode(path.read_bytes(), type=Held)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # written by rename, so only a hand has broken it; the device itself is the truth then
    return held if held.boot_id == boot_id() else None


def _write(path: Path, held: Held) -> None:
    write_whole(path, msgspec.json.encode(held))


@contextlib.contextmanager
def _locked(name: str, device: str) -> Iterator[Path]:
    folder = make_folder(state_folder())
    path = folder / f"{device}.{name}.json"
    with explained(path), open(path.with_suffix(".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it even after SIGKILL
        yield path
