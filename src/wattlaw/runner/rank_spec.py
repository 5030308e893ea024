"""The file by which a trial's runner tells its ranks what to do, and the one by which a rank answers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.reading import Note
from wattlaw.core.setting import Setting

CHECKPOINT = "checkpoint-"
"""Folders of an attempt that begin so and end in a number of steps are checkpoints."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What every rank of an attempt reads: the setting, with "auto" resolved for where it runs.

    ``resume`` is the folder of the checkpoint from which the training goes on, "" where it begins.
    """

    setting: Setting
    folder: str
    device_type: str
    backend: str
    threads: int
    resume: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a rank reports besides its steps; None where it does not know. ``notes`` are the workload's warnings."""

    gpu_memory_peak_bytes: int | None = None
    notes: tuple[Note, ...] = ()


def write_spec(path: Path, spec: Spec) -> None:
    """Write the spec of an attempt."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(spec), indent=1))


def read_spec(path: Path) -> Spec:
    """Read a spec. Raises DamagedRunError or RecordError."""
    with explained(path):
        data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=Spec)
    except msgspec.MsgspecError as error:
        raise DamagedRunError(f"{path} is damaged: {error}") from None


def write_answer(folder: Path, rank: int, answer: Answer) -> None:
    """Write what a rank reports."""
    write_whole(folder / f"answer-{rank}.json", msgspec.json.encode(answer))


def read_answer(folder: Path, rank: int) -> Answer:
    """Read what a rank reported; an empty answer where it left none."""
    try:
        return msgspec.json.decode((folder / f"answer-{rank}.json").read_bytes(), type=Answer)
    except (OSError, msgspec.MsgspecError):
        return Answer()
