"""The result of a study: findings and published values, how they compare, figures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from wattlaw.core.units import show

if TYPE_CHECKING:
    import altair

    from wattlaw.report.content import Figure, PageTable

FindingStatus = Literal["measured", "estimated", "published", "missing"]

EQUAL = 0.005
"""Values that differ by less than this share are reported as equal."""


class StudyFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One value that a study found.

    key     identity, such as "rows"; a published value with the same key is compared with it
    text    what the value is, in words
    unit    SI unit; "" for a count or a ratio
    status  measured (or counted) here; estimated by a model; published, from imported measurements;
            missing
    how     the meter, the model, the source of an import, or the reason why the value is missing
    """

    key: str
    text: str
    value: float | None
    unit: str = ""
    status: FindingStatus = "measured"
    how: str = ""

    @property
    def shown(self) -> str:
        """The value with its unit, or "missing, because …"."""
        if self.value is None:
            return f"missing, because {self.how}"
        return show_value(self.value, self.unit)


class PublishedValue(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the paper. ``kind`` says if it was read there or derived from what was read
    there.
    """

    key: str
    value: float
    unit: str = ""
    kind: Literal["read", "derived"]
    source: str


class PublishedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A published value beside the finding of the same key. ``difference`` is relative to the
    published value.
    """

    key: str
    text: str
    published: str
    source: str
    found: str
    difference: float | None

    @property
    def verdict(self) -> str:
        """The difference in words: "equal", "3.2 % higher", "2.1 × as high" or "not compared"."""
        if self.difference is None:
            return "not compared"
        if abs(self.difference) < EQUAL:
            return "equal"
        if self.difference > 1:
            return f"{1 + self.difference:.2g} × as high"
        direction = "higher" if self.difference > 0 else "lower"
        return f"{100 * abs(self.difference):.2g} % {direction}"


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the page, and the Altair chart of its SVG and PDF files if these differ from the
    page.
    """

    figure: Figure
    print_chart: altair.TopLevelMixin | None = None


@dataclass(frozen=True)
class StudyResult:
    """The result of a study at one scale.

    answer     the answer to the question, one sentence per item
    work       what ran, in one sentence
    findings   what was found here, each with its status
    published  values of the paper
    meaning    what the findings mean, one paragraph per item
    """

    answer: tuple[str, ...] = ()
    work: str = ""
    findings: tuple[StudyFinding, ...] = ()
    published: tuple[PublishedValue, ...] = ()
    figures: tuple[StudyFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()
    meaning: tuple[str, ...] = ()

    def finding(self, key: str) -> StudyFinding | None:
        """Return the finding of a key."""
        for finding in self.findings:
            if finding.key == key:
                return finding
        return None

    @property
    def comparisons(self) -> list[PublishedComparison]:
        """Every published value beside the finding of its key."""
        return [_compare(value, self.finding(value.key)) for value in self.published]


def show_value(value: float, unit: str) -> str:
    """Return a value with its unit; "%" shows a ratio in percent, a count is shown in full."""
    if unit == "%":
        return f"{show(100 * value)} %"
    if not unit and value == int(value):
        return str(int(value))
    return show(value, unit)


def _compare(published: PublishedValue, finding: StudyFinding | None) -> PublishedComparison:
    difference = None
    if finding is None:
        found = "missing, because the study does not compute it at this scale"
    else:
        found = finding.shown
        if finding.value is not None and published.value:
            difference = finding.value / published.value - 1
        elif finding.value == published.value:
            difference = 0.0
    shown = show_value(published.value, published.unit)
    return PublishedComparison(
        key=published.key,
        text=finding.text if finding else published.key,
        published=f"{shown} (derived)" if published.kind == "derived" else shown,
        source=published.source,
        found=found,
        difference=difference,
    )
