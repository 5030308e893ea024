"""GPUs without NVML: nvidia-smi and AMD SMI, each replaced by a fake."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest

from wattlaw.devices.meter import Scope
from wattlaw.devices.meters.amdsmi import AmdSmi
from wattlaw.devices.meters.nvidia_smi import NvidiaSmi

ROWS = """\
0, GPU-aaaa, Stand-in, 101.50, 50, 20, 1024, 40, 1200, 1600, 300.00
1, GPU-bbbb, Stand-in, [N/A], 0, 0, 10, 35, 300, 1600, [N/A]
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nwhile :; do cat <<'EOF'\n{ROWS}EOF\nsleep 0.05; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_nvidia_smi_replaces_nvml_and_a_device_without_power_has_a_reason(nvidia_smi: None) -> None:
    meter = NvidiaSmi(Scope(root_pid=1))
    first, second = meter.probe().devices
    assert (first.id, first.energy, first.limits) == ("gpu:0", "power", {"power_limit_w": 300.0})
    assert (second.energy, second.reason) == ("none", "nvidia-smi reports no power of it")
    time.sleep(0.2)
    samples = {s.device: s for s in meter.read()}
    assert samples["gpu:0"].power_w == 101.5
    assert samples["gpu:0"].utilisation == 0.5
    assert samples["gpu:0"].memory_used_bytes == 1024 * 2**20
    assert samples["gpu:1"].power_w is None
    process = meter.process
    meter.close()
    assert process is not None
    assert process.returncode is not None


def test_nvidia_smi_reads_only_the_selected_gpus(nvidia_smi: None) -> None:
    meter = NvidiaSmi(Scope(root_pid=1, gpus=("GPU-bbbb",)))
    assert [d.uuid for d in meter.probe().devices] == ["GPU-bbbb"]
    meter.close()


class Refused(Exception):
    pass


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A fake amdsmi with one MI300X, after AMD's documentation of each call."""
    module = types.ModuleType("amdsmi")

    def refuse(*arguments: object) -> None:
        raise Refused("not supported")

    answers = {
        "amdsmi_init": None,
        "amdsmi_shut_down": None,
        "amdsmi_get_processor_handles": ["handle"],
        "amdsmi_get_gpu_device_uuid": "62ff74a1-0000-1000-80e3-000000000000",
        "amdsmi_get_gpu_asic_info": {"market_name": "AMD Instinct MI300X"},
        "amdsmi_get_power_cap_info": {
            "power_cap": 750_000_000,
            "min_power_cap": 0,
            "max_power_cap": 750_000_000,
        },
        "amdsmi_get_energy_count": {
            "energy_accumulator": 1_000_000,
            "counter_resolution": 15.3,
            "timestamp": 1,
        },
        "amdsmi_get_power_info": {"current_socket_power": 432, "average_socket_power": "N/A"},
        "amdsmi_get_gpu_activity": {"gfx_activity": 97, "umc_activity": "N/A"},
        "amdsmi_get_gpu_vram_usage": {"vram_total": 196_592, "vram_used": 283},
        "amdsmi_get_temp_metric": 51,
        "amdsmi_get_clock_info": {"clk": 2100, "max_clk": 2100},
    }
    for name, answer in answers.items():
        setattr(module, name, lambda *arguments, answer=answer: answer)
    module.AmdSmiException = Refused  # type: ignore[attr-defined]
    module.AmdSmiTemperatureType = types.SimpleNamespace(HOTSPOT=1, EDGE=0)  # type: ignore[attr-defined]
    module.AmdSmiTemperatureMetric = types.SimpleNamespace(CURRENT=0)  # type: ignore[attr-defined]
    module.AmdSmiClkType = types.SimpleNamespace(GFX=0, MEM=4)  # type: ignore[attr-defined]
    module.refuse = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "amdsmi", module)
    return module


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    """A machine with an AMD compute device in its kernel."""
    (tmp_path / "class" / "kfd").mkdir(parents=True)
    return Scope(root_pid=1, sys=str(tmp_path))


def test_an_amd_gpu_is_read_in_si_units(amd: types.ModuleType, scope: Scope) -> None:
    meter = AmdSmi(scope)
    (device,) = meter.probe().devices
    assert (device.name, device.energy) == ("AMD Instinct MI300X", "counter")
    assert device.limits["power_limit_w"] == 750
    (sample,) = meter.read()
    assert sample.energy_j == pytest.approx(15.3)
    assert (sample.power_w, sample.utilisation, sample.memory_utilisation) == (432, 0.97, None)
    assert (sample.temperature_c, sample.sm_clock_mhz) == (51, 2100)


def test_calls_that_an_amd_gpu_refuses_leave_their_cells_empty(
    amd: types.ModuleType, scope: Scope
) -> None:
    amd.amdsmi_get_energy_count = amd.refuse  # type: ignore[attr-defined]
    del amd.amdsmi_get_clock_info  # type: ignore[attr-defined]
    meter = AmdSmi(scope)
    assert meter.probe().devices[0].energy == "power"
    (sample,) = meter.read()
    assert (sample.energy_j, sample.sm_clock_mhz, sample.power_w) == (None, None, 432)


def test_without_its_library_the_amd_meter_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch, scope: Scope
) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert AmdSmi(scope).probe().grant == "pip install 'wattlaw[amd]'"
    assert "no AMD GPU on this machine" in AmdSmi(Scope(root_pid=1, sys="/nowhere")).probe().reason


@pytest.mark.parametrize(
    ("rocr", "hip", "ids"),
    [
        ("1,2", None, ["gpu:1", "gpu:2"]),
        ("2,1", "1", ["gpu:1"]),
        (None, "3", ["gpu:3"]),
        ("GPU-0000000000000002", None, ["gpu:2"]),
        ("", None, []),
    ],
)
def test_rocr_and_hip_variables_choose_amd_gpus(
    amd: types.ModuleType,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
    rocr: str | None,
    hip: str | None,
    ids: list[str],
) -> None:
    def asic(handle: int) -> dict[str, str]:
        return {"asic_serial": f"0x{handle:x}"}

    amd.amdsmi_get_processor_handles = lambda: [0, 1, 2, 3]  # type: ignore[attr-defined]
    amd.amdsmi_get_gpu_device_uuid = lambda handle: f"uuid-{handle}"  # type: ignore[attr-defined]
    amd.amdsmi_get_gpu_asic_info = asic  # type: ignore[attr-defined]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in (("ROCR_VISIBLE_DEVICES", rocr), ("HIP_VISIBLE_DEVICES", hip)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert [d.id for d in AmdSmi(scope).probe().devices] == ids
