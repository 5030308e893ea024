"""Slurm's accounting: ``sacct -P`` (one line a job or step) or ``sacct --json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from wattlaw.core.errors import SettingError
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.imported import Imported, number, text_of
from wattlaw.importers.tables import read_table

NAMES = {"sacct": "read"}

_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$")
_GPUS = re.compile(r"gres/gpu(?::[^=,]+)?=(\d+)")
_ENERGY = re.compile(r"energy=(\d+)")
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


def read(path: Path) -> Imported:
    """Read one file; steps belong to their job and are not runs of their own."""
    found = Imported()
    text = text_of(path)
    if text.lstrip().startswith("{"):
        _from_json(text, path, found)
    else:
        _from_table(path, found)
    return found


def _from_table(path: Path, found: Imported) -> None:
    for line, row in read_table(path, ("JobID", "State"), found, "|"):
        if "." in row["JobID"]:
            continue
        tres = row.get("AllocTRES", "")
        gpus = _GPUS.search(tres)
        seconds = (
            number(row.get("ElapsedRaw"))
            if row.get("ElapsedRaw")
            else seconds_of(row.get("Elapsed", ""))
        )
        joules = _joules(row.get("ConsumedEnergyRaw") or row.get("ConsumedEnergy") or "")
        _add(
            found, str(path), line, row["JobID"], row.get("JobName", ""), row["State"], seconds,
            number(row.get("NNodes") or row.get("AllocNodes")), int(gpus[1]) if gpus else 0, joules,
            row.get("Partition", ""), row.get("Start", ""),
        )  # fmt: skip


def _from_json(text: str, path: Path, found: Imported) -> None:
    try:
        jobs = json.loads(text).get("jobs", [])
    except (ValueError, RecursionError) as error:
        found.skip(str(path), f"no JSON: {error}", getattr(error, "lineno", 0))
        return
    for index, job in enumerate(jobs if isinstance(jobs, list) else []):
        if not isinstance(job, dict):
            found.skip(str(path), f"job {index} is no object")
            continue
        time, state = (
            _dict(job.get("time")),
            _dict(job.get("state")).get("current", job.get("state")),
        )
        counts = {
            t.get("type"): number(t.get("count"))
            for t in _allocated(job)
            if t.get("name") in ("gpu", "", None)
        }
        nodes = number(
            _dict(job.get("allocation_nodes")).get("number") or job.get("allocation_nodes")
        )
        _add(
            found, str(path), 0, str(job.get("job_id", index)), str(job.get("name", "")),
            str(state[0] if isinstance(state, list) and state else state), number(time.get("elapsed")),
            nodes, int(counts.get("gres") or 0), counts.get("energy") or None, str(job.get("partition", "")),
            str(time.get("start", "")),
        )  # fmt: skip


def _add(
    found: Imported, file: str, line: int, job: str, name: str, state: str, seconds: float | None, nodes: float | None,
    gpus: int, joules: float | None, partition: str, started: str,
) -> None:  # fmt: skip
    if not seconds or seconds <= 0:
        found.skip(file, f"job {job} has no elapsed time", line, "Elapsed")
        return
    machines = int(nodes) if nodes and 1 <= nodes < 1e6 else 1
    # without GPUs a node is one device
    each = max(gpus // machines, 1)
    energy: Reading = missing("Slurm's energy plug-in recorded none")
    if joules and 0 < joules < 1e15:
        energy = measured(joules, "Slurm ConsumedEnergy")
    try:
        setting = setting_from(
            {"workload": name or "job", "nodes": machines, "devices_per_node": each}
        )
    except SettingError as error:
        found.skip(file, f"job {job}: {error}", line)
        return
    ended = state.split(" ")[0].upper()
    found.runs.append(
        Run(setting=setting, trial=f"slurm-{job}", source="sacct", started=started,
            state="done" if ended == "COMPLETED" else "failed", error="" if ended == "COMPLETED" else f"ended {state}",
            machine=Machine(device_type="cuda" if gpus else "cpu", hosts=machines),
            labels={"partition": partition} if partition else {},
            quantities={"trial_s": measured(seconds, "Slurm"), "elapsed_s": measured(seconds, "Slurm"),
                        "node_energy_j": energy})
    )  # fmt: skip


def seconds_of(text: str) -> float | None:
    """Return Slurm's [DD-[HH:]]MM:SS in s."""
    match = _TIME.match(text.strip())
    if not match:
        return None
    days, hours, minutes, seconds = (float(v or 0) for v in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _joules(text: str) -> float | None:
    match = re.fullmatch(r"([\d.]+)([KMG]?)", text.strip())
    value = number(match[1]) if match else None
    # 2^64 − 2 is Slurm's "no value"
    return None if value is None or value > 1e18 or match is None else value * _SCALES[match[2]]


def _allocated(job: dict[str, Any]) -> list[dict[str, Any]]:
    allocated = _dict(job.get("tres")).get("allocated")
    return [t for t in allocated if isinstance(t, dict)] if isinstance(allocated, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
