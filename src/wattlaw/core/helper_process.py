"""How wattlaw starts its own helper processes: samplers, guards, keepers, workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGES = str(Path(__file__).parents[2])
"""The folder from which this wattlaw was imported."""


def helper_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of wattlaw in a new Python process.

    ``-P`` keeps a file such as queue.py in the user's folder from replacing Python's own module.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def helper_environment() -> dict[str, str]:
    """Return this environment with a PYTHONPATH on which a helper finds this wattlaw."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([_PACKAGES, *filter(None, inherited)])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
