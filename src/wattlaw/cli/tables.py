"""Prints tables to stdout, wrapped to the width of a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

import click

GAP = "  "


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table to stdout; columns of numbers are aligned to the right.

    On a terminal, long cells wrap so that the table fits. If even single words do not fit beside
    each other, each row becomes a block of lines. A pipe gets whole lines.
    """
    import tabulate

    tabulate.MIN_PADDING = 0  # of headers; 2 by default
    cells = [[str(cell) for cell in row] for row in rows]
    heading = [title] if title else []
    widths: list[int] | None = None
    if sys.stdout.isatty():
        widths = _fitted_widths([columns, *cells], shutil.get_terminal_size().columns)
        if widths is None:
            click.echo("\n".join([*heading, *_blocks(columns, cells)]))
            return
    table = tabulate.tabulate(
        cells,
        headers=list(columns),
        tablefmt="simple",
        disable_numparse=True,
        colalign=_alignment(len(columns), cells),
        maxcolwidths=widths,
        maxheadercolwidths=widths,
    )
    lines = [line.rstrip() for line in table.splitlines()]
    click.echo("\n".join([*heading, *lines, ""]))


def _alignment(columns: int, cells: list[list[str]]) -> list[str] | None:
    if not cells:
        return None
    found = []
    for index in range(columns):
        is_numeric = all(_looks_numeric(row[index]) for row in cells)
        found.append("right" if is_numeric else "left")
    return found


def _looks_numeric(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "-–+<"


def _fitted_widths(rows: Sequence[Sequence[str]], total: int) -> list[int] | None:
    """Return column widths that fit ``total``, taken from the widest columns first.

    None if a column would be narrower than its longest word.
    """
    columns = list(zip(*rows, strict=True))
    longest_words = [max(_longest_word(cell) for cell in column) for column in columns]
    widths = [max(1, *(len(cell) for cell in column)) for column in columns]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - total
    while excess > 0:
        slack = [width - least for width, least in zip(widths, longest_words, strict=True)]
        shrinkable = [index for index, room in enumerate(slack) if room > 0]
        if not shrinkable:
            return None
        widest = max(shrinkable, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1
    return widths


def _longest_word(cell: str) -> int:
    return max((len(word) for word in cell.split()), default=1)


def _blocks(columns: Sequence[str], cells: list[list[str]]) -> list[str]:
    width = max(map(len, columns))
    blocks = []
    for row in cells:
        pairs = [(name, cell) for name, cell in zip(columns, row, strict=True) if cell]
        blocks.append("".join(f"{name.ljust(width)}{GAP}{cell}\n" for name, cell in pairs))
    return blocks
