"""The answer in words: one short line a workload, its status and warnings beside it."""

from __future__ import annotations

from markupsafe import Markup

from wattlaw.core.units import counted
from wattlaw.report.context import Context, Group
from wattlaw.report.figure import Section
from wattlaw.report.words import Line, answer

NAMES = {"answer": "answer_section"}

MOST_OPEN = 12

_LIST = Markup('<ul class="answers">{}</ul>')
_MORE = Markup("<details><summary>{}</summary>{}</details>")
_ITEM = Markup(
    '<li style="--hue:{hue}"><p class="say"><strong>{name}</strong>: {short}</p>'
    '{detail}<p class="marks">{marks}</p></li>'
)
_MARK = Markup('<span class="mark {kind}">{words}</span>')
_LINK = Markup('<a class="mark warn" href="#warnings">{words}</a>')


def answer_section(context: Context) -> Section:
    """Say for each workload how much faster more devices are and which setting to take."""
    if not context.runs:
        return Section(
            "answer",
            "In short",
            0,
            missing="there are no runs here; make some with `wattlaw sweep start`",
        )
    items = [_item(g, answer(context, g)) for g in context.groups]
    text = _LIST.format(Markup("").join(items[:MOST_OPEN]))
    if items[MOST_OPEN:]:
        text += _MORE.format(
            counted(len(items) - MOST_OPEN, "more workload"),
            _LIST.format(Markup("").join(items[MOST_OPEN:])),
        )
    return Section("answer", "In short", 0, text=text)


def _item(group: Group, line: Line) -> Markup:
    marks = [_MARK.format(kind=status, words=words) for status, words in line.marks]
    marks += [_LINK.format(words=name) for name in line.warnings]
    detail = Markup('<p class="detail">{}</p>').format(line.detail) if line.detail else Markup("")
    return _ITEM.format(
        hue=group.colour,
        name=group.name,
        short=line.short,
        detail=detail,
        marks=Markup(" ").join(marks),
    )
