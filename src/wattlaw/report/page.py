"""Makes the page: one HTML file that holds its words, figures, style and code, and asks the network for nothing."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wattlaw import __version__
from wattlaw.core.environment import utc_now
from wattlaw.core.errors import FitError, RecordError, UsageError
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.findings import Advice, Fit
from wattlaw.core.plugins import SECTIONS, load, need, plugins
from wattlaw.core.reading import Note
from wattlaw.core.run import Run
from wattlaw.report.context import Context
from wattlaw.report.export import FORMATS, write_figures
from wattlaw.report.figure import Section
from wattlaw.report.folder import environments
from wattlaw.report.meanings import coded
from wattlaw.report.theme import CONFIG, css_colours
from wattlaw.report.words import answer

TITLE = "What training costs"
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Page(NamedTuple):
    """A page before it is written: what it is made from and its sections in order."""

    title: str
    context: Context
    sections: Sequence[Section]

    @property
    def lines(self) -> list[str]:
        """The answer, one line a workload, as plain text."""
        return [f"{g.name}: {answer(self.context, g).short}" for g in self.context.groups]


class Report(NamedTuple):
    """What was written: ``files``, the page first, and the answer as ``lines`` of plain text, one a workload."""

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
    """Write the report of runs, or of a folder of runs; return the files written and the answer in words.

    ``formats`` names what each figure is also written as, beside the page: "svg", "png", "pdf".
    ``max_slowdown`` is the time per sample that the advice may cost, 0.05 being 5 %.
    Raises UsageError for an unknown format, RecordError where a folder can't be read or a file written,
    MissingPartError where the parts of the report are not installed.
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
    """Load, fit, advise, and let every section say what it has to say."""
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
    """Return what every plug-in of the room has to say, in the order of the page."""
    made: list[Section | None] = []
    for name in plugins(SECTIONS):
        section: Callable[[Context], Section | None] = load(SECTIONS, name)
        made.append(section(context))
    return sorted((s for s in made if s), key=lambda s: (s.place, s.name))


def html(page: Page) -> str:
    """Return the whole page as text."""
    return page_html(page.title, _facts(page.context), page.sections)


def page_html(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """Return a self-contained HTML page of sections; ``facts`` are short words below the title."""
    jinja2 = need("jinja2", "the report")
    here = Path(__file__).parent
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    env.filters["coded"] = coded
    charts = {
        f"{figure.name}-{index}": {**panel.spec, "height": panel.height, "width": "container"}
        for section in sections
        for figure in section.figures
        for index, panel in enumerate(figure.panels)
    }
    markup = need("markupsafe", "the report").Markup
    text: str = env.get_template("page.html").render(
        title=title,
        facts=facts,
        sections=sections,
        data=markup(script_json({"charts": charts, "config": CONFIG})),
        style=markup(css_colours() + (here / "page.css").read_text(encoding="utf-8")),
        script=markup((here / "page.js").read_text(encoding="utf-8")),
        library=markup(_library() if charts else ""),
        version=__version__,
        made=utc_now()[:16].replace("T", " "),
    )
    return _CONTROLS.sub("\ufffd", text)


def script_json(value: Any) -> str:
    """Return JSON that can stand inside a script element whatever its strings hold. Raises ValueError for NaN."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def check_formats(formats: Sequence[str]) -> None:
    """Raise UsageError where a format is none that figures can be written in."""
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}; valid: {', '.join(FORMATS)}")


def _write(page: Page, path: Path, formats: Sequence[str]) -> list[Path]:
    if path.is_dir():
        path = path / "report.html"
    make_folder(path.parent)
    write_whole(path, html(page).encode("utf-8", "replace"))
    figures = [f for s in page.sections for f in s.figures]
    return [path, *write_figures(figures, path, formats)]


def _loaded(runs: str | os.PathLike[str] | Iterable[Run]) -> tuple[list[Run], tuple[Note, ...]]:
    if not isinstance(runs, str | os.PathLike):
        found = list(runs)
        return found, getattr(runs, "notes", ())
    from wattlaw.records import load_runs

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
    return [*speedups, *(f for f in laws if f.law != "speedup")], notes


def _advice(runs: list[Run], max_slowdown: float | None) -> tuple[list[Advice], tuple[Note, ...]]:
    from wattlaw.advice.advise import advise

    if not any(r.state == "done" for r in runs):
        return [], ()
    try:
        return advise(runs, max_slowdown=max_slowdown), ()
    except FitError as error:
        return [], (Note("no_advice", str(error)),)


def _title(runs: list[Run]) -> str:
    sweeps = {r.sweep for r in runs}
    return f"{TITLE}: {sweeps.pop()}" if len(sweeps) == 1 and "" not in sweeps else TITLE


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", "\u202f")


def _facts(context: Context) -> list[str]:
    runs, failed = len(context.runs), sum(r.state == "failed" for r in context.runs)
    settings = sum(len(g.rows) for g in context.groups)
    days = sorted({r.started[:10] for r in context.runs if r.started})
    machines = list(
        dict.fromkeys(r.machine.device_name for r in context.runs if r.machine.device_name)
    )
    facts = [f"{_count(runs, 'run')} ({failed} failed)" if failed else _count(runs, "run")]
    if settings:
        facts.append(_count(settings, "setting"))
    facts += machines[:2] + ([f"{len(machines) - 2} more machines"] if len(machines) > 2 else [])
    return facts + ([days[0] if len(days) == 1 else f"{days[0]} – {days[-1]}"] if days else [])


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; nothing is fetched."""
    bundle: str = need("vl_convert", "the report").javascript_bundle(
        "window.vegaEmbed = vegaEmbed;"
    )
    # a closing tag inside a string of the library would end the script element
    return "(()=>{" + bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--") + "\n})();"
