"""The environment of a Slurm job: its nodes, its GPUs, and whether this is a step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def is_step() -> bool:
    """Return whether this process is a task that srun started."""
    return "SLURM_JOB_ID" in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ


def starts_step(words: Sequence[str]) -> bool:
    """Return whether a command is an srun, which runs its work on the nodes of this allocation."""
    is_in_allocation = "SLURM_JOB_ID" in os.environ and not is_step()
    return is_in_allocation and bool(words) and Path(words[0]).name == "srun"


def options_of_srun(words: Sequence[str]) -> list[str]:
    """Return the long options of an srun command before its program, each with its "=value" if any.

    An option's value may be a word of its own, which looks like the program. So all words are taken
    up to "--", or up to the first of two consecutive words without a dash.
    """
    found: list[str] = []
    is_value = False
    for word in words[1:]:
        if word == "--" or (not word.startswith("-") and is_value):
            break
        is_value = not word.startswith("-")
        if word.startswith("--"):
            found.append(word)
    return found


def job_id() -> str:
    """Return the job ID; "" outside Slurm."""
    return os.environ.get("SLURM_JOB_ID", "")


def restart_count() -> int:
    """Return how often the job was requeued after it had started; 0 outside Slurm."""
    return _count("SLURM_RESTART_COUNT", 0)


def nodes_of_job() -> int:
    """Return the number of nodes of the allocation; 1 outside Slurm."""
    return _count("SLURM_JOB_NUM_NODES")


def nodes_of_step() -> int:
    """Return the number of nodes of this step; 1 outside Slurm."""
    return _count("SLURM_STEP_NUM_NODES")


def why_shared() -> str:
    """Return why this node's energy is not only the job's; "" if it is, or outside Slurm."""
    job, total = job_id(), os.cpu_count()
    cpus = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if not job or not cpus.isdigit() or total is None or int(cpus) >= total:
        return ""
    return f"Slurm job {job} has {cpus} of the {total} CPUs of this node"


def gpus_of_job(count: int) -> list[int]:
    """Return the indices of the job's GPUs among the ``count`` that the driver shows.

    For a process without CUDA_VISIBLE_DEVICES. Outside Slurm, return all. A step has a list of
    its own; a batch script has its job's. If a control group hides the other GPUs, the visible
    ones are numbered from 0, and all of them are the job's. A job that was allocated no GPU has
    none, unless it has the whole node: there Slurm may not manage GPUs at all.
    """
    everything = list(range(count))
    if not job_id():
        return everything
    # in a step SLURM_JOB_GPUS is that of the job's first node
    name = "SLURM_STEP_GPUS" if is_step() else "SLURM_JOB_GPUS"
    listed = [int(part) for part in os.environ.get(name, "").split(",") if part.isdigit()]
    if not listed and why_shared():
        return []
    is_list_of_visible = bool(listed) and max(listed) < count and len(listed) < count
    return listed if is_list_of_visible else everything


def why_gpus_unread(visible: int) -> str:
    """Return why this task sees fewer GPUs than its step has on the node; "" if it sees all.

    With --gpus-per-task, or GPUs bound to tasks, each task sees only its own, and one task samples.
    """
    allocated = _count("SLURM_GPUS_ON_NODE")
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
    is_one_task = tasks.split("(")[0].split(",")[0] == "1"
    if not is_step() or not 0 < visible < allocated or is_one_task:
        return ""
    return (
        f"{allocated - visible} of the step's {allocated} GPUs are bound to other tasks and "
        "were not read; use `wattlaw measure -- srun …`, or srun's --gpu-bind=none"
    )


def _count(name: str, default: int = 1) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default
