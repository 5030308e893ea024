"""What every control of NVIDIA devices shares: finding them, and NVML's refusals in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from wattlaw.core.errors import DeviceError, PermissionDeniedError
from wattlaw.devices.nvml_devices import NvmlObject, all_handles, open_nvml
from wattlaw.devices.nvml_instances import chosen_gpus, doubtful_order, word

_NO_PERMISSION, _NOT_SUPPORTED = 4, 3


class NvmlDriver:
    """NVML, opened for setting limits. Raises DeviceError if there is no driver."""

    def __init__(self) -> None:
        self.nvml = open_nvml()
        self._all = all_handles(self.nvml)
        # a lost device keeps its place, so that the others keep theirs
        self._uuids = [word(h.ask("GetUUID")) or f"lost-{i}" for i, h in enumerate(self._all)]

    def devices(self, requested: Sequence[str] | None) -> list[str]:
        """Return the UUIDs of the devices named by index or UUID; None is all that the job may use.

        Raises DeviceError for a GPU in MIG mode that other jobs may use too, since its limits hold
        for the whole GPU, and if the environment may number GPUs otherwise than NVML.
        """
        if requested is None and (doubt := doubtful_order(self._all)):
            raise DeviceError(f"no limit is set: {doubt}")
        chosen = chosen_gpus(self._all, None if requested is None else tuple(requested))
        for one in chosen:
            if not one.is_all:
                raise DeviceError(
                    f"gpu:{one.gpu} ({self._uuids[one.gpu]}) is in MIG mode and other jobs may use "
                    "its other instances; power and clock limits hold for the whole GPU, so none "
                    "is set (they need MIG off, or all of its compute slices)"
                )
        return [self._uuids[one.gpu] for one in chosen]

    def handle(self, device: str) -> NvmlObject:
        """Return NVML's handle of a device. Raises DeviceError if it is gone."""
        found = self._all[self.index(device)].handle
        if found is None:
            raise DeviceError(f"the GPU {device} is gone")
        return found

    def index(self, device: str) -> int:
        """Return NVML's index of a device. Raises DeviceError if it is gone."""
        if device not in self._uuids:
            raise DeviceError(f"the GPU {device} is gone")
        return self._uuids.index(device)

    def close(self) -> None:
        """Release NVML."""
        with contextlib.suppress(self.nvml.NVMLError):
            self.nvml.nvmlShutdown()

    @contextlib.contextmanager
    def explained(self, doing: str, grant: str) -> Iterator[None]:
        """Turn NVML's refusals into plain errors; ``grant`` says how to get the permission."""
        try:
            yield
        except self.nvml.NVMLError as error:
            if error.value == _NO_PERMISSION:
                reason = f"{doing} is not permitted to this user; {grant}"
                raise PermissionDeniedError(reason) from None
            if error.value == _NOT_SUPPORTED:
                raise DeviceError(f"{doing} is not supported by this device") from None
            raise DeviceError(f"{doing} failed: {error}") from None
