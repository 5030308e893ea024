"""How every command prints: data to stdout, words to stderr, one JSON object with ``--json``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wattlaw import __version__
from wattlaw.core.errors import RecordError, nearest
from wattlaw.core.reading import Note
from wattlaw.core.setting import Setting
from wattlaw.core.units import counted

if TYPE_CHECKING:
    from wattlaw.records import Runs

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)


class OneOf(click.Choice[str]):
    """A choice among words, of which a misspelt one is answered with the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"{value!r} is none of them; {nearest(str(value), self.choices)}"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"name one of {', '.join(self.choices)}"


def emit_json(
    kind: str, items: Sequence[Any], overall: Any = None, warnings: Iterable[Note] = ()
) -> None:
    """Print the one JSON object of a command; msgspec structs, dicts and plain values are understood.

    Every key of a record and of its readings is written, also where it is the default: a reader looks for it.
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


def _in_full(value: Any) -> Any:
    if isinstance(value, msgspec.Struct) and not isinstance(value, Setting):
        return {name: _in_full(part) for name, part in msgspec.structs.asdict(value).items()}
    if isinstance(value, dict):
        return {name: _in_full(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_in_full(part) for part in value]
    return value


MOST_DRAWN = 200
"""Rich measures every cell; a longer table is written as plain aligned lines."""


_ANY_WIDTH = 100_000


def runs_in(folder: Path) -> Runs:
    """Load the runs of a folder. Raises RecordError, saying what to do, where it holds none."""
    from wattlaw.records import load_runs

    loaded = load_runs(folder)
    if not loaded:
        raise RecordError(
            f"there are no runs in {folder}{f'; {begun(loaded)}' if loaded.unfinished else ''}; {_MAKE}"
        )
    return loaded


_MAKE = "`wattlaw sweep start SWEEP.toml`, `wattlaw run` and `wattlaw measure -o` make some"


def begun(loaded: Runs) -> str:
    """Say how many trials have no summary."""
    return f"{counted(len(loaded.unfinished), 'trial was', 'trials were')} begun and not ended"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table to stdout; columns whose cells all start like numbers stand to the right.

    Where a terminal is too narrow for the words of one row beside each other, each row is a block of lines.
    """
    cells = [[str(c) for c in row] for row in rows]
    right = [
        bool(cells) and _numeric([row[index] for row in cells]) for index in range(len(columns))
    ]
    if len(cells) > MOST_DRAWN:
        _print_lines(columns, cells, right, title)
        return
    if sys.stdout.isatty() and _least_width(columns, cells) > shutil.get_terminal_size().columns:
        _print_blocks(columns, cells, title)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name, is_right in zip(columns, right, strict=True):
        table.add_column(name, justify="right" if is_right else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    # a terminal gets its own width, a pipe whole lines however long
    console = Console(
        markup=False, highlight=False, width=None if sys.stdout.isatty() else _ANY_WIDTH
    )
    console.print(table)


def _numeric(column: Sequence[str]) -> bool:
    return all(cell[:1].isdigit() or cell[:1] in "-–+<" for cell in column if cell)


def _least_width(columns: Sequence[str], cells: list[list[str]]) -> int:
    """Return the width in which a table breaks no word."""
    whole = zip(columns, *cells, strict=True)
    return sum(
        3 + max(len(word) for cell in column for word in cell.split() or [""]) for column in whole
    )


def _print_blocks(columns: Sequence[str], cells: list[list[str]], title: str) -> None:
    width = max(map(len, columns))
    blocks = [
        "".join(
            f"{name.ljust(width)}   {cell}\n"
            for name, cell in zip(columns, row, strict=True)
            if cell
        )
        for row in cells
    ]
    click.echo("\n".join([*([f"{title}\n"] if title else []), *blocks]))


def _print_lines(
    columns: Sequence[str], cells: list[list[str]], right: Sequence[bool], title: str
) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    aligned = [
        "   ".join(
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (list(columns), *cells)
    ]
    rule = "─" * (sum(widths) + 3 * (len(widths) - 1))
    click.echo("\n".join([*([title] if title else []), aligned[0], rule, *aligned[1:], ""]))


def say(text: str) -> None:
    """Print words for a person to stderr."""
    click.echo(text, err=True)


def say_warnings(warnings: Iterable[Note]) -> None:
    """Print one line to stderr for each name of a warning: its first message, and how many more there are."""
    by_name: dict[str, list[str]] = {}
    for note in dict.fromkeys(warnings):
        by_name.setdefault(note.name, []).append(note.message)
    for name, messages in by_name.items():
        others = len(messages) - 1
        more = f" (and {others} more like it)" if others else ""
        say(f"warning: {name}: {messages[0]}{more}")
