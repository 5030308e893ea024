"""Slurm's accounting: ``sacct -P`` (one line for each job or step) or ``sacct --json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from wattlaw.core.csv_table import read_text
from wattlaw.core.errors import SettingError
from wattlaw.core.reading import measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.importer import (
    Imported,
    Importer,
    columns_of,
    head_of,
    number,
    read_rows,
)
from wattlaw.slurm.accounting import seconds_of, tres_of

NAMES = {"sacct": "Sacct"}

_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_MOST_NODES = 1e6
_MOST_JOULES = 1e15
"""Counts of nodes and energies above these are Slurm's "no value", such as 2^64 − 2."""

Json = dict[str, object]


class Job(NamedTuple):
    """One job of the accounting; None and "" are "not accounted".

    ``seconds`` is the elapsed time in s and ``joules`` the energy of the nodes in J.
    """

    id: str
    name: str
    state: str
    seconds: float | None
    nodes: float | None
    gpus: int
    joules: float | None
    partition: str
    started: str


@dataclass(frozen=True)
class Sacct(Importer):
    """Reads one file. The steps of a job belong to it and are not runs of their own."""

    summary: ClassVar[str] = "the output of sacct -P or sacct --json"

    def recognises(self, path: Path) -> bool:
        is_table = {"JobID", "State"} <= columns_of(path, delimiter="|")
        return is_table or '"job_id"' in head_of(path)

    def read(self, path: Path) -> Imported:
        found = Imported()
        is_json = read_text(path).lstrip().startswith("{")
        jobs = _jobs_of_json(path, found) if is_json else _jobs_of_table(path, found)
        for line, job in jobs:
            if not job.seconds or job.seconds <= 0:
                found.skip(path, f"job {job.id} has no elapsed time", line, "Elapsed")
                continue
            try:
                found.runs.append(_run(job, job.seconds))
            except SettingError as error:
                found.skip(path, f"job {job.id}: {error}", line)
        return found


def _jobs_of_table(path: Path, found: Imported) -> Iterator[tuple[int, Job]]:
    for line, row in read_rows(path, ("JobID", "State"), found, "|"):
        if "." in row["JobID"]:
            continue
        raw_seconds = row.get("ElapsedRaw")
        energy = row.get("ConsumedEnergyRaw") or row.get("ConsumedEnergy") or ""
        yield (
            line,
            Job(
                id=row["JobID"],
                name=row.get("JobName", ""),
                state=row["State"],
                seconds=number(raw_seconds) if raw_seconds else seconds_of(row.get("Elapsed", "")),
                nodes=number(row.get("NNodes") or row.get("AllocNodes")),
                gpus=_gpus(row.get("AllocTRES", "")),
                joules=_joules(energy),
                partition=row.get("Partition", ""),
                started=row.get("Start", ""),
            ),
        )


def _jobs_of_json(path: Path, found: Imported) -> Iterator[tuple[int, Job]]:
    try:
        jobs = _list(_object(json.loads(read_text(path))).get("jobs"))
    except (ValueError, RecursionError) as error:
        found.skip(path, f"the file is not JSON: {error}", getattr(error, "lineno", 0))
        return
    for index, job in enumerate(jobs):
        if isinstance(job, dict):
            yield 0, _job_of_json(job, index)
        else:
            found.skip(path, f"job {index} is not an object")


def _job_of_json(job: Json, index: int) -> Job:
    time = _object(job.get("time"))
    nodes = job.get("allocation_nodes")
    counts = {}
    for resource in _list(_object(job.get("tres")).get("allocated")):
        resource = _object(resource)
        if resource.get("name") in ("gpu", "", None):
            counts[resource.get("type")] = number(resource.get("count"))
    state = _object(job.get("state")).get("current", job.get("state"))
    states = _list(state) or [state]
    return Job(
        id=str(job.get("job_id", index)),
        name=str(job.get("name", "")),
        state=str(states[0]),
        seconds=number(time.get("elapsed")),
        nodes=number(_object(nodes).get("number") or nodes),
        gpus=int(counts.get("gres") or 0),
        joules=counts.get("energy") or None,
        partition=str(job.get("partition", "")),
        started=str(time.get("start", "")),
    )


def _run(job: Job, seconds: float) -> Run:
    nodes = int(job.nodes) if job.nodes and 1 <= job.nodes < _MOST_NODES else 1
    # a node without GPUs counts as one device
    setting = {
        "workload": job.name or "job",
        "nodes": nodes,
        "devices_per_node": max(job.gpus // nodes, 1),
    }
    energy = missing("Slurm's energy plug-in recorded none")
    if job.joules and 0 < job.joules < _MOST_JOULES:
        energy = measured(job.joules, "Slurm ConsumedEnergy")
    is_done = job.state.split(" ")[0].upper() == "COMPLETED"
    return Run(
        setting=setting_from(setting),
        trial=f"slurm-{job.id}",
        source="sacct",
        started=job.started,
        state="done" if is_done else "failed",
        error="" if is_done else f"ended {job.state}",
        machine=Machine(device_type="cuda" if job.gpus else "cpu", hosts=nodes),
        labels={"partition": job.partition} if job.partition else {},
        quantities={
            "trial_s": measured(seconds, "Slurm"),
            "elapsed_s": measured(seconds, "Slurm"),
            "node_energy_j": energy,
        },
    )


def _gpus(text: str) -> int:
    """Return the GPUs of AllocTRES: "gres/gpu=4", or without it "gres/gpu:volta=4"."""
    resources = tres_of(text)
    names = ["gres/gpu"] if "gres/gpu" in resources else list(resources)
    counts = [resources[name] for name in names if name.startswith("gres/gpu")]
    return sum(int(count) for count in counts if count.isdecimal())


def _joules(text: str) -> float | None:
    match = re.fullmatch(r"([\d.]+)([KMG]?)", text.strip())
    value = number(match[1]) if match else None
    return value * _SCALES[match[2]] if match and value is not None else None


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
