"""Arrays that took long to read or make, kept as files in the user's cache folder. Losing them costs time alone."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def kept(name: str, make: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays kept under ``name``; where there are none, or they are damaged, ``make`` them and keep them."""
    path = folder() / f"{name}.npz"
    if path.is_file():
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
                return {key: saved[key] for key in saved.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            # half-written by a machine that went down: it is made anew
            path.unlink(missing_ok=True)
    made = dict(make())
    _keep(path, made)
    return made


def folder() -> Path:
    """Return the folder of what is kept: wattlaw's in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wattlaw"


def _keep(path: Path, arrays: Mapping[str, Array]) -> None:
    beside = path.with_name(f".{path.stem}.{os.urandom(4).hex()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(beside, **dict(arrays))  # type: ignore[arg-type]
        os.replace(beside, path)
    except OSError:
        # without permission or space it is read or made again next time
        beside.unlink(missing_ok=True)
