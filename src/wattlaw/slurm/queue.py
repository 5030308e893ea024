"""The state of a job in Slurm's queue."""

from __future__ import annotations

import subprocess

_NOT_ACTIVE = ("", "PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_TIMEOUT_S = 30.0


def is_active(job: str) -> bool | None:
    """Return whether a job has processes: it is in the queue and not waiting to start.

    None if squeue cannot be asked.
    """
    words = ["squeue", "--noheader", "--jobs", job, "--format", "%T"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return False if "Invalid job id" in done.stderr else None
    return done.stdout.strip() not in _NOT_ACTIVE
