"""What every control of NVIDIA devices shares: finding them, and NVML's refusals in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from wattlaw.core.errors import DeviceError, PermissionDeniedError
from wattlaw.devices.nvml_devices import open_nvml, wanted_devices

_NO_PERMISSION, _NOT_SUPPORTED, _GPU_IS_LOST = 4, 3, 15


class Driver:
    """NVML, opened for setting. Raises DeviceError where there is no driver."""

    def __init__(self) -> None:
        self.nvml = open_nvml()
        self._handles: dict[str, Any] = {}
        self._index: dict[str, int] = {}
        with self.explained("finding the GPUs", ""):
            for index in range(self.nvml.nvmlDeviceGetCount()):
                self._find(index)

    def devices(self, wanted: Sequence[str] | None) -> list[str]:
        """Return the UUIDs of the devices that are meant. Raises DeviceError for a MIG instance: it has no limits."""
        uuids = list(self._handles)
        chosen = wanted_devices(None if wanted is None else tuple(wanted), uuids)
        for one in chosen:
            if one.mig:
                raise DeviceError(f"{one.mig} is a MIG instance; power and clock limits are the whole GPU's")
        return [uuids[one.gpu] for one in chosen]

    def handle(self, device: str) -> Any:
        """Return NVML's handle of a device. Raises DeviceError where it is gone."""
        if device not in self._handles:
            raise DeviceError(f"the GPU {device} is gone")
        return self._handles[device]

    def index(self, device: str) -> int:
        """Return NVML's index of a device."""
        return self._index[device]

    def close(self) -> None:
        """Let go of NVML."""
        with contextlib.suppress(self.nvml.NVMLError):
            self.nvml.nvmlShutdown()

    @contextlib.contextmanager
    def explained(self, doing: str, grant: str) -> Iterator[None]:
        """Turn NVML's refusals into plain errors; ``grant`` says how to get the permission."""
        try:
            yield
        except self.nvml.NVMLError as error:
            if error.value == _NO_PERMISSION:
                raise PermissionDeniedError(f"{doing} is not permitted to this user; {grant}") from None
            if error.value == _NOT_SUPPORTED:
                raise DeviceError(f"{doing} is not supported by this device") from None
            raise DeviceError(f"{doing} failed: {error}") from None

    def _find(self, index: int) -> None:
        try:
            handle = self.nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = self.nvml.nvmlDeviceGetUUID(handle)
        except self.nvml.NVMLError:
            # a lost device keeps its place, so that the others keep theirs
            uuid, handle = f"lost-{index}", None
        name = uuid.decode() if isinstance(uuid, bytes) else str(uuid)
        self._handles[name], self._index[name] = handle, index
