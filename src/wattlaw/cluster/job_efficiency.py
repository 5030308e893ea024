"""The efficiency of one job: what it requested and what it used, its energy, and advice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.units import counted, show, show_time
from wattlaw.measuring.reduce.device_use import DeviceUse
from wattlaw.measuring.reduce.summary import Summary, summarise
from wattlaw.slurm.accounting import JobUse

IDLE_UTILISATION = 0.05
"""A GPU whose mean utilisation is below this counts as idle."""

_LOW_CPU, _LOW_MEMORY, _LOW_TIME, _LOW_GPU = 0.3, 0.3, 0.25, 0.5
"""Below these shares of the request, the page advises a smaller request."""

_MAX_ADVICE = 3
_LONG_LIMIT_S = 3600

_UNKNOWN_GPU_USE = (
    "unknown (no wattlaw record in this job, and Slurm does not account gres/gpuutil)"
)
_NO_ENERGY = (
    "Slurm reads no energy on this cluster (AcctGatherEnergyType), and the job holds no record of "
    "wattlaw; run `wattlaw measure -o runs` in the job and pass `--runs runs` here"
)


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """The efficiency of one job. Shares are used over requested; None if either is unknown."""

    job: JobUse
    time_share: float | None
    cpu_share: float | None
    memory_share: float | None
    gpu_share: float | None
    gpu_source: str
    energy: Reading
    devices: tuple[DeviceUse, ...] = ()
    idle: tuple[str, ...] = ()
    throttled: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def page(job: JobUse, summaries: Sequence[Summary] = ()) -> JobPage:
    """Compare a job's request with its use.

    ``summaries`` are those of the records that wattlaw made within the job.
    """
    gpus = tuple(d for s in summaries for d in s.devices if d.boundary == "gpu")
    gpu_share, gpu_source = _gpu_share(job, gpus)
    idle, throttled = filter(_is_idle, gpus), filter(_is_throttled, gpus)
    found = JobPage(
        job=job,
        time_share=_share(job.elapsed_s, job.limit_s),
        cpu_share=_share(job.cpu_time_s, job.cpus * job.elapsed_s),
        memory_share=_share(job.memory_used_bytes, job.memory_asked_bytes),
        gpu_share=gpu_share,
        gpu_source=gpu_source,
        energy=_energy(job, summaries),
        devices=gpus,
        idle=tuple(map(_name, idle)),
        throttled=tuple(map(_name, throttled)),
    )
    return msgspec.structs.replace(found, advice=tuple(_advice(found)[:_MAX_ADVICE]))


def summaries_of_job(raw_id: str, root: Path) -> list[Summary]:
    """Summarise every attempt under ``root`` that ran in the job with this SLURM_JOB_ID."""
    found = []
    for path in sorted(root.glob("**/attempt-*/environment.json")):
        try:
            scheduler = json.loads(path.read_bytes()).get("scheduler", {})
            if scheduler.get("SLURM_JOB_ID") == raw_id:
                found.append(summarise(path.parent))
        except (OSError, ValueError, DamagedRunError):
            continue
    return found


def text(p: JobPage) -> str:
    """Return the page as text."""
    job = p.job
    nodes = f"{counted(job.nodes, 'node')} {job.node_list}".rstrip()
    limit = "no limit" if job.limit_s is None else show_time(job.limit_s)
    cores, memory = counted(job.cpus, "core"), _bytes(job.memory_asked_bytes)
    lines = [
        f"job {job.id} ({job.name}) of {job.user}: {job.state}, {nodes}",
        "",
        _line("time", show_time(job.elapsed_s), limit, p.time_share),
        _line("CPUs", _busy_cores(job), cores, p.cpu_share),
        _line("memory", _bytes(job.memory_used_bytes), memory, p.memory_share),
    ]
    if job.gpus:
        lines.append(_line("GPUs", _busy_gpus(p), counted(job.gpus, "GPU"), p.gpu_share))
    lines.append(f"{'energy':<8} {_energy_text(p.energy)}")
    if p.idle:
        lines.append(f"{'idle':<8} {', '.join(p.idle)}")
    if p.throttled:
        lines.append(f"throttled by heat or power: {', '.join(p.throttled)}")
    if p.advice:
        lines += ["", *(f"- {sentence}" for sentence in p.advice)]
    return "\n".join(lines)


def _gpu_share(job: JobUse, gpus: Sequence[DeviceUse]) -> tuple[float | None, str]:
    """Return the mean utilisation of a job's GPUs and who measured it."""
    measured_shares = [d.utilisation for d in gpus if d.utilisation is not None]
    if measured_shares:
        return sum(measured_shares) / len(measured_shares), "wattlaw's readings"
    if job.gpu_utilisation is not None:
        return job.gpu_utilisation, "Slurm's accounting"
    return None, ""


def _is_idle(device: DeviceUse) -> bool:
    return device.utilisation is not None and device.utilisation < IDLE_UTILISATION


def _is_throttled(device: DeviceUse) -> bool:
    return bool(device.throttled_share)


def _energy(job: JobUse, summaries: Sequence[Summary]) -> Reading:
    readings = [s.quantities["gpu_energy_j"] for s in summaries]
    if readings and all(r.status == "measured" for r in readings):
        total = sum(r.value or 0.0 for r in readings)
        return measured(total, "GPUs only, by wattlaw, in its measured windows")
    if job.energy_j is not None:
        return measured(job.energy_j, "whole nodes, by Slurm's energy plug-in")
    return missing(_NO_ENERGY)


def _advice(p: JobPage) -> list[str]:
    """Return what to change, the most expensive waste first."""
    found, job = [], p.job
    if p.idle:
        enough = counted(max(1, len(p.devices) - len(p.idle)), "GPU")
        found.append(f"{len(p.idle)} of {len(p.devices)} GPUs were idle: request {enough}")
    elif job.gpus and p.gpu_share is not None and p.gpu_share < _LOW_GPU:
        found.append(
            f"the GPUs were busy {p.gpu_share:.0%} of the time: "
            "check data loading and batch size, or request fewer"
        )
    if p.throttled:
        found.append("heat or a power brake throttled GPUs: report it to the operators")
    if p.cpu_share is not None and p.cpu_share < _LOW_CPU and job.cpus > 2 * max(job.gpus, 1):
        enough_cores = max(job.gpus, _cores_needed(p.cpu_share, job.cpus))
        found.append(f"{p.cpu_share:.0%} of {job.cpus} cores were busy: request {enough_cores}")
    if p.memory_share is not None and p.memory_share < _LOW_MEMORY:
        used, requested = _bytes(job.memory_used_bytes), _bytes(job.memory_asked_bytes)
        found.append(f"at most {used} of memory were used: request less than {requested}")
    if job.state == "TIMEOUT":
        found.append("it reached its time limit: request more time, or write checkpoints")
    elif (
        p.time_share is not None and p.time_share < _LOW_TIME and (job.limit_s or 0) > _LONG_LIMIT_S
    ):
        found.append(
            f"it used {p.time_share:.0%} of its time limit: "
            "a job with a shorter limit starts sooner"
        )
    return found


def _cores_needed(share: float, cpus: int) -> int:
    """Return 1.5 times the busy cores, rounded up."""
    return max(1, -(-int(share * cpus * 150) // 100))


def _share(used: float | None, requested: float | None) -> float | None:
    if used is None or not requested:
        return None
    return used / requested


def _line(what: str, used: str, requested: str, share: float | None) -> str:
    percent = "" if share is None else f"  {share:.0%}"
    return f"{what:<8} {used} of {requested}{percent}"


def _busy_cores(job: JobUse) -> str:
    if job.cpu_time_s is not None and job.elapsed_s:
        return f"{job.cpu_time_s / job.elapsed_s:.1f} cores busy"
    if job.state == "RUNNING":
        return "unknown until the job ends,"
    return "unknown"


def _busy_gpus(p: JobPage) -> str:
    if p.gpu_share is None:
        return _UNKNOWN_GPU_USE
    return f"{p.gpu_share * p.job.gpus:.1f} GPUs busy ({p.gpu_source})"


def _energy_text(energy: Reading) -> str:
    if energy.value is None:
        return f"missing: {energy.how}"
    return f"{show(energy.value, 'J')} ({energy.status}; {energy.how})"


def _bytes(value: float | None) -> str:
    return "unknown" if value is None else show(value, "B")


def _name(device: DeviceUse) -> str:
    return f"{device.device} on {device.host}"
