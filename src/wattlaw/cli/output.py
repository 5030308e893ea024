"""How every command prints: data to stdout, messages to stderr, one JSON object with ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from wattlaw import __version__
from wattlaw.core.errors import RecordError, nearest
from wattlaw.core.reading import Note
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from wattlaw.records import Runs

Command = TypeVar("Command", bound=Callable[..., object])

json_option: Callable[[Command], Command] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)


class OneOf(click.Choice[str]):
    """A choice among words; the error for a misspelt one suggests the nearest."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        return f"{value!r} is none of them; {nearest(str(value), self.choices)}"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"name one of {', '.join(self.choices)}"


def emit_json(
    kind: str, items: Sequence[object], overall: object = None, warnings: Iterable[Note] = ()
) -> None:
    """Print the one JSON object of a command from msgspec structs, dicts and plain values.

    Every key of a record and of its readings is written, also with its default value.
    """
    whole = {
        "wattlaw": __version__,
        "kind": kind,
        "items": _in_full(items),
        "overall": _in_full(overall or {}),
        "warnings": list(warnings),
    }
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def _in_full(value: object) -> object:
    if isinstance(value, msgspec.Struct) and not isinstance(value, Setting):
        return {name: _in_full(part) for name, part in msgspec.structs.asdict(value).items()}
    if isinstance(value, dict):
        return {name: _in_full(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_in_full(part) for part in value]
    return value


def runs_in(folder: Path) -> Runs:
    """Load the runs of a folder. Raises RecordError, with the commands that make some, for none."""
    from wattlaw.records import load_runs

    loaded = load_runs(folder)
    if not loaded:
        found = f"there are no runs in {folder}"
        if loaded.unfinished:
            found += f"; {describe_unfinished(loaded)}"
        raise RecordError(f"{found}; {_MAKE}")
    return loaded


_MAKE = "`wattlaw sweep start SWEEP.toml`, `wattlaw run` and `wattlaw measure -o` make some"


def describe_unfinished(loaded: Runs) -> str:
    """Return how many trials have started and have no summary."""
    return f"{counted(len(loaded.unfinished), 'trial')} started and not finished"


def say(text: str) -> None:
    """Print a message to stderr."""
    click.echo(text, err=True)


def say_warnings(warnings: Iterable[Note]) -> None:
    """Print one line to stderr for each name: its first message and the number of others."""
    by_name: dict[str, list[str]] = {}
    for note in dict.fromkeys(warnings):
        by_name.setdefault(note.name, []).append(note.message)
    for name, messages in by_name.items():
        others = len(messages) - 1
        more = f" (and {others} more like it)" if others else ""
        say(f"warning: {name}: {messages[0]}{more}")
