"""The page is complete, safe and correct for any runs."""

from __future__ import annotations

import functools
import json
import re
from html.parser import HTMLParser

import msgspec
import pytest
from tests.factory import MODEL, energy_of
from tests.factory import failed_run as failed
from tests.factory import grid_runs as sweep
from tests.factory import trial_run as run
from tests.report.cases import CASES

import wattlaw
from wattlaw.core.errors import RecordError, UsageError
from wattlaw.core.plugins import SECTIONS, load, plugins
from wattlaw.core.reading import Note
from wattlaw.core.run_folder import write_run
from wattlaw.report.content import Section
from wattlaw.report.context import Context
from wattlaw.report.page import html, make_page, script_json, write_report


@functools.cache
def page_of(case):
    return make_page(CASES[case])


def text_of(page: str) -> str:
    return re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", sorted(plugins(SECTIONS)))
def test_every_section_has_content_or_is_left_out_for_any_runs(name, case):
    made = page_of(case)
    found = load(SECTIONS, name)(made.context)
    assert found is None or isinstance(found, Section)
    if found:
        assert found.figures or found.tables or found.template or found.missing
        assert all(f.panels and f.caption and f.table for f in found.figures)


@pytest.mark.parametrize("case", CASES)
def test_a_page_shows_no_nan_or_infinity(case):
    page = html(page_of(case))
    # the reason for leaving out a run may contain the value
    shown = re.sub(r"it is (nan|inf)", "", text_of(page))
    assert not re.search(r"\b(nan|inf|infinity|not a number)\b", shown, re.I)
    figures = re.search(r'id="figures">(.*?)</script>', page, re.S)
    if figures:
        json.loads(figures[1], parse_constant=lambda word: pytest.fail(word))


def test_a_page_makes_no_network_request():
    page = html(make_page(sweep()))
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", page)


class Tags(HTMLParser):
    """Collects the names of all elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "{{ 7*7 }}{% raw %}",
    "datum.a || alert(1)",
    "a\u2028b\x00c",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_with_markup_are_shown_as_text(name):
    note = Note(name, name)
    runs = sweep([(name, 0.1)], warnings=(note,), labels_of={name: name})
    runs.append(failed(name, error=f"Traceback\n{name}"))
    page = html(make_page(runs, title=name))
    seen = Tags()
    seen.feed(text_of(page))
    assert page.count("<script") == 3
    assert not seen.names & {"img", "script"}
    assert not [a for a in seen.attributes if a.startswith("on")]
    assert "{{ 7*7 }}" in page or "7*7" not in name


def test_json_in_a_script_element_cannot_end_it():
    text = script_json({"a": "</script><!--\u2028"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028"}


def test_the_answer_comes_first_with_its_evidence():
    page = text_of(html(make_page(sweep(warnings=(Note("unstable_steps", "they vary"),)))))
    answer = page[: page.index('id="speedup"')]
    assert re.search(
        r"schnet</strong>: 2 processes are 1\.\d\d× \[1\.\d\d, 1\.\d\d\] as fast as 1 process at batch",
        answer,
    )
    assert "energy estimated, not measured" in answer
    assert "unstable steps" in answer


def test_estimated_energies_are_shown_separately_with_their_model():
    sections = {s.name: s for s in make_page(sweep()).sections}
    (figure,) = [f for f in sections["cost"].figures if "energy" in f.name]
    assert figure.name == "energy-estimate"
    assert MODEL.partition("model: ")[2] in figure.caption
    assert all("estimate" in row[2] for row in figure.table.rows)


def test_missing_energy_has_a_reason():
    sections = {s.name: s for s in make_page(sweep(energy="missing")).sections}
    assert sections["cost"].missing == "Energy is missing, because RAPL is not readable here."
    assert [f.name for f in sections["cost"].figures] == ["time"]


def test_a_failed_run_is_listed_with_its_reason():
    page = text_of(html(make_page([*sweep(), failed("schnet")])))
    assert "1 of 13 runs failed" in page
    assert "RuntimeError: out of memory" in page


def test_ten_thousand_runs_make_a_page_of_a_few_megabytes():
    runs = sweep(
        [(f"w{i}", 0.05) for i in range(25)], devices=range(1, 11), batches=range(1, 11), repeats=4
    )
    page = html(make_page(runs))
    assert len(runs) == 10_000
    assert len(page) < 4e6


def test_a_folder_gives_the_same_answer_as_its_runs(tmp_path):
    runs = sweep(repeats=2)
    for one in runs:
        write_run(tmp_path / "runs" / one.sweep / one.trial, one)
    from_folder = write_report(tmp_path / "runs", tmp_path / "page" / "a.html")
    assert from_folder.lines == write_report(runs, tmp_path / "b.html").lines
    assert (tmp_path / "page" / "a.html").stat().st_size > 500_000
    assert len(from_folder.lines) == 3
    assert from_folder.files == [tmp_path / "page" / "a.html"]


def test_a_damaged_run_is_named_among_the_warnings(tmp_path):
    one = run()
    write_run(tmp_path / one.sweep / one.trial, one)
    (tmp_path / one.sweep / "broken").mkdir()
    (tmp_path / one.sweep / "broken" / "summary.json").write_text("{")
    assert "broken" in text_of(html(make_page(tmp_path)))


def test_an_unknown_format_lists_the_valid_ones(tmp_path):
    with pytest.raises(UsageError, match="svg, png, pdf"):
        wattlaw.write_report([run()], tmp_path / "r.html", formats=["jpeg"])


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(RecordError, match="there is no folder"):
        wattlaw.write_report(tmp_path / "nowhere", tmp_path / "r.html")


def test_measured_and_estimated_repeats_are_not_mixed():
    runs = [
        run(repeat=0),
        msgspec.structs.replace(run(repeat=1), quantities={"samples": run().quantities["samples"]}),
    ]
    measured = msgspec.structs.replace(
        run(repeat=2), quantities={**run().quantities, "cpu_energy_j": energy_of("measured", 50.0)}
    )
    (group,) = Context(runs=[*runs, measured]).groups
    reading = group.rows[0].reading("energy_per_sample_j")
    assert (reading.status, reading.n) == ("measured", 1)
