"""Find the measuring tools that wattlaw is compared with.

Each peer has its own virtual environment, named after it, in the folder of the environment variable
WATTLAW_PEERS (`peers` by default). To create them:

    for p in zeus codecarbon perun carbontracker; do
        python3 -m venv peers/$p && peers/$p/bin/pip install $p
    done
"""

from __future__ import annotations

import os
from pathlib import Path

MODULES = {
    "zeus": "zeus.monitor",
    "codecarbon": "codecarbon",
    "perun": "perun",
    "carbontracker": "carbontracker.tracker",
}
"""The module of each peer that a user imports to measure a block of code."""

TOOLS = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence.pth")


def environments() -> dict[str, Path]:
    """Return the virtual environments found, by the name of the peer."""
    folder = Path(os.environ.get("WATTLAW_PEERS", "peers")).absolute()
    return {name: folder / name for name in MODULES if (folder / name / "bin" / "python").exists()}


def absent() -> dict[str, str]:
    """Return the peers without a virtual environment, each with the missing file."""
    here = environments()
    folder = Path(os.environ.get("WATTLAW_PEERS", "peers")).absolute()
    return {name: f"no {folder / name / 'bin' / 'python'}" for name in MODULES if name not in here}


def size_mb(environment: Path) -> float:
    """Return the size of the packages in an environment without pip and setuptools, MB."""
    (packages,) = (environment / "lib").glob("python*/site-packages")
    files = [p for p in packages.rglob("*") if p.is_file() and not p.is_symlink()]
    kept = [p for p in files if not p.relative_to(packages).parts[0].startswith(TOOLS)]
    return sum(p.stat().st_size for p in kept) / 1e6
