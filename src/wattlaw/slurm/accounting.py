"""Slurm's accounting: runs sacct, and parses its tables and its JSON into SI units."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from wattlaw.core.errors import DataError, MissingPartError, UnknownNameError, UsageError

FIELDS = (
    "JobID", "JobIDRaw", "JobName", "User", "State", "ElapsedRaw", "TimelimitRaw", "AllocNodes",
    "AllocCPUS", "TotalCPU", "ReqMem", "MaxRSS", "AllocTRES", "ConsumedEnergyRaw",
    "TRESUsageInAve", "NodeList", "NTasks", "TRESUsageInTot",
)  # fmt: skip
"""The columns that ``wattlaw job`` requests from sacct."""

_REQUIRED = (
    "JobIDRaw", "JobName", "User", "State", "ElapsedRaw", "TimelimitRaw", "AllocNodes",
    "AllocCPUS",
)  # fmt: skip

_BINARY = {"": 1.0, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_DECIMAL = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_MAX_ENERGY_J = 1e15
"""Slurm writes "no value" as numbers near 2**63 and 2**64."""

_MAX_COUNT = 1e6
"""Larger counts of nodes, CPUs or GPUs are Slurm's "no value" too."""

_ENDED = {
    "COMPLETED", "BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "TIMEOUT",
}  # fmt: skip
"""The states of a job that will not run again."""

_GRES = re.compile(r"\bgpu(?::(?!\d+(?:[,(]|$))[^:,(]+)?(?::(\d+))?(?=[,(]|$)")
"""A number of GPUs in AllocGRES: gpu, gpu:4, gpu:a100:4, gpu:a100:4(IDX:0-3)."""

_TIMEOUT_S = 60

_REMEDIES = {
    "onfiguration source": "run this on a machine of the Slurm cluster, "
    "or give a saved table with --sacct FILE",
    "storage is disabled": "this cluster keeps no accounting; "
    "`wattlaw measure -o runs -- CMD` needs none",
    "Connection refused": "its accounting service (slurmdbd) does not respond; "
    "try again later, or ask the operators",
    "Invalid job id": "give a job ID, such as 123456 or 123456_7",
}
"""What to do next, by a part of sacct's error message."""


class JobUse(msgspec.Struct, frozen=True, kw_only=True):
    """One accounted job: what it requested and what it used. None means not accounted.

    ``id`` is the displayed form, such as 123_7; ``raw_id`` is the job's SLURM_JOB_ID.
    ``state`` is the first word of ``state_text``, such as "CANCELLED by 1000".
    Times are in s, memory in bytes over all nodes, energy in J; ``gpu_utilisation`` is a fraction.
    Slurm accounts CPU time and memory when a step ends, so a running job has neither.
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
    partition: str = ""
    started: str = ""
    state_text: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the job will not run again; not so if it runs, waits or was requeued."""
        return self.state.upper() in _ENDED


def run_sacct(job: str) -> str:
    """Return sacct's table of a job and its steps.

    Raises UsageError, MissingPartError or DataError.
    """
    if not re.fullmatch(r"\d+([_+]\d+)?", job):
        raise UsageError(f"{job!r} is not a job ID; give one such as 123456 or 123456_7")
    words = ["sacct", "-j", job, "--parsable2", f"--format={','.join(FIELDS)}"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        message = "sacct is not installed; run this on a machine of the Slurm cluster"
        raise MissingPartError(message) from None
    except subprocess.TimeoutExpired:
        message = f"sacct did not answer within {_TIMEOUT_S} s; try again later"
        raise DataError(message) from None
    if done.returncode:
        raise DataError(_explain_failure(done.stderr))
    return done.stdout


def read_job(table: str, job: str = "") -> JobUse:
    """Parse one job from a table of sacct; without ``job`` the table must hold one job only.

    Raises DataError if the table holds no job or the job never ran, UnknownNameError if it
    does not hold ``job``, UsageError if several tasks of an array match.
    """
    lines = [line.split("|") for line in table.splitlines() if line.strip()]
    if len(lines) < 2:
        raise DataError(
            "sacct knows no such job; list recent jobs with `sacct -X -S now-7days`, "
            "or name the job's cluster (-M)"
        )
    rows = [dict(zip(lines[0], cells, strict=False)) for cells in lines[1:]]
    for column in _REQUIRED:
        if column not in rows[0]:
            raise DataError(
                f"sacct's table has no column {column}; make it with --format={','.join(FIELDS)}"
            )
    row = _row_of(rows, job)
    steps = [r for r in rows if r["JobIDRaw"].startswith(f"{row['JobIDRaw']}.")]
    use = job_of_row(row, steps)
    if use.state == "PENDING" or use.nodes == 0:
        raise DataError(f"job {use.id} is {use.state}: it has not run, so it used nothing")
    return use


def job_of_row(row: Mapping[str, str], steps: Sequence[Mapping[str, str]] = ()) -> JobUse:
    """Parse a job from its row of sacct's table and those of its steps; columns may be missing."""
    raw_id = row.get("JobIDRaw") or row.get("JobID", "")
    use = _UseOfSteps() if _is_running(row, steps) else _use_of_steps(row, steps)
    tres = _tres(row.get("AllocTRES", ""))
    nodes = _count(row.get("AllocNodes") or row.get("NNodes")) or _count(tres.get("node"))
    cpus = _count(row.get("AllocCPUS") or tres.get("cpu"))
    elapsed_s = _number(row.get("ElapsedRaw")) or seconds_of(row.get("Elapsed", "")) or 0.0
    return JobUse(
        id=row.get("JobID") or raw_id,
        raw_id=raw_id,
        name=row.get("JobName", ""),
        user=row.get("User", ""),
        state=_state(row.get("State", "")),
        nodes=nodes,
        node_list=row.get("NodeList", ""),
        elapsed_s=elapsed_s,
        limit_s=_minutes(row.get("TimelimitRaw")),
        cpus=cpus,
        cpu_time_s=use.cpu_time_s,
        memory_asked_bytes=_requested_memory(row.get("ReqMem", ""), nodes, cpus, tres),
        memory_used_bytes=use.memory_bytes,
        gpus=_gpus(tres) or _gpus_of_gres(row.get("AllocGRES", "")),
        gpu_utilisation=_gpu_utilisation(steps),
        energy_j=_energy([row, *steps]),
        partition=row.get("Partition", ""),
        started=row.get("Start", ""),
        state_text=row.get("State", ""),
    )


def job_of_json(job: Mapping[str, object]) -> JobUse:
    """Parse a job from ``sacct --json``; missing or malformed values are not accounted."""
    times, state = _object(job.get("time")), _state_in_json(job)
    tres = _allocated(job)
    nodes = _count(_json_number(job.get("allocation_nodes"))) or _count(tres.get("node"))
    cpu_time_s = None
    if state != "RUNNING":
        cpu_time_s = _json_number(_object(times.get("total")).get("seconds"))
    return JobUse(
        id=str(job.get("job_id", "")),
        raw_id=str(job.get("job_id", "")),
        name=str(job.get("name", "")),
        user=str(job.get("user", "")),
        state=_state(state),
        nodes=nodes,
        node_list=str(job.get("nodes", "")),
        elapsed_s=_json_number(times.get("elapsed")) or 0.0,
        limit_s=_minutes(_json_number(times.get("limit"))),
        cpus=_count(tres.get("cpu")),
        cpu_time_s=cpu_time_s,
        memory_asked_bytes=None,
        memory_used_bytes=None,
        gpus=_gpus(tres),
        gpu_utilisation=None,
        energy_j=_energy_in_json(job, tres),
        partition=str(job.get("partition", "")),
        started=str(times.get("start", "")),
        state_text=state,
    )


class _UseOfSteps(NamedTuple):
    """What Slurm accounts when a step ends; None while the job runs."""

    cpu_time_s: float | None = None
    memory_bytes: float | None = None


def seconds_of(text: str) -> float | None:
    """Return Slurm's [[DD-]HH:]MM:SS[.mmm] in s; None if it is not such a time."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = map(float, found.groups("0"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _explain_failure(stderr: str) -> str:
    """Return sacct's last error line and what to do about it."""
    lines = stderr.strip().splitlines() or ["it failed without a message"]
    for part, remedy in _REMEDIES.items():
        if part in stderr:
            return f"sacct: {lines[-1].removeprefix('sacct: ')}; {remedy}"
    return f"sacct: {lines[-1].removeprefix('sacct: ')}; ask the cluster's operators"


def _row_of(rows: Sequence[Mapping[str, str]], job: str) -> Mapping[str, str]:
    """Return the row of the requested job."""
    jobs = {r["JobIDRaw"]: r for r in rows if "." not in r["JobIDRaw"]}
    names = {raw: r.get("JobID") or raw for raw, r in jobs.items()}
    if job:
        jobs = {raw: jobs[raw] for raw in _matching(names, job)}
        if not jobs:
            raise UnknownNameError("job", job, names.values())
    if len(jobs) > 1:
        example = names[next(iter(jobs))]
        raise UsageError(
            f"these are {len(jobs)} jobs of one array or group; name one of them, such as {example}"
        )
    return next(iter(jobs.values()), rows[0])


def _matching(names: Mapping[str, str], job: str) -> list[str]:
    """Return the raw ids of the jobs that ``job`` names; ``names`` maps raw ids to ids."""
    exact = [raw for raw, name in names.items() if name == job]
    if exact:
        return exact
    # an array's number means all its tasks, even if one of them has it as its own raw id
    tasks = [raw for raw, name in names.items() if re.split(r"[_+]", name)[0] == job]
    return tasks or [raw for raw in names if raw == job]


def _is_running(row: Mapping[str, str], steps: Sequence[Mapping[str, str]]) -> bool:
    return "RUNNING" in [r.get("State") for r in (row, *steps)]


def _use_of_steps(row: Mapping[str, str], steps: Sequence[Mapping[str, str]]) -> _UseOfSteps:
    memory = _highest(map(_used_memory, steps))
    return _UseOfSteps(seconds_of(row.get("TotalCPU", "")), memory)


def _state(text: str) -> str:
    """Return the first word of a state such as "CANCELLED by 1000"."""
    words = text.split() or ["UNKNOWN"]
    return words[0]


def _state_in_json(job: Mapping[str, object]) -> str:
    """Return a job's state, which newer versions of Slurm write as an object with a list."""
    state = _object(job.get("state")).get("current", job.get("state"))
    if isinstance(state, list) and state:
        return str(state[0])
    return str(state)


def _tres(text: str) -> dict[str, str]:
    """Parse trackable resources such as "cpu=40,gres/gpu=2,mem=320G"."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _allocated(job: Mapping[str, object]) -> dict[str, object]:
    """Return the allocated trackable resources of a job in JSON, by the names of its table."""
    entries = _object(job.get("tres")).get("allocated")
    found: dict[str, object] = {}
    if not isinstance(entries, list):
        return found
    for entry in map(_object, entries):
        parts = filter(None, (str(entry.get("type", "")), str(entry.get("name") or "")))
        found["/".join(parts)] = _json_number(entry.get("count"))
    if "gres/gpu" not in found and "gres" in found:
        found["gres/gpu"] = found["gres"]
    return found


def _gpus(tres: Mapping[str, object]) -> int:
    """Return the total of GPUs, else the sum over their types."""
    if "gres/gpu" in tres:
        return _count(tres["gres/gpu"])
    return sum(_count(count) for name, count in tres.items() if name.startswith("gres/gpu:"))


def _gpus_of_gres(text: str) -> int:
    """Return the GPUs of AllocGRES, if Slurm before 20.11 has them, such as "gpu:v100:4"."""
    return sum(_count(count or "1") for count in _GRES.findall(text))


def _number(value: object) -> float | None:
    """Return a finite number that is not negative; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    is_valid = math.isfinite(number) and number >= 0
    return number if is_valid else None


def _json_number(value: object) -> float | None:
    """Return a number of JSON, which newer versions write as {set, infinite, number}."""
    if not isinstance(value, dict):
        return _number(value)
    if value.get("infinite") or not value.get("set", True):
        return None
    return _number(value.get("number"))


def _count(value: object) -> int:
    number = _number(value)
    if number is None or number >= _MAX_COUNT:
        return 0
    return int(number)


def _minutes(value: object) -> float | None:
    """Return a number of minutes in s; None if it is not a number, such as "UNLIMITED"."""
    minutes = _number(value)
    if minutes is None:
        return None
    return minutes * 60


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _bytes(text: str) -> float | None:
    return _scaled(text, _BINARY)


def _scaled(text: str, scales: Mapping[str, float]) -> float | None:
    """Return a number with a suffix such as "1.5G"; None if it is not one."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Z]?)", text.strip())
    if not found or found[2] not in scales:
        return None
    return float(found[1]) * scales[found[2]]


def _highest(values: Iterable[float | None]) -> float | None:
    """Return the highest known value; None without any."""
    known = [value for value in values if value is not None]
    return max(known, default=None)


def _requested_memory(text: str, nodes: int, cpus: int, tres: Mapping[str, str]) -> float | None:
    if "mem" in tres:
        return _bytes(tres["mem"])
    # before Slurm 21.08 a request was per node ("n") or per CPU ("c")
    each = _bytes(text.rstrip("nc"))
    if each is None:
        return None
    return each * {"n": nodes, "c": cpus}.get(text[-1:], 1)


def _used_memory(step: Mapping[str, str]) -> float | None:
    """Return the memory of all tasks of a step, else the largest task's times their number."""
    total = _bytes(_tres(step.get("TRESUsageInTot", "")).get("mem", ""))
    if total is not None:
        return total
    largest = _bytes(step.get("MaxRSS", ""))
    if largest is None:
        return None
    return largest * max(1, _count(step.get("NTasks")))


def _gpu_utilisation(steps: Sequence[Mapping[str, str]]) -> float | None:
    percent = _highest(
        _number(_tres(r.get("TRESUsageInAve", "")).get("gres/gpuutil")) for r in steps
    )
    if percent is None:
        return None
    return percent / 100


def _energy(rows: Sequence[Mapping[str, str]]) -> float | None:
    """Return the energy of a whole job: the largest of its own and those of its steps."""
    texts = [r.get("ConsumedEnergyRaw") or r.get("ConsumedEnergy") or "" for r in rows]
    return _highest(_valid_energy(_scaled(text, _DECIMAL)) for text in texts)


def _energy_in_json(job: Mapping[str, object], tres: Mapping[str, object]) -> float | None:
    energies = [_valid_energy(_number(tres.get("energy")))]
    steps = job.get("steps")
    for step in steps if isinstance(steps, list) else []:
        energy = _object(_object(_object(step).get("statistics")).get("energy"))
        energies.append(_valid_energy(_json_number(energy.get("consumed"))))
    return _highest(energies)


def _valid_energy(joules: float | None) -> float | None:
    """Return an energy; None for 0, which Slurm writes if no plug-in reads energy."""
    if joules is None or not 0 < joules < _MAX_ENERGY_J:
        return None
    return joules
