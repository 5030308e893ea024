"""Whatever a meter, a control or its vendor's library raises, wattlaw says so and carries on."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from wattlaw.core.errors import DeviceError
from wattlaw.devices import nvml_devices, probe_meters
from wattlaw.devices.control import CheckedControl, Control
from wattlaw.devices.meter import DeviceInfo, Meter, Probe, Sample, Scope
from wattlaw.devices.meters.amdsmi import AmdSmi
from wattlaw.measuring.sampling.host_sampler import HostSampler

ERRORS = [
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    AttributeError("no attribute\nin two lines"),
    KeyError("LD_LIBRARY_PATH"),
    ImportError("no library"),
    SystemExit(1),
]


class Failing(Meter):
    boundaries = ("gpu",)
    error: BaseException
    where = "probe"

    def probe(self) -> Probe:
        if self.where == "probe":
            raise self.error
        return Probe(meter="x", devices=(DeviceInfo(id="gpu:0", boundary="gpu", energy="power"),))

    def read(self) -> list[Sample]:
        raise self.error

    def close(self) -> None:
        raise self.error


def use(monkeypatch: pytest.MonkeyPatch, error: BaseException, where: str) -> None:
    kind = type("Mine", (Failing,), {"error": error, "where": where})
    real = probe_meters.load
    monkeypatch.setattr(
        probe_meters, "load", lambda group, name: kind if name == "mine" else real(group, name)
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_a_probe_that_raises_is_one_line_with_type_and_text(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    use(monkeypatch, error, "probe")
    (meter,) = probe_meters.probe_meters(Scope(root_pid=os.getpid()), ["mine"])
    assert meter.probe.devices == ()
    assert type(error).__name__ in meter.probe.reason
    assert "\n" not in meter.probe.reason
    meter.close()


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_readings_that_raise_are_counted_and_the_other_meters_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    use(monkeypatch, error, "read")
    sampler = HostSampler(tmp_path, Scope(root_pid=os.getpid()), meters=("mine", "procfs"))
    sampler.start()
    host = sampler.stop()
    assert any(type(error).__name__ in t and t.startswith("mine") for t in host.troubles)
    assert any(",job," in line for line in next(tmp_path.glob("*.csv")).read_text().splitlines())


@pytest.mark.parametrize(
    "device",
    [
        DeviceInfo(id="gpu:0", boundary="gpu", name="\udcff"),
        DeviceInfo(id=0, boundary="gpu"),  # type: ignore[arg-type]
    ],
)
def test_a_device_that_no_record_can_hold_makes_its_meter_missing(
    monkeypatch: pytest.MonkeyPatch, device: DeviceInfo
) -> None:
    use(monkeypatch, KeyError(), "read")
    monkeypatch.setattr(Failing, "probe", lambda self: Probe(meter="x", devices=(device,)))
    (meter,) = probe_meters.probe_meters(Scope(root_pid=1), ["mine"])
    assert meter.probe.reason.startswith("the meter mine failed: ")


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_a_control_that_raises_is_a_device_error(error: BaseException) -> None:
    def fail(*arguments: object) -> None:
        raise error

    with pytest.raises(DeviceError, match=type(error).__name__):
        CheckedControl("power_cap_w", fail)  # type: ignore[arg-type]
    methods = dict.fromkeys(("devices", "allowed", "read", "write", "close"), fail)
    checked = CheckedControl("power_cap_w", type("Bad", (Control,), methods))
    for call in (lambda: checked.read("GPU-a"), lambda: checked.devices(None), checked.close):
        with pytest.raises(DeviceError, match="the control power_cap_w failed"):
            call()


@pytest.mark.parametrize("text", ["", "raise KeyError('x')", "import absent_library", "def ("])
def test_another_file_named_pynvml_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "pynvml.py").write_text(text + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setattr(nvml_devices, "LIBRARY", "libc.so.6")
    with pytest.raises(DeviceError, match=r"pynvml\.py") as caught:
        nvml_devices.open_nvml()
    assert "\n" not in str(caught.value)
    sys.modules.pop("pynvml", None)


@pytest.mark.parametrize("error", [AttributeError("gone"), KeyError("ROCM_PATH")])
def test_amdsmi_that_cannot_start_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def fail() -> None:
        raise error

    (tmp_path / "class" / "kfd").mkdir(parents=True)
    module = types.SimpleNamespace(amdsmi_init=fail)
    monkeypatch.setitem(sys.modules, "amdsmi", module)
    meter = AmdSmi(Scope(root_pid=1, sys=str(tmp_path)))
    assert type(error).__name__ in meter.probe().reason
    meter.close()


def test_a_gpu_whose_name_is_not_utf8_is_measured_all_the_same() -> None:
    class NVMLError(Exception):
        value = 0

    def name(handle: object) -> str:
        return b"\xff".decode()

    nvml = types.SimpleNamespace(NVMLError=NVMLError, nvmlDeviceGetName=name)
    handle = nvml_devices.NvmlHandle(nvml, object())
    assert handle.ask("GetName") is None
    assert "UnicodeDecodeError" in handle.unexpected["GetName"]
