"""What Slurm's accounting says of one job: asked of sacct, its units turned into SI."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence

import msgspec

from wattlaw.core.errors import DataError, MissingPartError, UnknownNameError, UsageError

FIELDS = (
    "JobID", "JobIDRaw", "JobName", "User", "State", "ElapsedRaw", "TimelimitRaw", "AllocNodes", "AllocCPUS",
    "TotalCPU", "ReqMem", "MaxRSS", "AllocTRES", "ConsumedEnergyRaw", "TRESUsageInAve", "NodeList",
    "NTasks", "TRESUsageInTot",
)  # fmt: skip

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_NO_ENERGY = 2**63
_FIRST = (
    "JobIDRaw",
    "JobName",
    "User",
    "State",
    "ElapsedRaw",
    "TimelimitRaw",
    "AllocNodes",
    "AllocCPUS",
)
_REMEDIES = {
    "onfiguration source": "run this on a machine of the Slurm cluster, or give a saved table with --sacct FILE",
    "storage is disabled": "this cluster keeps no accounting; `wattlaw measure -o runs -- CMD` needs none",
    "Connection refused": "its accounting service does not answer; try again later, or ask the operators",
    "Invalid job id": "give a job's number, such as 123456 or 123456_7",
}
"""What to do about sacct's own words, by a part of them."""


class JobUse(msgspec.Struct, frozen=True, kw_only=True):
    """One job as accounted: what it asked for and what it used. None is "not accounted".

    ``id`` as people write it, such as 123_7; ``raw_id`` is the number that the job itself finds in SLURM_JOB_ID.

    Times in s, memory in bytes over all nodes, energy in J, ``gpu_utilisation`` a share of 1. CPU time and memory
    of a step are accounted when it ends, so those of a job that still runs are not known.
    """

    id: str
    raw_id: str
    name: str
    user: str
    state: str
    nodes: int
    node_list: str
    elapsed_s: float
    limit_s: float | None
    cpus: int
    cpu_time_s: float | None
    memory_asked_bytes: float | None
    memory_used_bytes: float | None
    gpus: int
    gpu_utilisation: float | None
    energy_j: float | None


def ask_sacct(job: str) -> str:
    """Return sacct's table of a job and its steps. Raises UsageError, MissingPartError or DataError."""
    if not re.fullmatch(r"\d+([_+]\d+)?", job):
        raise UsageError(f"job {job!r} is no job number, such as 123456 or 123456_7")
    words = ["sacct", "-j", job, "--parsable2", f"--format={','.join(FIELDS)}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise MissingPartError(
            "sacct is not here; run this on a machine of the Slurm cluster"
        ) from None
    except subprocess.TimeoutExpired:
        raise DataError("sacct did not answer within 60 s; try again later") from None
    if done.returncode:
        raise DataError(_refusal(done.stderr))
    return done.stdout


def read_sacct(text: str, wanted: str = "") -> JobUse:
    """Read what sacct printed of the job ``wanted``. Raises DataError where it holds none, or one that never ran.

    Raises UsageError where it holds several tasks of an array: each is a job of its own. Without ``wanted`` the
    table is of one job alone.
    """
    lines = [line.split("|") for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise DataError(
            "sacct knows no such job; look it up with `sacct -X -S now-7days`, or ask for its cluster (-M)"
        )
    rows = [dict(zip(lines[0], cells, strict=False)) for cells in lines[1:]]
    missing = [f for f in _FIRST if f not in rows[0]]
    if missing:
        raise DataError(
            f"sacct's table has no column {missing[0]}; make it with --format={','.join(FIELDS)}"
        )
    job = _one_job(rows, wanted)
    steps = [r for r in rows if r["JobIDRaw"].startswith(f"{job['JobIDRaw']}.")]
    runs = any(r["State"] == "RUNNING" for r in (job, *steps))
    tres = tres_of(job.get("AllocTRES", ""))
    nodes, cpus = int(job["AllocNodes"] or 0), int(job["AllocCPUS"] or 0)
    return JobUse(
        id=job.get("JobID") or job["JobIDRaw"],
        raw_id=job["JobIDRaw"],
        name=job["JobName"],
        user=job["User"],
        state=_state(job),
        nodes=nodes,
        node_list=job.get("NodeList", ""),
        elapsed_s=float(job["ElapsedRaw"] or 0),
        limit_s=float(job["TimelimitRaw"]) * 60 if job["TimelimitRaw"].isdecimal() else None,
        cpus=cpus,
        cpu_time_s=None if runs else seconds_of(job.get("TotalCPU", "")),
        memory_asked_bytes=_asked(job.get("ReqMem", ""), nodes, cpus, tres),
        memory_used_bytes=None
        if runs
        else max((m for r in steps if (m := _used(r)) is not None), default=None),
        gpus=int(tres.get("gres/gpu", "0") or 0),
        gpu_utilisation=_utilisation(steps),
        energy_j=_energy([job, *steps]),
    )


def _refusal(said: str) -> str:
    """Return sacct's last words, and what to do about them."""
    last = (said.strip().splitlines() or ["it failed and said nothing"])[-1].removeprefix("sacct: ")
    remedy = next(
        (do for part, do in _REMEDIES.items() if part in said), "ask the cluster's operators"
    )
    return f"sacct: {last}; {remedy}"


def _one_job(rows: Sequence[Mapping[str, str]], wanted: str) -> Mapping[str, str]:
    jobs = {r["JobIDRaw"]: r for r in rows if "." not in r["JobIDRaw"]}
    names = {raw: r.get("JobID") or raw for raw, r in jobs.items()}
    if wanted:
        # an array's number means all its tasks, also where one of them has it as its own number
        chosen = [raw for raw, name in names.items() if name == wanted]
        chosen = chosen or [
            raw for raw, name in names.items() if re.split(r"[_+]", name)[0] == wanted
        ]
        jobs = {raw: jobs[raw] for raw in chosen or [raw for raw in names if raw == wanted]}
    if wanted and not jobs:
        raise UnknownNameError("job", wanted, names.values())
    if len(jobs) > 1:
        some = names[next(iter(jobs))]
        raise UsageError(
            f"these are {len(jobs)} jobs of one array or group; name one of them, such as {some}"
        )
    job = next(iter(jobs.values()), rows[0])
    if _state(job) == "PENDING" or int(job["AllocNodes"] or 0) == 0:
        raise DataError(
            f"job {job.get('JobID') or job['JobIDRaw']} is {_state(job)}: it has not run, so it used nothing"
        )
    return job


def _state(row: Mapping[str, str]) -> str:
    # "CANCELLED by 1000"
    return row["State"].split()[0] if row["State"] else "UNKNOWN"


def tres_of(text: str) -> dict[str, str]:
    """Return trackable resources by name: "cpu=8,gres/gpu=4" is {"cpu": "8", "gres/gpu": "4"}."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def seconds_of(text: str) -> float | None:
    """Return a duration in s: of "2-03:04:05", "03:04:05" or "04:05.678"; None for other text."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text)
    if not found:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _size(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", text)
    return float(found[1]) * _UNITS[found[2]] if found else None


def _asked(text: str, nodes: int, cpus: int, tres: Mapping[str, str]) -> float | None:
    if "mem" in tres:
        return _size(tres["mem"])
    # before Slurm 21.08 the request was a node's ("n") or a CPU's ("c")
    times = {"n": nodes, "c": cpus}.get(text[-1:], 1)
    return None if (one := _size(text.rstrip("nc"))) is None else one * times


def _used(step: Mapping[str, str]) -> float | None:
    """Return the memory of all tasks of a step; without their sum at most the largest times their number."""
    total = _size(tres_of(step.get("TRESUsageInTot", "")).get("mem", ""))
    largest, tasks = _size(step.get("MaxRSS", "")), step.get("NTasks", "")
    if total is not None or largest is None:
        return total
    return largest * (int(tasks) if tasks.isdecimal() else 1)


def _utilisation(steps: Sequence[Mapping[str, str]]) -> float | None:
    shares = [tres_of(r.get("TRESUsageInAve", "")).get("gres/gpuutil") for r in steps]
    values = [float(s) / 100 for s in shares if s and re.fullmatch(r"\d+(\.\d+)?", s)]
    return max(values, default=None)


def _energy(rows: Sequence[Mapping[str, str]]) -> float | None:
    """Return the energy of the whole job; 0 and Slurm's "no value" mean that no plug-in reads any."""
    values = [
        int(r["ConsumedEnergyRaw"]) for r in rows if r.get("ConsumedEnergyRaw", "").isdecimal()
    ]
    return float(max(known)) if (known := [v for v in values if 0 < v < _NO_ENERGY]) else None
