"""Makes the page: one HTML file with its text, figures, style and code, without network access."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from wattlaw import __version__
from wattlaw.core.errors import FitError, RecordError, UsageError
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.findings import Advice, Fit
from wattlaw.core.plugins import SECTIONS, load, need, plugins
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.core.run_environment import utc_now
from wattlaw.core.units import counted
from wattlaw.records import load_runs
from wattlaw.records.trial_folders import environments
from wattlaw.report.answer import answer
from wattlaw.report.content import Section
from wattlaw.report.context import Context, failed_runs
from wattlaw.report.figures.figure_files import FORMATS, write_figures
from wattlaw.report.figures.theme import CONFIG, css_colours
from wattlaw.report.formatting import coded, unbroken

TITLE = "What training costs"
MAX_MACHINES = 2
_TEMPLATES = Path(__file__).parent / "templates"
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Page(NamedTuple):
    """A page before it is written: its title, what it is made from, its sections in order."""

    title: str
    context: Context
    sections: Sequence[Section]

    @property
    def lines(self) -> list[str]:
        """The answer as plain text, one line for each workload."""
        context = self.context
        return [f"{group.name}: {answer(context, group).short}" for group in context.groups]


class Report(NamedTuple):
    """A written report: its files, the page first, and the answer, one line for each workload."""

    files: list[Path]
    lines: list[str]


def write_report(
    runs: str | os.PathLike[str] | Iterable[Run],
    path: str | os.PathLike[str] = "report.html",
    *,
    title: str | None = None,
    formats: Sequence[str] = (),
    max_slowdown: float | None = 0.05,
) -> Report:
    """Write the report of runs, or of a folder of runs; return its files and the answer in words.

    ``formats`` are further formats of each figure, in files beside the page: "svg", "png", "pdf".
    ``max_slowdown`` is the constraint of the advice: the time per sample that it may cost, 0.05
    being 5 %.
    Raises UsageError for an unknown format, RecordError if a folder cannot be read or a file
    cannot be written, MissingPartError if the extra ``report`` is not installed.
    """
    check_formats(formats)
    page = make_page(runs, title=title, max_slowdown=max_slowdown)
    return Report(_write(page, Path(path), formats), page.lines)


def make_page(
    runs: str | os.PathLike[str] | Iterable[Run],
    *,
    title: str | None = None,
    max_slowdown: float | None = 0.05,
) -> Page:
    """Load the runs, fit laws, find the advice, and make every section."""
    folder = Path(runs) if isinstance(runs, str | os.PathLike) else None
    loaded, notes = _loaded(runs)
    fits, fit_notes = _fits(loaded)
    advice, advice_notes = _advice(loaded, max_slowdown)
    context = Context(
        runs=loaded,
        fits=fits,
        advice=advice,
        environments=environments(folder, loaded),
        folder=folder,
        notes=(*notes, *fit_notes, *advice_notes),
        max_slowdown=max_slowdown,
    )
    return Page(title or _title(loaded), context, sections(context))


def sections(context: Context) -> list[Section]:
    """Return the sections that have something to show, in the order of the page."""
    found = []
    for name in plugins(SECTIONS):
        make: Callable[[Context], Section | None] = load(SECTIONS, name)
        section = make(context)
        if section:
            found.append(section)
    return sorted(found, key=lambda section: (section.place, section.name))


def html(page: Page) -> str:
    """Return the whole page as text."""
    return page_html(page.title, _facts(page.context), page.sections)


def page_html(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """Return a self-contained HTML page of sections; ``facts`` are short words below the title."""
    charts = {}
    for section in sections:
        for figure in section.figures:
            for index, panel in enumerate(figure.panels):
                size = {"height": panel.height, "width": "container"}
                charts[f"{figure.name}-{index}"] = {**panel.spec, **size}
    text = (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            facts=facts,
            sections=sections,
            data=Markup(script_json({"charts": charts, "config": CONFIG})),
            style=Markup(css_colours() + _template("page.css")),
            script=Markup(_template("page.js")),
            library=Markup(_library() if charts else ""),
            version=__version__,
            made=utc_now()[:16].replace("T", " "),
        )
    )
    return _CONTROLS.sub("\ufffd", text)


def script_json(value: object) -> str:
    """Return JSON that is safe inside a script element, whatever its strings contain.

    Raises ValueError for values that are not finite.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def check_formats(formats: Sequence[str]) -> None:
    """Raise UsageError for a format in which figures cannot be written."""
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}; valid: {', '.join(FORMATS)}")


@functools.cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters |= {"coded": coded, "unbroken": unbroken}
    return env


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _write(page: Page, path: Path, formats: Sequence[str]) -> list[Path]:
    if path.is_dir():
        path = path / "report.html"
    make_folder(path.parent)
    write_whole(path, html(page).encode("utf-8", "replace"))
    figures = [figure for section in page.sections for figure in section.figures]
    return [path, *write_figures(figures, path, formats)]


def _loaded(runs: str | os.PathLike[str] | Iterable[Run]) -> tuple[list[Run], tuple[Note, ...]]:
    if not isinstance(runs, str | os.PathLike):
        return list(runs), getattr(runs, "notes", ())
    loaded = load_runs(runs)
    if not loaded and not loaded.damaged:
        raise RecordError(
            f"there are no runs in {os.fspath(runs)}; `wattlaw sweep start SWEEP.toml` makes some"
        )
    return list(loaded), loaded.notes


def _fits(runs: list[Run]) -> tuple[list[Fit], tuple[Note, ...]]:
    from wattlaw.analysis.fit import fit_groups

    if not runs:
        return [], ()
    try:
        speedups, notes = fit_groups(runs, over="devices", law="speedup")
        laws, _ = fit_groups(runs, over="devices")
    except FitError as error:
        return [], (Note("no_law", str(error)),)
    return [*speedups, *(fit for fit in laws if fit.law != "speedup")], notes


def _advice(runs: list[Run], max_slowdown: float | None) -> tuple[list[Advice], tuple[Note, ...]]:
    from wattlaw.advice.advise import advise

    if not any(run.state == "done" for run in runs):
        return [], ()
    try:
        return advise(runs, max_slowdown=max_slowdown), ()
    except FitError as error:
        return [], (Note("no_advice", str(error)),)


def _title(runs: list[Run]) -> str:
    sweeps = {run.sweep for run in runs}
    if len(sweeps) == 1 and "" not in sweeps:
        return f"{TITLE}: {sweeps.pop()}"
    return TITLE


def _facts(context: Context) -> list[str]:
    """Return the line below the title: counts, machines and days of the runs."""
    runs = context.runs
    facts = [_counted(len(runs), "run")]
    failed = failed_runs(runs)
    if failed:
        facts[0] += f" ({len(failed)} failed)"
    if context.rows:
        facts.append(_counted(len(context.rows), "setting"))
    names = dict.fromkeys(run.machine.device_name for run in runs)
    names.pop("", None)
    machines = list(names)
    facts += machines[:MAX_MACHINES]
    if len(machines) > MAX_MACHINES:
        facts.append(counted(len(machines) - MAX_MACHINES, "more machine"))
    days = sorted({run.started[:10] for run in runs if run.started})
    if days:
        facts.append(" – ".join(dict.fromkeys((days[0], days[-1]))))
    return facts


def _counted(number: int, noun: str) -> str:
    # thousands are separated by a narrow space
    text = counted(number, noun)
    return text.replace(str(number), f"{number:,}".replace(",", "\u202f"), 1)


@functools.cache
def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, without network access."""
    vl_convert = need("vl_convert", "the report")
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # a closing tag inside a string of the library would end the script element
    return "(()=>{" + bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--") + "\n})();"
