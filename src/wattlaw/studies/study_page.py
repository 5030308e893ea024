"""Writes the page of a study, with its figures as SVG and PDF and its data as CSV beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from wattlaw import __version__
from wattlaw.accelerators.figures.style import write as write_chart
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.run_environment import utc_now
from wattlaw.report.content import PageTable, Section
from wattlaw.report.figures.figure_files import write_figures
from wattlaw.report.page import Page, make_page, page_html
from wattlaw.studies.result import StudyFigure, StudyResult
from wattlaw.studies.role import Study, StudyInputs
from wattlaw.studies.run_study import RECORD

FORMATS = ("svg", "pdf")

DERIVED_NOTE = (
    "“Derived” means that the value was computed from what was read in the source. Values that "
    "could not be read in a source have no published number here."
)


class WrittenStudy(NamedTuple):
    """The files of a study, the page first, and its answer as lines of plain text."""

    files: list[Path]
    lines: list[str]


def write_study(
    study: Study, inputs: StudyInputs, path: Path, max_slowdown: float | None = 0.05
) -> WrittenStudy:
    """Analyse a study and write its page, the files beside it, and ``study.json`` in its folder.

    ``max_slowdown`` is the constraint of the advice on a page that reports runs. Raises RecordError
    if a file cannot be written, MissingPartError without the extra ``report``.
    """
    result = study.analyse(inputs)
    make_folder(path.parent)
    report = None
    if study.has_report:
        report = make_page(inputs.folder, title=study.title, max_slowdown=max_slowdown)
    data_files = _write_data(result, path)
    figure_files = _write_figures(result.figures, path)
    files = [*figure_files, *data_files]
    sections = [*_sections(study, result, files), *(report.sections if report else ())]
    facts = [study.paper, f"scale {inputs.scale}"]
    write_whole(path, page_html(study.title, facts, sections).encode("utf-8", "replace"))
    write_whole(inputs.folder / RECORD, _record(study, inputs, result))
    return WrittenStudy([path, *files], _lines(result, report))


def _lines(result: StudyResult, report: Page | None) -> list[str]:
    return [*result.answer, *(report.lines if report else ())]


def _sections(study: Study, result: StudyResult, files: Sequence[Path]) -> list[Section]:
    found = [Section("question", "The question", -2, paragraphs=[study.question, result.work])]
    answer = [*result.answer, *result.meaning]
    if answer:
        found.append(Section("answer", "The answer", -1, paragraphs=answer))
    if result.published:
        notes = [DERIVED_NOTE]
        sources = {value.source for value in result.published}
        if len(sources) == 1:
            notes.insert(0, f"Source of the published values: {sources.pop()}.")
        table = _comparison_table(result)
        found.append(
            Section("published", "Published and found here", 5, paragraphs=notes, tables=[table])
        )
    for place, drawn in enumerate(result.figures, 10):
        figure = drawn.figure
        found.append(Section(figure.name, figure.title, place, figures=[figure]))
    compared = {value.key for value in result.published}
    if any(finding.key not in compared for finding in result.findings):
        found.append(Section("findings", "Found here", 50, tables=[_findings_table(result)]))
    for place, table in enumerate(result.tables, 60):
        found.append(Section(f"table-{place - 59}", table.caption, place, tables=[table]))
    if files:
        names = ", ".join(f"`{file.name}`" for file in files)
        text = f"The figures are beside this page as SVG and PDF, the data as CSV: {names}."
        found.append(Section("files", "Files", 90, paragraphs=[text]))
    return found


def _comparison_table(result: StudyResult) -> PageTable:
    """Return published values beside findings; the source is a column only if there are several."""
    columns = ["quantity", "published", "found here", "difference"]
    rows = [[c.text, c.published, c.found, c.verdict] for c in result.comparisons]
    if len({c.source for c in result.comparisons}) > 1:
        columns.append("source")
        for row, comparison in zip(rows, result.comparisons, strict=True):
            row.append(comparison.source)
    return PageTable(columns, rows, "Published values beside those found here")


def _findings_table(result: StudyResult) -> PageTable:
    columns = ["quantity", "value", "status", "basis"]
    compared = {value.key for value in result.published}
    rows = []
    for finding in result.findings:
        if finding.key not in compared:
            how = finding.how if finding.value is not None else ""
            rows.append([finding.text, finding.shown, finding.status, how])
    return PageTable(columns, rows, "Values found here that the paper does not give")


def _write_figures(figures: Sequence[StudyFigure], page: Path) -> list[Path]:
    found = []
    for drawn in figures:
        if drawn.print_chart is None:
            found += write_figures([drawn.figure], page, FORMATS)
            continue
        for name in FORMATS:
            path = page.with_name(f"{page.stem}-{drawn.figure.name}.{name}")
            write_chart(drawn.print_chart, path)
            found.append(path)
    return found


def _write_data(result: StudyResult, page: Path) -> list[Path]:
    """Write the numbers of every figure and table as CSV; return the files."""
    tables = {}
    for drawn in result.figures:
        if drawn.figure.table is not None:
            tables[drawn.figure.name] = drawn.figure.table
    for index, table in enumerate(result.tables, 1):
        tables[f"table-{index}"] = table
    if result.published:
        tables["published"] = _comparison_table(result)
    found = []
    for name, table in tables.items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        # the values that a column is sorted by are the numbers before they were rounded for people
        writer.writerows(table.keys or table.rows)
        path = page.with_name(f"{page.stem}-{name}.csv")
        write_whole(path, text.getvalue().encode())
        found.append(path)
    return found


def _record(study: Study, inputs: StudyInputs, result: StudyResult) -> bytes:
    values = {
        "wattlaw": __version__,
        "study": study.name,
        "scale": inputs.scale,
        "finished": utc_now(),
        "findings": result.findings,
        "published": result.published,
        "comparisons": result.comparisons,
    }
    return msgspec.json.format(msgspec.json.encode(values), indent=2) + b"\n"
