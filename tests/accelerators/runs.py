"""Make runs on accelerators of the catalogue."""

from __future__ import annotations

from wattlaw.core.reading import estimated, measured
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from

A100 = "NVIDIA A100-SXM4-80GB"


def run_on(
    device: str = A100, rate: float = 800.0, source: str = "wattlaw", **setting: object
) -> Run:
    chosen = setting_from(
        {"workload": "resnet50", "preset": "base", "precision": "bf16", "devices": 2, **setting}
    )
    quantities = {
        "samples_per_s": measured(rate),
        "gpu_mean_power_w": measured(600.0),
        "samples": measured(8000.0),
    }
    quantities |= {"gpu_energy_j": measured(6000.0), "cpu_energy_j": estimated(1000.0, "a model")}
    machine = Machine(device_type="cuda", device_name=device)
    return Run(setting=chosen, trial="t", source=source, machine=machine, quantities=quantities)
