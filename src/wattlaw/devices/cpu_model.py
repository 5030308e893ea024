"""A model of CPU energy for machines where nothing measures it. Its results are estimates."""

from __future__ import annotations

import math
import os

from wattlaw.core.errors import UsageError
from wattlaw.core.reading import Reading, estimated, missing

WATTS_PER_CORE = 7.5
"""Power of one busy core, W: the thermal design power of a common server processor divided by its
cores (Intel Xeon Gold 6248: 150 W, 20 cores). Servers have between about 4 W and 12 W, desktops up
to 20 W, so the error of this model is unknown; a factor of two is assumed. Idle power, memory and
fans are left out."""

VARIABLE = "WATTLAW_CPU_WATTS_PER_CORE"

_NO_METER = "no meter measures CPU energy here"


def watts_per_core() -> float:
    """Return the watts of one busy core: $WATTLAW_CPU_WATTS_PER_CORE, or the assumed 7.5 W.

    Raises UsageError if the variable is not a positive number.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return WATTS_PER_CORE
    try:
        watts = float(text)
    except ValueError:
        watts = math.nan
    if not (math.isfinite(watts) and watts > 0):
        raise UsageError(
            f"{VARIABLE} is {text!r}; it must be watts of one busy core, such as {WATTS_PER_CORE}"
        )
    return watts


def cpu_energy(cpu_time_s: float | None) -> Reading:
    """Estimate the CPU energy of a job, J: its CPU-seconds × watts of one busy core."""
    if cpu_time_s is None:
        return missing(f"{_NO_METER}, and the job's CPU time is not known")
    if cpu_time_s <= 0:
        return missing(f"{_NO_METER}, and the job's CPU time is below the system's tick")
    watts = watts_per_core()
    origin = f"assumed; set {VARIABLE} to change it"
    if VARIABLE in os.environ:
        origin = f"from {VARIABLE}"
    model = f"model: CPU-seconds of the job × {watts:g} W a busy core ({origin})"
    return estimated(cpu_time_s * watts, model)
