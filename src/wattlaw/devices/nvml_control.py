"""What every control of NVIDIA devices shares: finding them, and NVML's refusals in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from wattlaw.core.errors import DeviceError, PermissionDeniedError
from wattlaw.devices.nvml_devices import all_handles, open_nvml
from wattlaw.devices.nvml_instances import chosen_gpus, doubtful_order, word

_NO_PERMISSION, _NOT_SUPPORTED = 4, 3


class Driver:
    """NVML, opened for setting. Raises DeviceError where there is no driver."""

    def __init__(self) -> None:
        self.nvml = open_nvml()
        # a lost device keeps its place, so that the others keep theirs
        self._all = all_handles(self.nvml)
        self._names = [word(h.ask("GetUUID")) or f"lost-{i}" for i, h in enumerate(self._all)]

    def devices(self, wanted: Sequence[str] | None) -> list[str]:
        """Return the UUIDs of the devices that are meant.

        Raises DeviceError for a GPU in MIG mode that others may use too, since its limits are the whole GPU's, and
        where the environment may mean other GPUs than NVML's numbers do.
        """
        if wanted is None and (doubt := doubtful_order(self._all)):
            raise DeviceError(f"no limit is set: {doubt}")
        chosen = chosen_gpus(self._all, None if wanted is None else tuple(wanted))
        shared = next((one.gpu for one in chosen if not one.is_all), None)
        if shared is not None:
            raise DeviceError(
                f"gpu:{shared} ({self._names[shared]}) is in MIG mode and others may use its other instances; power "
                "and clock limits are the whole GPU's, so none is set (they need MIG off, or all of its compute slices)"
            )
        return [self._names[one.gpu] for one in chosen]

    def handle(self, device: str) -> Any:
        """Return NVML's handle of a device. Raises DeviceError where it is gone."""
        found = self._all[self.index(device)].handle
        if found is None:
            raise DeviceError(f"the GPU {device} is gone")
        return found

    def index(self, device: str) -> int:
        """Return NVML's index of a device. Raises DeviceError where there is none of that name any more."""
        if device not in self._names:
            raise DeviceError(f"the GPU {device} is gone")
        return self._names.index(device)

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
                raise PermissionDeniedError(
                    f"{doing} is not permitted to this user; {grant}"
                ) from None
            if error.value == _NOT_SUPPORTED:
                raise DeviceError(f"{doing} is not supported by this device") from None
            raise DeviceError(f"{doing} failed: {error}") from None
