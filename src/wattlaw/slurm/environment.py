"""What a Slurm allocation means for measuring: whose node it is, and where this process stands in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def is_step() -> bool:
    """Return whether this process is a task that srun started."""
    return "SLURM_JOB_ID" in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ


def starts_step(words: Sequence[str]) -> bool:
    """Return whether a command hands its work to the nodes of this allocation, away from this process."""
    return (
        "SLURM_JOB_ID" in os.environ
        and not is_step()
        and bool(words)
        and Path(words[0]).name == "srun"
    )


def options_of_srun(words: Sequence[str]) -> list[str]:
    """Return the long options of a command of srun that stand before its program, each with its "=value" if any.

    An option's value may stand apart, so what looks like a program may be one: all words up to "--" or to the
    first that comes after a word without a dash are taken.
    """
    found: list[str] = []
    is_value = False
    for word in words[1:]:
        if word == "--" or (not word.startswith("-") and is_value):
            break
        is_value = not word.startswith("-")
        found += [word] if word.startswith("--") else []
    return found


def nodes_of_job() -> int:
    """Return how many nodes the allocation has."""
    return _count("SLURM_JOB_NUM_NODES")


def nodes_of_step() -> int:
    """Return on how many nodes this step runs."""
    return _count("SLURM_STEP_NUM_NODES")


def job_id() -> str:
    """Return the job's number; "" outside Slurm."""
    return os.environ.get("SLURM_JOB_ID", "")


def restart_count() -> int:
    """Return how often the job was requeued after it had started; 0 outside Slurm."""
    text = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(text) if text.isdigit() else 0


def why_gpus_unread(seen: int) -> str:
    """Return why this task's sampler sees fewer GPUs than its step holds on the node; "" where it sees all.

    With --gpus-per-task, or GPUs bound to tasks, each task sees its own, and one task reads for all.
    """
    held = _count("SLURM_GPUS_ON_NODE")
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
    if not is_step() or not 0 < seen < held or tasks.split("(")[0].split(",")[0] == "1":
        return ""
    return (
        f"{held - seen} of the step's {held} GPUs are bound to other tasks and were not read; "
        "use `wattlaw measure -- srun …`, or srun's --gpu-bind=none"
    )


def why_shared() -> str:
    """Return why this node's own energy is not the job's alone; "" where it is, or outside Slurm."""
    job, mine, total = (
        os.environ.get("SLURM_JOB_ID"),
        os.environ.get("SLURM_CPUS_ON_NODE", ""),
        os.cpu_count(),
    )
    if not job or not mine.isdigit() or total is None or int(mine) >= total:
        return ""
    return f"Slurm job {job} holds {mine} of the {total} CPUs of this node"


def gpus_of_job(count: int) -> list[int]:
    """Return which of the GPUs that the driver shows are the job's, where no CUDA_VISIBLE_DEVICES says so.

    Outside Slurm all are. A step's own list holds; a batch script has its job's. Where a control group hides the
    others, what is left is numbered anew, so all that is shown is the job's. A job that was given no GPU has
    none, unless it holds the whole node: there Slurm may not know of GPUs at all.
    """
    everything = list(range(count))
    if "SLURM_JOB_ID" not in os.environ:
        return everything
    # in a step SLURM_JOB_GPUS is still the first node's
    name = "SLURM_STEP_GPUS" if "SLURM_STEP_NUM_TASKS" in os.environ else "SLURM_JOB_GPUS"
    listed = [int(part) for part in os.environ.get(name, "").split(",") if part.isdigit()]
    if not listed:
        return [] if why_shared() else everything
    return listed if max(listed) < count and len(listed) < count else everything


def _count(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 1
