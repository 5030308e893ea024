"""The files between a runner and its ranks: spec.json, and answer-<rank>.json back."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError
from wattlaw.core.files import explained, write_whole
from wattlaw.core.reading import Note
from wattlaw.core.setting import Setting

CHECKPOINT = "checkpoint-"
"""Prefix of a checkpoint's folder; the number of steps taken follows."""


class RankSpec(msgspec.Struct, frozen=True, kw_only=True):
    """spec.json of an attempt: the setting, and what "auto" means on this node.

    ``resume`` is the checkpoint folder to resume from, "" to start from scratch.
    """

    setting: Setting
    folder: str
    device_type: str
    backend: str
    threads: int
    resume: str = ""


class RankAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a rank reports besides its steps; None is unknown. ``notes`` are warnings."""

    gpu_memory_peak_bytes: int | None = None
    notes: tuple[Note, ...] = ()


def write_rank_spec(path: Path, spec: RankSpec) -> None:
    """Write the spec of an attempt."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(spec), indent=1))


def read_rank_spec(path: Path) -> RankSpec:
    """Read the spec of an attempt. Raises DamagedRunError or RecordError."""
    with explained(path):
        data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=RankSpec)
    except msgspec.MsgspecError as error:
        raise DamagedRunError(f"{path} is damaged: {error}") from None


def write_answer(folder: Path, rank: int, answer: RankAnswer) -> None:
    """Write the answer of a rank."""
    write_whole(folder / f"answer-{rank}.json", msgspec.json.encode(answer))


def read_answer(folder: Path, rank: int) -> RankAnswer:
    """Return the answer of a rank; an empty one if it left none."""
    try:
        data = (folder / f"answer-{rank}.json").read_bytes()
        return msgspec.json.decode(data, type=RankAnswer)
    except (OSError, msgspec.MsgspecError):
        return RankAnswer()
