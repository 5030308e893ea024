"""Where a workload's samples come from: data that a package brings, a file that the user names, or made to measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.core.setting import OptionValue

GENERATED = "generated"
"""The value of ``data`` that asks for samples drawn at random in the layout of the real ones, for throughput."""

ON_BAD = ("fail", "skip")

OPTIONS: dict[str, OptionValue] = {"data": "", "on_bad": "fail"}
"""``data``: "" for the workload's own, "generated", or a file or folder. ``on_bad``: what is done with a bad record."""


class Asked(NamedTuple):
    """The user's choice: a path, or None for the workload's own or generated data."""

    path: Path | None
    is_generated: bool
    on_bad: str


def asked(chosen: Mapping[str, OptionValue]) -> Asked:
    """Return what the options say. Raises UnknownNameError where ``on_bad`` is neither "fail" nor "skip"."""
    data, on_bad = str(chosen["data"]), str(chosen["on_bad"])
    if on_bad not in ON_BAD:
        raise UnknownNameError("on_bad", on_bad, ON_BAD)
    path = Path(data).expanduser() if data and data != GENERATED else None
    return Asked(path, data == GENERATED, on_bad)


def left_out(path: Path, skipped: int, good: int, first: str) -> list[Note]:
    """Return the warning that records were left out; none where none was."""
    if not skipped:
        return []
    return [
        Note(
            "bad_records",
            f"{path}: {skipped} of {skipped + good} records were left out; the first: {first}",
        )
    ]


GENERATED_NOTE = Note(
    "generated_data",
    "the samples are drawn at random in the layout of real ones; nothing is learnt",
)
