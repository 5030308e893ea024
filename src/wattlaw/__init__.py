"""wattlaw measures what training a neural network costs in time and energy, learns the laws by which
that cost scales, and says which setting to run next.

The public names below are imported when they are first asked for, so that ``import wattlaw`` stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "WattlawError": "wattlaw.core.errors",
    "Reading": "wattlaw.core.reading",
    "Run": "wattlaw.core.run",
    "Setting": "wattlaw.core.setting",
    "Stop": "wattlaw.core.setting",
    "Sweep": "wattlaw.core.sweepfile",
    "derive": "wattlaw.core.derive",
    "load_runs": "wattlaw.records",
    "measure": "wattlaw.measuring.window",
    "fit": "wattlaw.laws.fit",
    "advise": "wattlaw.laws.advice",
    "run": "wattlaw.runner",
    "sweep": "wattlaw.runner",
    "report": "wattlaw.report",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'wattlaw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
