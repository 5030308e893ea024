"""The options that choose a workload's data: its own, a file or folder, or generated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.core.setting import OptionValue

GENERATED = "generated"
"""The value of ``data`` that selects random samples in the layout of the real ones."""

ON_BAD = ("fail", "skip")

OPTIONS: dict[str, OptionValue] = {"data": "", "on_bad": "fail"}
"""``data``: "" for the workload's own, "generated", or a file or folder. ``on_bad``: whether a bad
record fails the run or is skipped."""

GENERATED_NOTE = Note(
    "generated_data",
    "the samples are random, in the layout of real ones; the model learns nothing from them",
)


class DataOptions(NamedTuple):
    """The chosen data: a path, or None for the workload's own or generated data."""

    path: Path | None
    is_generated: bool
    on_bad: str


def parse_data_options(chosen: Mapping[str, OptionValue]) -> DataOptions:
    """Return the data that the options choose.

    Raises UnknownNameError if ``on_bad`` is neither "fail" nor "skip".
    """
    data, on_bad = str(chosen["data"]), str(chosen["on_bad"])
    if on_bad not in ON_BAD:
        raise UnknownNameError("on_bad", on_bad, ON_BAD)
    is_generated = data == GENERATED
    if not data or is_generated:
        return DataOptions(None, is_generated, on_bad)
    return DataOptions(Path(data).expanduser(), False, on_bad)


def skipped_records(path: Path, skipped: int, good: int, first: str) -> list[Note]:
    """Return the warning that records were skipped; an empty list if none was."""
    if not skipped:
        return []
    records = f"{skipped} of {skipped + good} records"
    return [Note("bad_records", f"{path}: skipped {records}; the first: {first}")]
