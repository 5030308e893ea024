"""Slurm's accounting: ``sacct -P`` (one line for each job or step) or ``sacct --json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from wattlaw.core.csv_table import read_text
from wattlaw.core.errors import SettingError
from wattlaw.core.reading import measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.core.units import counted
from wattlaw.importers.importer import (
    Imported,
    Importer,
    columns_of,
    head_of,
    read_rows,
)
from wattlaw.slurm.accounting import JobUse, job_of_json, job_of_row

NAMES = {"sacct": "Sacct"}


@dataclass(frozen=True)
class Sacct(Importer):
    """Reads one file. The steps of a job belong to it and are not runs of their own."""

    summary: ClassVar[str] = "the output of sacct -P or sacct --json"

    def recognises(self, path: Path) -> bool:
        is_table = {"JobID", "State"} <= columns_of(path, delimiter="|")
        return is_table or '"job_id"' in head_of(path)

    def read(self, path: Path) -> Imported:
        found = Imported()
        if read_text(path).lstrip().startswith("{"):
            jobs = _jobs_of_json(path, found)
        else:
            jobs = _jobs_of_table(path, found)
        for line, job in jobs:
            fault = _fault(job)
            if not fault:
                try:
                    found.runs.append(_run(job))
                except SettingError as error:
                    fault = str(error)
            if fault:
                found.skip(path, fault, line, f"job {job.id}")
        return found


def _jobs_of_table(path: Path, found: Imported) -> Iterator[tuple[int, JobUse]]:
    for line, row in read_rows(path, ("JobID", "State"), found, "|", has_quotes=False):
        if "." not in row["JobID"]:
            yield line, job_of_row(row)


def _jobs_of_json(path: Path, found: Imported) -> Iterator[tuple[int, JobUse]]:
    try:
        whole = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        found.skip(path, f"the file is not JSON: {error}", getattr(error, "lineno", 0))
        return
    jobs = whole.get("jobs") if isinstance(whole, dict) else None
    for index, job in enumerate(jobs if isinstance(jobs, list) else []):
        if isinstance(job, dict):
            yield 0, job_of_json({"job_id": index, **job})
        else:
            found.skip(path, f"job {index} is not an object")


def _fault(job: JobUse) -> str:
    """Return why a job is not a run; "" if it is one."""
    if not job.has_ended:
        return f"it has not ended: its state is {job.state_text or 'empty'}"
    if job.elapsed_s <= 0:
        return "it has no elapsed time"
    if job.gpus % max(job.nodes, 1):
        gpus, nodes = counted(job.gpus, "GPU"), counted(job.nodes, "node")
        return f"{gpus} on {nodes} is not the same number on each node"
    return ""


def _run(job: JobUse) -> Run:
    nodes = max(job.nodes, 1)
    # a node without GPUs counts as one device
    setting = {
        "workload": job.name or "job",
        "nodes": nodes,
        "devices_per_node": max(job.gpus // nodes, 1),
    }
    elapsed = measured(job.elapsed_s, "Slurm")
    energy = missing("Slurm's energy plug-in recorded none")
    if job.energy_j is not None:
        energy = measured(job.energy_j, "Slurm ConsumedEnergy")
    is_done = job.state.upper() == "COMPLETED"
    error = "" if is_done else f"ended {job.state_text}"
    labels = {"partition": job.partition} if job.partition else {}
    return Run(
        setting=setting_from(setting),
        trial=f"slurm-{job.id}",
        source="sacct",
        started=job.started,
        state="done" if is_done else "failed",
        error=error,
        machine=Machine(device_type="cuda" if job.gpus else "cpu", hosts=nodes),
        labels=labels,
        quantities={"trial_s": elapsed, "elapsed_s": elapsed, "node_energy_j": energy},
    )
