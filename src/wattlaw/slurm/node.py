"""What a Slurm job holds of the node it runs on."""

from __future__ import annotations

import os


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
