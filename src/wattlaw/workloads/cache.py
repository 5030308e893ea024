"""Arrays that take long to read or make, cached as files in the user's cache folder.

Deleting them costs only the time to make them again.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def cached(name: str, make: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays cached under ``name``.

    Where there are none, or the file is damaged, ``make`` makes them, and they are cached.
    """
    path = folder() / f"{name}.npz"
    if path.is_file():
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
                return {key: saved[key] for key in saved.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            # half written by a machine that went down
            path.unlink(missing_ok=True)
    made = dict(make())
    _write(path, made)
    return made


def folder() -> Path:
    """Return the cache folder: ``wattlaw`` in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wattlaw"


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    beside = path.with_name(f".{path.stem}.{os.urandom(4).hex()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(beside, **dict(arrays))  # type: ignore[arg-type]
        os.replace(beside, path)
    except OSError:
        # without permission or space the arrays are made again next time
        beside.unlink(missing_ok=True)
