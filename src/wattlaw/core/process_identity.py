"""Recognises a process later: process ids are reused, host names and clocks are not unique."""

from __future__ import annotations

import os
from pathlib import Path


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 for an ended one or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # the command name is in brackets and may itself contain blanks and brackets
    fields = stat.rpartition(b")")[2].split()
    has_ended = fields[0] in (b"Z", b"X")
    return 0 if has_ended else int(fields[19])


def machine_id() -> str:
    """Return the name of this boot and process namespace, within which process ids compare."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
