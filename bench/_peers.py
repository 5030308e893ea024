"""Other tools beside wattlaw: WATTLAW_PEERS names a folder with one virtual environment for each, by its name.

for p in zeus codecarbon perun carbontracker; do python3 -m venv peers/$p && peers/$p/bin/pip install $p; done
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
"""What a user of each imports to measure a code block."""

TOOLS = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence.pth")


def environments() -> dict[str, Path]:
    """Return the environments that are there, by the peer's name."""
    folder = Path(os.environ.get("WATTLAW_PEERS", "peers")).absolute()
    return {name: folder / name for name in MODULES if (folder / name / "bin" / "python").exists()}


def absent() -> dict[str, str]:
    """Return the peers without an environment, and where it was looked for."""
    here = environments()
    folder = Path(os.environ.get("WATTLAW_PEERS", "peers")).absolute()
    return {name: f"no {folder / name / 'bin' / 'python'}" for name in MODULES if name not in here}


def size_mb(environment: Path) -> float:
    """Return the size of what was installed into an environment beyond pip itself, MB."""
    (packages,) = (environment / "lib").glob("python*/site-packages")
    files = [p for p in packages.rglob("*") if p.is_file() and not p.is_symlink()]
    kept = [p for p in files if not p.relative_to(packages).parts[0].startswith(TOOLS)]
    return sum(p.stat().st_size for p in kept) / 1e6
