"""wattlaw measures what training a neural network costs in time and energy, learns the laws by
which that cost scales, and recommends which setting to run next.

The public names below are imported on first use, so that ``import wattlaw`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wattlaw.advice.advise import advise as advise
    from wattlaw.analysis.fit import fit as fit
    from wattlaw.analysis.predict import predict as predict
    from wattlaw.core.errors import WattlawError as WattlawError
    from wattlaw.core.quantities import derive as derive
    from wattlaw.core.reading import Reading as Reading
    from wattlaw.core.run import Run as Run
    from wattlaw.core.setting import Setting as Setting
    from wattlaw.core.setting import Stop as Stop
    from wattlaw.core.sweepfile import Sweep as Sweep
    from wattlaw.importers.importer import import_runs as import_runs
    from wattlaw.measuring.block import measure as measure
    from wattlaw.records import load_runs as load_runs
    from wattlaw.report.page import write_report as write_report
    from wattlaw.runner.sweeps import run as run
    from wattlaw.runner.sweeps import sweep as sweep
    from wattlaw.workloads.saved import load_model as load_model

__version__ = "0.1.0"

_PUBLIC = {
    "WattlawError": "wattlaw.core.errors",
    "Reading": "wattlaw.core.reading",
    "Run": "wattlaw.core.run",
    "Setting": "wattlaw.core.setting",
    "Stop": "wattlaw.core.setting",
    "Sweep": "wattlaw.core.sweepfile",
    "derive": "wattlaw.core.quantities",
    "load_model": "wattlaw.workloads.saved",
    "load_runs": "wattlaw.records",
    "measure": "wattlaw.measuring.block",
    "fit": "wattlaw.analysis.fit",
    "import_runs": "wattlaw.importers.importer",
    "advise": "wattlaw.advice.advise",
    "predict": "wattlaw.analysis.predict",
    "run": "wattlaw.runner.sweeps",
    "sweep": "wattlaw.runner.sweeps",
    "write_report": "wattlaw.report.page",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'wattlaw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
