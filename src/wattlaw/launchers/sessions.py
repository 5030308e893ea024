"""Sessions of processes: who belongs to them, and how all of them are ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

import psutil

from wattlaw.core.polling import wait_until

GRACE_S = 3.0


def members(sessions: Iterable[int]) -> list[psutil.Process]:
    """Return the processes of sessions, and whatever descends from them, also where it left the session."""
    wanted = set(sessions)
    alive = [p for p in psutil.process_iter() if p.pid != os.getpid()]
    found = {p.pid: p for p in alive if _session(p.pid) in wanted}
    parents = {p.pid: _parent(p) for p in alive}
    # a child may stand before its parent, so go round until nobody joins
    while joining := [p for p in alive if p.pid not in found and parents[p.pid] in found]:
        found.update({p.pid: p for p in joining})
    return list(found.values())


def end(sessions: Iterable[int], grace_s: float = GRACE_S) -> None:
    """Ask all processes of sessions to end; kill those that have not after ``grace_s``. Returns when they are gone."""
    family = {p.pid: p for p in members(sessions)}
    _signal(family.values(), signal.SIGTERM)
    wait_until(lambda: not any(map(_is_alive, family.values())), grace_s, every_s=0.02)
    # what was started in the meantime belongs to the family too
    family.update({p.pid: p for p in members(sessions)})
    _signal(filter(_is_alive, family.values()), signal.SIGKILL)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # psutil compares start times, so a number that the system gave to another process is safe
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return -1
