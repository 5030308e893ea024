"""Make runs for tests: as the runner records them, from known laws, or as a whole grid.

Their numbers mean nothing; their shape is that of real runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wattlaw.core.reading import Note, Reading, estimated, measured, missing, spread
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import Setting, Stop, identity, setting_from
from wattlaw.core.sweepfile import Trial

MODEL = "CPU power model: 3 W + 9.5 W a busy core"


def make_run(devices: int = 1, repeat: int = 0, step_s: float = 0.1, **changes: object) -> Run:
    """Return a run as the runner writes it; ``changes`` replace fields of the run."""
    setting = changes.pop("setting", None) or Setting(
        "schnet", preset="tiny", devices_per_node=devices, batch_per_device=32, stop=Stop(steps=30)
    )
    fields = {
        "sweep": "demo",
        "wattlaw": "0.1.0",
        "started": "2026-11-23T05:06:41.123Z",
        "machine": Machine("cpu", "Xeon", 1, 2, "Xeon"),
        "quantities": {
            "step_time_s": spread(
                [step_s * f for f in (0.97, 0.99, 1.0, 1.01, 1.04)], "steps of all ranks"
            ),
            "samples_per_s": Reading(32 * devices / step_s, "measured", "", 300.0, 330.0, 5),
            "samples": Reading(960.0),
            "elapsed_s": Reading(30 * step_s),
            "cpu_energy_j": estimated(65.0, "linear CPU power model"),
            "gpu_energy_j": missing("no GPU on this machine"),
        },
        "warnings": (Note("oversubscribed", "2 processes on 1 core"),) if devices > 1 else (),
        **changes,
    }
    return Run(setting=setting, trial=Trial(setting, repeat).id, repeat=repeat, **fields)


def law_run(
    time_per_sample: float,
    devices: int = 1,
    repeat: int = 0,
    energy: float | None = None,
    estimate: bool = False,
    warnings: tuple[Note, ...] = (),
    state: str = "done",
    **setting: object,
) -> Run:
    """Return a run of a workload with a time per sample, s, and an energy per sample, J."""
    batch = int(setting.get("batch_per_device", 32) or 32)
    chosen = setting_from(
        {"workload": "schnet", "batch_per_device": batch, **setting, "devices": devices}
    )
    rate = 1 / time_per_sample if time_per_sample else 0.0
    quantities: dict[str, Reading] = {
        "samples_per_s": measured(rate),
        "step_time_s": measured(time_per_sample * batch * devices),
        "samples": measured(1000.0),
        "elapsed_s": measured(1000.0 * time_per_sample),
    }
    if energy is not None:
        made = estimated(1000 * energy, "a model") if estimate else measured(1000 * energy)
        quantities["gpu_energy_j"] = made
    machine = Machine(device_type="cpu")
    return Run(
        setting=chosen, trial=f"t{repeat}", repeat=repeat, quantities=quantities, machine=machine, warnings=warnings,
        state=state,  # type: ignore[arg-type]
    )  # fmt: skip


def scaled(
    times: Mapping[int, float],
    repeats: int = 3,
    noise: float = 0.02,
    seed: int = 0,
    **setting: object,
) -> list[Run]:
    """Return runs at each number of devices with log-normal noise."""
    rng = np.random.default_rng(seed)
    return [
        law_run(t * float(np.exp(rng.normal(0, noise))), n, r, **setting)
        for n, t in times.items()
        for r in range(repeats)
    ]


def power_law(alpha: float, beta: float, sizes: Iterable[int]) -> dict[int, float]:
    """Return times of t = α·N^(−β)."""
    return {n: alpha * n**-beta for n in sizes}


def trial_run(
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


def failed_run(
    workload: str = "schnet",
    error: str = "Traceback …\nRuntimeError: out of memory",
    **fields: object,
) -> Run:
    """Return a run that failed before it had any quantity."""
    setting = Setting(workload=workload, preset="tiny", batch_per_device=1024, **fields)
    return Run(
        setting=setting, trial=f"{workload}-failed", sweep="made-up", state="failed", error=error
    )


def grid_runs(
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
            trial_run(
                name, count, batch, repeat, step_s=step_s, order=order * 6, noise=noise, **more
            )  # type: ignore[arg-type]
        )
    return found
