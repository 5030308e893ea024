"""Writes files that no reader sees half-written: to a file beside, flushed, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wattlaw.core.errors import RecordError, UsageError


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; a reader sees the old file or the new one, never a part."""
    # random and not the process id: in containers of several nodes that is often the same
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    with explained(path):
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise


def check_file(path: Path) -> None:
    """Raise UsageError if a file could not be written, for lack of a folder or permission."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; a file is needed there")
    if path.exists() and not path.is_file():
        return  # a pipe or a device: its folder need not take files
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        beside.unlink()
    except OSError as error:
        reason = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"{path} cannot be written: {reason}; choose another file") from error


def temporary_folder() -> str:
    """Return the folder for files that are not kept; in memory if no disk is writable."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/dev/shm"


def make_folder(path: Path) -> Path:
    """Create a folder and its parents. Raises RecordError with the reason."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def explained(path: Path, doing: Literal["read", "write"] = "write") -> Iterator[None]:
    """Turn the system's errors into RecordErrors of one clear line."""
    try:
        yield
    except OSError as error:
        raise RecordError(why(error, path, doing)) from error


def why(error: OSError, path: Path, doing: Literal["read", "write"] = "write") -> str:
    """Return what an error of the system means and what to do about it."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left for {path}; free some or choose another folder with -o"
        case errno.EFBIG:
            return (
                f"{path} would exceed the largest file allowed here (`ulimit -f`); "
                "choose another folder with -o"
            )
        case errno.EACCES | errno.EPERM if doing == "read":
            return f"no permission to read {path}; ask its owner for it"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"no permission to write {path}; choose another folder with -o"
        case errno.ENOTDIR | errno.EEXIST:
            return f"{path} is in the way: a folder is needed there"
        case errno.EISDIR:
            return f"{path} is a folder; a file is needed there"
        case errno.ENOENT:
            return f"there is no {path}"
        case _:
            return f"{path}: {error.strerror or error}"
