"""Runs made from known laws, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from wattlaw.core.reading import Note, Reading, estimated, measured
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from


def run(
    time_per_sample: float,
    devices: int = 1,
    repeat: int = 0,
    energy: float | None = None,
    estimate: bool = False,
    warnings: tuple[Note, ...] = (),
    state: str = "done",
    **setting: object,
) -> Run:
    """One run of a workload with a time per sample, s, and an energy per sample, J."""
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
    """Runs at each number of devices with log-normal noise."""
    rng = np.random.default_rng(seed)
    return [
        run(t * float(np.exp(rng.normal(0, noise))), n, r, **setting)
        for n, t in times.items()
        for r in range(repeats)
    ]


def power_law(alpha: float, beta: float, sizes: Iterable[int]) -> dict[int, float]:
    """Times of t = α·N^(−β)."""
    return {n: alpha * n**-beta for n in sizes}
