"""The content of a page: sections with text, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wattlaw.report.figures.chart import Cell, VegaSpec

MAX_PANELS = 12
"""Workloads that one figure shows; the tables have all."""


@dataclass(frozen=True)
class PageTable:
    """A table: column heads, rows of cells and a caption.

    keys      sort keys of the columns; without them the table is not sortable
    has_code  whether text between backticks in a cell is shown as code
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    keys: Sequence[Sequence[Cell]] = ()
    has_code: bool = False

    def without_empty_columns(self) -> PageTable:
        """Return the table without the columns that are empty in every row."""
        columns = list(zip(self.columns, *self.rows, strict=True))
        used = [column for column in columns if any(column[1:])]
        if not used:
            return self
        heads, *rows = zip(*used, strict=True)
        return PageTable(heads, rows, self.caption, has_code=self.has_code)


@dataclass(frozen=True)
class Panel:
    """One chart of a figure: a Vega-Lite spec without size and configuration, and a title."""

    title: str
    spec: VegaSpec
    height: int = 220


@dataclass(frozen=True)
class Figure:
    """A figure of one or more panels.

    table   the same numbers, for readers who cannot see the figure
    legend  (name, colour) for what all panels share
    wide    whether its panels need half of the page each rather than a third
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    table: PageTable | None = None
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    place       order on the page: the answer is 0, figures are 10 to 49, tables 50 and up
    paragraphs  text above the figures; text between backticks is shown as code
    missing     why a part is absent that a reader would expect
    template    a file in ``report/templates`` that shows ``values``, for other markup than
                paragraphs, figures and tables
    """

    name: str
    title: str
    place: int
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[PageTable] = ()
    missing: str = ""
    template: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def not_drawn(drawn: int, total: int, noun: str) -> str:
    """Return a sentence on what a figure leaves out; empty if it draws everything."""
    if drawn >= total:
        return ""
    return f" {total - drawn} more {noun} are not drawn; `wattlaw runs export` lists them all."
