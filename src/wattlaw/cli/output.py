"""How every command prints: data to stdout, words to stderr, one JSON object with ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
import msgspec

from wattlaw import __version__
from wattlaw.core.reading import Note

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def emit_json(kind: str, items: Sequence[Any], overall: Any = None, warnings: Iterable[Note] = ()) -> None:
    """Print the one JSON object of a command; msgspec structs, dicts and plain values are understood."""
    whole = {
        "wattlaw": __version__,
        "kind": kind,
        "items": items,
        "overall": overall or {},
        "warnings": list(warnings),
    }
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table to stdout; columns whose cells all start like numbers stand to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = [[str(c) for c in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for index, name in enumerate(columns):
        numeric = all(row[index][:1].isdigit() or row[index][:1] in "-–+<" for row in cells if row[index])
        table.add_column(name, justify="right" if numeric and cells else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    # a pipe gets whole lines; a terminal gets its own width
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)


def say(text: str) -> None:
    """Print words for a person to stderr."""
    click.echo(text, err=True)


def say_warnings(warnings: Iterable[Note]) -> None:
    """Print one line to stderr for each name of a warning: its first message, and how many more there are."""
    by_name: dict[str, list[str]] = {}
    for note in warnings:
        by_name.setdefault(note.name, []).append(note.message)
    for name, messages in by_name.items():
        others = len(messages) - 1
        more = f" (and {others} more like it)" if others else ""
        say(f"warning: {name}: {messages[0]}{more}")
