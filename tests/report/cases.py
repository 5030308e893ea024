"""Sets of unusual runs for the report."""

from __future__ import annotations

import math

import msgspec
from tests.factory import failed_run as failed
from tests.factory import grid_runs as sweep
from tests.factory import trial_run as run

from wattlaw.core.reading import Reading

CASES = {
    "no runs": [],
    "one run": [run()],
    "failed runs only": [failed(), failed("gpt2", error="")],
    "estimated energies only": sweep(energy="estimated"),
    "measured energies": sweep(energy="measured"),
    "no energies": sweep(energy="missing"),
    "one number of devices": sweep(devices=(1,)),
    "many devices": sweep([("bert-base", 0.3)], devices=(1, 2, 4, 8, 16), device_type="cuda"),
    "no quantity": [msgspec.structs.replace(run(), quantities={})],
    "not finite": [
        msgspec.structs.replace(r, quantities=dict.fromkeys(r.quantities, Reading(math.nan)))
        for r in sweep()
    ],
    "infinite": [
        msgspec.structs.replace(
            r,
            quantities=dict.fromkeys(r.quantities, Reading(math.inf, low=-math.inf, high=math.nan)),
        )
        for r in sweep()
    ],
}
