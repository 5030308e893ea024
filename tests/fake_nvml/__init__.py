"""Build and drive the fake NVML library. Values measured with it are never findings."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).parent / "nvml.c"

PLACES = (
    "load", "idle_w", "full_w", "limit_w", "default_w", "low_w", "high_w", "sm_lock", "memory_lock", "sm_mhz",
    "memory_mhz", "update_s", "average_s", "lost_at", "may_set", "has_counter", "fail_every", "calls",
    "counter_shift_j", "temperature", "throttle", "other_pid", "memory_used", "has_instant", "ignores_sets", "sets",
    "is_mig", "links", "link_way", "link_rate", "pcie_rate", "bytes_shift", "sm_application", "memory_application",
    "is_before_r470", "is_persistent", "is_hidden", "kind",
)  # fmt: skip

DEVICE = {
    "idle_w": 60, "full_w": 400, "limit_w": 380, "default_w": 400, "low_w": 100, "high_w": 400, "sm_mhz": 1500,
    "memory_mhz": 1600, "update_s": 0.02, "may_set": 1, "has_counter": 1, "has_instant": 1, "temperature": 45,
    "memory_used": 2**30, "is_persistent": 1,
}  # fmt: skip


def build(folder: Path, *, is_old: bool = False) -> Path:
    """Compile the library into a folder and return the folder, for LD_LIBRARY_PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["cc", "-O1", "-shared", "-fPIC", *(["-DOLD_DRIVER"] if is_old else []), str(SOURCE)]
    subprocess.run(
        [*words, "-o", str(folder / "libnvidia-ml.so.1"), "-lm"], check=True, capture_output=True
    )
    return folder


class FakeNvml:
    """Some fake devices, and the environment in which programs find them."""

    def __init__(self, library: Path, state: Path, count: int = 2) -> None:
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"},
            "LD_LIBRARY_PATH": str(library),
            "FAKE_NVML_STATE": str(state),
            "WATTLAW_STATE": str(state.parent / "limits"),
        }
        before = os.environ.get("FAKE_NVML_STATE")
        os.environ["FAKE_NVML_STATE"] = str(state)
        # its own copy, because the path of the state is read once per process
        own = state.parent / f"{state.name}.so"
        own.write_bytes((library / "libnvidia-ml.so.1").read_bytes())
        self.library = ctypes.CDLL(str(own))
        self.library.fake_get.restype = self.library.fake_joules.restype = ctypes.c_double
        self.library.fake_create(count)
        if before is None:
            del os.environ["FAKE_NVML_STATE"]
        else:
            os.environ["FAKE_NVML_STATE"] = before
        for index in range(count):
            self.set(index, **DEVICE)

    def set(self, index: int, **values: float) -> None:
        """Change values of a device, such as ``set(0, load=1)``; power changes at once."""
        for name, value in values.items():
            self.library.fake_set(index, PLACES.index(name), ctypes.c_double(value))

    def cut(self, index: int, *slices: int, pid: int = 0, is_hidden: bool = False) -> list[str]:
        """Enable MIG, create instances with these numbers of compute slices; return their UUIDs."""
        self.set(index, is_mig=1)
        for number, count in enumerate(slices):
            used = ctypes.c_double((number + 1) * 2**30)
            # drivers number GPU instances from 1 and compute instances from 0
            self.library.fake_instance(
                index, number, number + 1, 0, count, used, ctypes.c_double(pid), is_hidden
            )
        return [self.instance(index, number) for number in range(len(slices))]

    def instance(self, index: int, number: int) -> str:
        """Return the UUID of a MIG instance."""
        return f"MIG-fa4e0000-0000-0000-{index:04x}-{number:012d}"

    def get(self, index: int, name: str) -> float:
        """Return a value of a device."""
        return float(self.library.fake_get(index, PLACES.index(name)))

    def joules(self, index: int, at_s: float | None = None) -> float:
        """Return the true energy of a device at a moment, J."""
        return float(
            self.library.fake_joules(
                index, ctypes.c_double(time.monotonic() if at_s is None else at_s)
            )
        )

    def uuid(self, index: int, node: str = "") -> str:
        """Return the UUID of a device. On a node of Slurm it includes the name of the node."""
        return f"GPU-fa4e0000-0000-0000-{ord(node[0]) if node else 0:04x}-{index:012d}"
