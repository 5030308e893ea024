"""Made-up records for tests of the report: the numbers mean nothing, their shape is that of real runs."""

from __future__ import annotations

import random
from collections.abc import Sequence

from wattlaw.core.reading import Note, Reading, estimated, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting, Stop, identity

MODEL = "CPU power model: 3 W + 9.5 W a busy core"


def run(
    workload: str = "schnet",
    devices: int = 1,
    batch: int | None = 32,
    repeat: int = 0,
    *,
    step_s: float = 0.04,
    energy: str = "estimated",
    warnings: Sequence[Note] = (),
    order: int = 0,
    device_type: str = "cpu",
    noise: random.Random | None = None,
    labels_of: dict[str, str] | None = None,
    **fields: object,
) -> Run:
    """Return one run that looks like a trial of the runner."""
    noise = noise or random.Random(0)
    step = step_s * noise.lognormvariate(0, 0.02)
    samples, steps = (batch or 16) * devices * 40, 40
    elapsed = step * steps
    parts = {"data_s": 0.04, "forward_s": 0.3, "backward_s": 0.5, "optimiser_s": 0.08}
    quantities = {
        "step_time_s": Reading(step, "measured", "", step * 0.95, step * 1.08, steps),
        "samples_per_s": measured(samples / elapsed),
        "elapsed_s": measured(elapsed),
        "steps": measured(steps),
        "samples": measured(samples),
        "cpu_utilisation": measured(0.5 * devices),
        "memory_peak_bytes": measured(4.1e8 * devices),
        "loss_last": measured(0.7),
        "communication_s": measured(step * 0.02 * (devices - 1)),
        **{n: measured(step * share * 0.97) for n, share in parts.items()},
        "cpu_energy_j": energy_of(energy, elapsed * (10 + 9 * devices)),
    }
    setting = Setting(
        workload=workload,
        preset="tiny",
        devices_per_node=devices,
        batch_per_device=batch,
        stop=Stop(steps=40),
        **fields,
    )
    return Run(
        setting=setting,
        trial=f"{workload}-{devices}x{batch}-{identity(setting)}-r{repeat}",
        sweep="made-up",
        wattlaw="0.1.0",
        repeat=repeat,
        started=f"2026-11-23T{5 + order // 3600:02d}:{order // 60 % 60:02d}:{order % 60:02d}.000Z",
        machine=Machine(
            device_type=device_type, device_name="Test CPU", cores=2, cpu_name="Test CPU"
        ),
        quantities=quantities,
        labels=labels_of or {},
        warnings=tuple(warnings),
    )


def energy_of(status: str, joules: float) -> Reading:
    if status == "measured":
        return measured(joules, "RAPL package counter")
    if status == "estimated":
        return estimated(joules, MODEL)
    return missing("RAPL is not readable here")


def failed(
    workload: str = "schnet",
    error: str = "Traceback …\nRuntimeError: out of memory",
    **fields: object,
) -> Run:
    """Return a run that failed before it had any quantity."""
    setting = Setting(workload=workload, preset="tiny", batch_per_device=1024, **fields)
    return Run(
        setting=setting, trial=f"{workload}-failed", sweep="made-up", state="failed", error=error
    )


def sweep(
    workloads: Sequence[tuple[str, float]] = (("schnet", 0.04), ("gpt2", 0.09), ("resnet50", 0.21)),
    devices: Sequence[int] = (1, 2),
    batches: Sequence[int] = (16, 32),
    repeats: int = 3,
    **more: object,
) -> list[Run]:
    """Return the runs of a grid, in a random order as a sweep has it."""
    noise = random.Random(1)
    points = [
        (w, s, d, b, r)
        for r in range(repeats)
        for w, s in workloads
        for d in devices
        for b in batches
    ]
    noise.shuffle(points)
    found = []
    for order, (name, step, count, batch, repeat) in enumerate(points):
        step_s = step * (batch / 32) ** 0.8 * count**0.3
        found.append(
            run(name, count, batch, repeat, step_s=step_s, order=order * 6, noise=noise, **more)  # type: ignore[arg-type]
        )
    return found
