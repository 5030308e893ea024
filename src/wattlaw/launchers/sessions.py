"""Finds and ends all processes of a session, with everything that descends from them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

import psutil

from wattlaw.core.polling import wait_until

GRACE_S = 3.0


def members(sessions: Iterable[int]) -> list[psutil.Process]:
    """Return the processes of sessions, and descendants that have left their session."""
    ids = set(sessions)
    alive = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    parents = {process.pid: _parent(process) for process in alive}
    found = {process.pid: process for process in alive if _session(process.pid) in ids}
    # a child may come before its parent, so repeat until nothing is added
    while added := [p for p in alive if p.pid not in found and parents[p.pid] in found]:
        found.update({process.pid: process for process in added})
    return list(found.values())


def end(sessions: Iterable[int], grace_s: float = GRACE_S) -> None:
    """Send SIGTERM to all processes of sessions, and SIGKILL to those alive after ``grace_s``.

    Returns when they have ended.
    """
    family = {process.pid: process for process in members(sessions)}
    _signal(family.values(), signal.SIGTERM)
    wait_until(lambda: not any(map(_is_alive, family.values())), grace_s, every_s=0.02)
    # processes that were started in the meantime belong to the family too
    family.update({process.pid: process for process in members(sessions)})
    _signal(filter(_is_alive, family.values()), signal.SIGKILL)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # psutil compares start times, so that a reused process id is safe
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
