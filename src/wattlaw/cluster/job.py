"""One job's efficiency as a page of text: asked against used, energy with its status, a little advice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.reading import Reading, measured, missing
from wattlaw.core.units import show, show_time
from wattlaw.measuring.reduce.device_use import DeviceUse
from wattlaw.measuring.reduce.summary import Summary, summarise
from wattlaw.slurm.accounting import JobUse

IDLE_SHARE = 0.05
"""A GPU that is busy less than this share of the time counts as idle."""

_NO_GPU_USE = "not known (no record of wattlaw's, and Slurm accounts no gres/gpuutil)"
_NO_ENERGY = (
    "Slurm reads none here (AcctGatherEnergyType) and no record of wattlaw lies in the job; "
    "`wattlaw measure -o runs` in the job and `--runs runs` here tell it"
)

_LOW_CPU, _LOW_MEMORY, _LOW_TIME, _LOW_GPU, _MOST_ADVICE = 0.3, 0.3, 0.25, 0.5, 3


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one job. Shares are used over asked; None where one of both is not known."""

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
    """Set a job's request against its use; ``summaries`` are those of wattlaw's records made within the job."""
    devices = tuple(d for s in summaries for d in s.devices if d.boundary == "gpu")
    shares = [d.utilisation for d in devices if d.utilisation is not None]
    gpu_share = sum(shares) / len(shares) if shares else job.gpu_utilisation
    found = JobPage(
        job=job,
        time_share=_share(job.elapsed_s, job.limit_s),
        cpu_share=_share(job.cpu_time_s, job.cpus * job.elapsed_s),
        memory_share=_share(job.memory_used_bytes, job.memory_asked_bytes),
        gpu_share=gpu_share,
        gpu_source="wattlaw's readings"
        if shares
        else "Slurm's accounting"
        if gpu_share is not None
        else "",
        energy=_energy(job, summaries),
        devices=devices,
        idle=tuple(
            _name(d) for d in devices if d.utilisation is not None and d.utilisation < IDLE_SHARE
        ),
        throttled=tuple(_name(d) for d in devices if d.throttled_share),
    )
    return msgspec.structs.replace(found, advice=tuple(_advice(found)[:_MOST_ADVICE]))


def records_of(job: str, root: Path) -> list[Summary]:
    """Summarise every attempt under ``root`` that ran within a job (its SLURM_JOB_ID); others' are left out."""
    found = []
    for path in sorted(root.glob("**/attempt-*/environment.json")):
        try:
            scheduler = json.loads(path.read_bytes()).get("scheduler", {})
            if scheduler.get("SLURM_JOB_ID") == job:
                found.append(summarise(path.parent))
        except (OSError, ValueError, DamagedRunError):
            continue
    return found


def text(p: JobPage) -> str:
    """Return the page."""
    job = p.job
    nodes = f"{_many(job.nodes, 'node')} {job.node_list}".rstrip()
    lines = [
        f"job {job.id} ({job.name}) of {job.user}: {job.state}, {nodes}",
        "",
        _line(
            "time",
            show_time(job.elapsed_s),
            None if job.limit_s is None else show_time(job.limit_s),
            p.time_share,
        ),
        _line("CPUs", _cores(job), _many(job.cpus, "core"), p.cpu_share),
        _line(
            "memory", _bytes(job.memory_used_bytes), _bytes(job.memory_asked_bytes), p.memory_share
        ),
    ]
    if job.gpus:
        used = (
            _NO_GPU_USE
            if p.gpu_share is None
            else f"{p.gpu_share * job.gpus:.1f} GPUs busy ({p.gpu_source})"
        )
        lines.append(_line("GPUs", used, _many(job.gpus, "GPU"), p.gpu_share))
    energy = p.energy
    known = (
        f"missing: {energy.how}"
        if energy.value is None
        else f"{show(energy.value, 'J')} ({energy.status}; {energy.how})"
    )
    lines.append(f"{'energy':<8} {known}")
    lines += [f"{'idle':<8} {', '.join(p.idle)}"] if p.idle else []
    lines += [f"{'held down':<8} {', '.join(p.throttled)} by heat or power"] if p.throttled else []
    lines += ["", *(f"- {words}" for words in p.advice)] if p.advice else []
    return "\n".join(lines)


def _energy(job: JobUse, summaries: Sequence[Summary]) -> Reading:
    readings = [s.quantities["gpu_energy_j"] for s in summaries]
    if readings and all(r.status == "measured" for r in readings):
        return measured(
            sum(r.value or 0.0 for r in readings), "GPUs alone, by wattlaw, in its measured windows"
        )
    if job.energy_j is not None:
        return measured(job.energy_j, "whole nodes, by Slurm's energy plug-in")
    return missing(_NO_ENERGY)


def _advice(p: JobPage) -> list[str]:
    """Return what to change, the dearest waste first."""
    found, job = [], p.job
    if p.idle:
        enough = _many(len(p.devices) - len(p.idle) or 1, "GPU")
        found.append(f"{len(p.idle)} of {len(p.devices)} GPUs were idle: ask for {enough}")
    elif job.gpus and p.gpu_share is not None and p.gpu_share < _LOW_GPU:
        found.append(
            f"the GPUs were busy {p.gpu_share:.0%} of the time: look at data loading and batch size, or take fewer"
        )
    if p.throttled:
        found.append("heat or a power brake held clocks down: tell the operators")
    if p.cpu_share is not None and p.cpu_share < _LOW_CPU and job.cpus > 2 * max(job.gpus, 1):
        found.append(
            f"{p.cpu_share:.0%} of {job.cpus} cores were busy: ask for {max(job.gpus, _need(p.cpu_share, job.cpus))}"
        )
    if p.memory_share is not None and p.memory_share < _LOW_MEMORY:
        found.append(f"at most {_bytes(job.memory_used_bytes)} of memory were used: ask for less than "
                     f"{_bytes(job.memory_asked_bytes)}")  # fmt: skip
    if job.state == "TIMEOUT":
        found.append("it ran into its time limit: ask for more, or write checkpoints")
    elif p.time_share is not None and p.time_share < _LOW_TIME and (job.limit_s or 0) > 3600:
        found.append(f"it took {p.time_share:.0%} of its time limit: a shorter one starts sooner")
    return found


def _need(share: float, cpus: int) -> int:
    return max(1, -(-int(share * cpus * 150) // 100))


def _share(used: float | None, asked: float | None) -> float | None:
    return None if used is None or not asked else used / asked


def _line(what: str, used: str, asked: str | None, share: float | None) -> str:
    percent = "" if share is None else f"  {share:.0%}"
    return f"{what:<8} {used} of {asked or 'no limit'}{percent}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _cores(job: JobUse) -> str:
    if job.cpu_time_s is None or not job.elapsed_s:
        return "not known before it ends" if job.state == "RUNNING" else "not known"
    return f"{job.cpu_time_s / job.elapsed_s:.1f} cores busy"


def _bytes(value: float | None) -> str:
    return "not known" if value is None else show(value, "B")


def _name(device: DeviceUse) -> str:
    return f"{device.device} on {device.host}"
