"""The quantities that wattlaw knows: what they mean, their unit, and how a person reads them."""

from __future__ import annotations

import math
from typing import NamedTuple

from wattlaw.core.errors import UnknownNameError

TIME = "time_per_sample_s"
DEVICE_TIME = "device_time_per_sample_s"
ENERGY = "energy_per_sample_j"
GPU_ENERGY = "gpu_energy_per_sample_j"
"""The quantities by which settings are compared."""


class Quantity(NamedTuple):
    """A named quantity: its title for people and its SI unit ("" for a pure number)."""

    title: str
    unit: str
    better: int = 0  # -1: less is better, +1: more is better, 0: neither


QUANTITIES: dict[str, Quantity] = {
    # time and rate, over the steps after warm-up
    "step_time_s": Quantity("time per step", "s", -1),
    "samples_per_s": Quantity("samples per second", "1/s", 1),
    "elapsed_s": Quantity("time of the measured window", "s", -1),
    "trial_s": Quantity("time of the whole trial, start-up included", "s", -1),
    "setup_s": Quantity("time before the first step", "s", -1),
    "warmup_s": Quantity("time of the warm-up steps", "s", -1),
    "steps": Quantity("steps measured", ""),
    "samples": Quantity("samples of all ranks in the window", ""),
    "global_batch": Quantity("samples of all ranks in a step", ""),
    # phases of a step, median over steps
    "data_s": Quantity("waiting for data", "s", -1),
    "forward_s": Quantity("forward", "s", -1),
    "backward_s": Quantity("backward", "s", -1),
    "communication_s": Quantity("exposed communication", "s", -1),
    "optimiser_s": Quantity("optimiser", "s", -1),
    "rest_s": Quantity("step outside of its phases", "s", -1),
    # energy, one boundary each
    "gpu_energy_j": Quantity("energy of the GPUs", "J", -1),
    "cpu_energy_j": Quantity("energy of the CPU packages", "J", -1),
    "dram_energy_j": Quantity("energy of the memory", "J", -1),
    "node_energy_j": Quantity("energy of the nodes", "J", -1),
    # power and use of the devices
    "gpu_mean_power_w": Quantity("mean power of all GPUs", "W", -1),
    "gpu_max_power_w": Quantity("highest power of all GPUs", "W", -1),
    "cpu_mean_power_w": Quantity("mean power of the CPU packages", "W", -1),
    "gpu_utilisation": Quantity("GPU utilisation", ""),
    "cpu_utilisation": Quantity("busy share of the machine's cores", ""),
    "cpu_time_s": Quantity("CPU time of the job's processes", "s", -1),
    "memory_peak_bytes": Quantity("peak memory of the job's processes", "B", -1),
    "gpu_memory_peak_bytes": Quantity("peak GPU memory", "B", -1),
    "gpu_temperature_c": Quantity("highest GPU temperature", "°C"),
    "sm_clock_mhz": Quantity("mean SM clock", "MHz"),
    "memory_clock_mhz": Quantity("mean memory clock", "MHz"),
    # bytes moved by the devices
    "pcie_received_bytes": Quantity("bytes that the GPUs received over PCIe", "B"),
    "pcie_sent_bytes": Quantity("bytes that the GPUs sent over PCIe", "B"),
    "nvlink_received_bytes": Quantity("bytes that the GPUs received over NVLink", "B"),
    "nvlink_sent_bytes": Quantity("bytes that the GPUs sent over NVLink", "B"),
    # learning
    "loss_first": Quantity("loss of the first step", "", -1),
    "loss_last": Quantity("loss of the last steps", "", -1),
    # of the valid part, at the last evaluation
    "valid_loss": Quantity("loss on the valid part", "", -1),
    "valid_perplexity": Quantity("perplexity on the valid part", "", -1),
    "valid_accuracy": Quantity("share of right answers on the valid part", "", 1),
    "valid_top1": Quantity("Top-1 on the valid part, a share of 1", "", 1),
    "valid_top5": Quantity("Top-5 on the valid part, a share of 1", "", 1),
    "valid_mae": Quantity("mean absolute error on the valid part, in the property's unit", "", -1),
    "valid_mae_mev": Quantity("mean absolute error on the valid part", "meV", -1),
    "valid_energy_mae_mev": Quantity(
        "mean absolute error of energies on the valid part", "meV", -1
    ),
    "valid_force_mae_mev_per_angstrom": Quantity(
        "mean absolute error of forces on the valid part", "meV/Å", -1
    ),
    # pauses between steps, in no step's time
    "evaluation_s": Quantity("time of the evaluations", "s", -1),
    "checkpoint_s": Quantity("time of writing checkpoints", "s", -1),
    "saving_s": Quantity("time of saving the model", "s", -1),
    # of all steps from the first on, until the target was met
    "target_time_s": Quantity("training time to the target", "s", -1),
    "target_steps": Quantity("steps to the target", "", -1),
    "target_samples": Quantity("samples to the target", "", -1),
    "target_gpu_energy_j": Quantity("energy of the GPUs to the target", "J", -1),
    "target_cpu_energy_j": Quantity("energy of the CPU packages to the target", "J", -1),
    "target_dram_energy_j": Quantity("energy of the memory to the target", "J", -1),
    "target_node_energy_j": Quantity("energy of the nodes to the target", "J", -1),
    # of all steps of all attempts of a trial that was resumed
    "all_attempts_time_s": Quantity("training time of all attempts", "s", -1),
    "all_attempts_steps": Quantity("steps of all attempts", ""),
    "all_attempts_samples": Quantity("samples of all attempts", ""),
    "all_attempts_gpu_energy_j": Quantity("energy of the GPUs in all attempts", "J", -1),
    "all_attempts_cpu_energy_j": Quantity("energy of the CPU packages in all attempts", "J", -1),
    "all_attempts_dram_energy_j": Quantity("energy of the memory in all attempts", "J", -1),
    "all_attempts_node_energy_j": Quantity("energy of the nodes in all attempts", "J", -1),
    # derived when asked for, see derive.py
    "time_per_sample_s": Quantity("time per sample", "s", -1),
    "device_time_per_sample_s": Quantity("device-seconds per sample", "s", -1),
    "device_hours": Quantity("device-hours of the window", "h", -1),
    "cost_per_sample": Quantity("cost per sample", "", -1),
    "gpu_energy_per_sample_j": Quantity("GPU energy per sample", "J", -1),
    "cpu_energy_per_sample_j": Quantity("CPU energy per sample", "J", -1),
    "node_energy_per_sample_j": Quantity("node energy per sample", "J", -1),
    "energy_j": Quantity("energy within the widest measured boundary", "J", -1),
    "energy_per_sample_j": Quantity("energy per sample, widest measured boundary", "J", -1),
    "energy_delay_product_js": Quantity("energy × time per sample", "J·s", -1),
    "achieved_flop_per_s": Quantity("achieved floating-point rate of each device", "1/s", 1),
}

_PREFIXES = [
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
]


def quantity(name: str) -> Quantity:
    """Return what is known of a quantity; UnknownNameError with the nearest names otherwise."""
    try:
        return QUANTITIES[name]
    except KeyError:
        raise UnknownNameError("quantity", name, QUANTITIES) from None


def show(value: float, unit: str = "", digits: int = 3) -> str:
    """Return a value as a person reads it: ``show(0.0123, "s")`` is "12.3 ms"."""
    if value != value:
        return "not a number"
    if value == 0:
        return f"0 {unit}".rstrip()
    if unit == "s" and abs(value) >= 100:
        return show_time(value)
    if unit == "1/s":
        return f"{show(value, '', digits)}/s"
    if math.isinf(value):
        return f"{'−' if value < 0 else ''}∞ {unit}".rstrip()
    if unit in ("h", "°C", "MHz", "meV", "meV/Å") or (unit == "" and abs(value) < 1e5):
        return f"{_round(value, digits)} {unit}".rstrip()
    if unit == "B":
        return _show_bytes(value, digits)
    for factor, prefix in _PREFIXES:  # noqa: B007
        # the next larger prefix wins where rounding would print 1000
        if abs(value) >= factor * (1 - 0.5 * 10**-digits):
            break
    return f"{_round(value / factor, digits)} {prefix}{unit}".rstrip()


def show_time(seconds: float) -> str:
    """Return a duration as "2 min 05 s", "3 h 04 min" or "12.3 ms"."""
    if abs(seconds) < 100:
        return show(seconds, "s")
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole / 86400:.1f} d"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 run", "2 runs"; ``many`` is the plural where an s alone does not make it."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _show_bytes(value: float, digits: int) -> str:
    for factor, prefix in [(2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")]:
        # 1000 and more of a unit are shown in the next larger one, so that no figure has four digits
        if abs(value) >= factor / 1.024 * (1 - 0.5 * 10**-digits):
            return f"{_round(value / factor, digits)} {prefix}B"
    return f"{_round(value, digits)} B"


def _round(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e+" not in text:
        return text
    return f"{value:.0f}" if abs(value) < 9999.5 else f"{value:,.0f}".replace(",", " ")
