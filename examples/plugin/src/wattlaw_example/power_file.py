"""A meter of a node's power, as a program beside it writes it into a file, such as the reader of a PDU."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

from wattlaw.core.errors import DeviceError
from wattlaw.devices.meter import Boundary, DeviceInfo, Meter, Probe, Sample

VARIABLE = "WATTLAW_POWER_FILE"


class PowerFile(Meter):
    """Reads watts from the file that $WATTLAW_POWER_FILE names."""

    boundaries: ClassVar[tuple[Boundary, ...]] = ("node",)
    priority = 10

    def probe(self) -> Probe:
        if VARIABLE not in os.environ:
            reason = "no file of a node's power is named"
            return Probe(meter="power-file", reason=reason, grant=f"export {VARIABLE}=FILE")
        try:
            self._watts()
        except DeviceError as error:
            return Probe(meter="power-file", reason=str(error))
        node = DeviceInfo(
            id="node:power-file",
            boundary="node",
            meter="power-file",
            name=os.environ[VARIABLE],
            energy="power",
            update_s=0.1,
        )
        return Probe(meter="power-file", devices=(node,))

    def read(self) -> list[Sample]:
        watts = self._watts()
        return [Sample(time_s=time.monotonic(), device="node:power-file", power_w=watts)]

    def _watts(self) -> float:
        path = Path(os.environ[VARIABLE])
        try:
            return float(path.read_text())
        except (OSError, ValueError) as error:
            raise DeviceError(f"{path} does not hold the watts of this node: {error}") from error
