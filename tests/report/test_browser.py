"""The page in a real browser: every figure is drawn, without errors or network requests."""

from __future__ import annotations

import shutil

import pytest
from tests.factory import failed_run as failed
from tests.factory import grid_runs as sweep
from tests.report.cases import CASES

from wattlaw.core.reading import Note
from wattlaw.report.page import write_report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]
HOSTILE = "</script><img src=x onerror=alert(1)>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    runs = [
        *sweep(),
        *sweep([("bert-base", 0.3)], devices=(1, 2, 4, 8), energy="measured"),
        failed("gpt2"),
    ]
    runs += sweep([(HOSTILE, 0.1)], warnings=(Note(HOSTILE, HOSTILE),), repeats=1)
    write_report(runs, path, title=HOSTILE)
    return path


@pytest.fixture
def opened(browser, page_file, request):
    faults: list[str] = []
    urls: list[str] = []
    page = browser.new_page(
        viewport={"width": request.param[1], "height": 900}, color_scheme=request.param[0]
    )
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("dialog", lambda d: faults.append(f"dialog {d.message}"))
    page.on("request", lambda r: urls.append(r.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", timeout=60_000)
    yield page
    page.close()
    assert faults == []
    assert urls == [page_file.as_uri()]


BOTH = [("light", 1280), ("dark", 390)]


@pytest.mark.parametrize("opened", BOTH, indirect=True, ids=["light desktop", "dark phone"])
def test_every_figure_is_drawn_without_error_or_network(opened):
    figures = opened.locator("[data-chart]")
    assert figures.count() >= 20
    for index in range(figures.count()):
        drawing = figures.nth(index).locator("svg")
        box = drawing.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 50
        assert drawing.locator("path, line, text").count() > 5
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate(
        "[...document.querySelectorAll('.scroll')].every(t => t.scrollWidth <= t.clientWidth)"
    )


def test_no_table_is_cut_off_on_paper(browser, page_file):
    a4_less_margins = 688
    page = browser.new_page(viewport={"width": a4_less_margins, "height": 1000})
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", timeout=60_000)
    page.emulate_media(media="print")
    assert page.locator("table").count() > 3
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every(t => t.getBoundingClientRect().right <= innerWidth)"
    )
    page.close()


def test_pages_of_unusual_runs_are_drawn_without_error(browser, tmp_path):
    faults: list[str] = []
    page = browser.new_page()
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    for name, runs in CASES.items():
        path = tmp_path / f"{name}.html"
        write_report(runs, path)
        page.goto(path.as_uri())
        if page.locator("#figures").count():
            page.wait_for_selector("html[data-drawn=yes]", timeout=60_000)
        assert faults == [], name
    page.close()


@pytest.mark.parametrize("opened", [("light", 1280)], indirect=True)
def test_the_theme_is_switched_by_keyboard_and_figures_follow(opened):
    def ground() -> str:
        return opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    def ink() -> str:
        return opened.evaluate(
            "getComputedStyle(document.querySelector('[data-chart] svg .mark-text text')).fill"
        )

    light = ground(), ink()
    opened.locator("#theme").focus()
    opened.keyboard.press("Enter")
    assert ground() != light[0]
    assert ink() != light[1]


@pytest.mark.parametrize("opened", [("light", 1280)], indirect=True)
def test_a_table_is_sorted_by_its_values(opened):
    head = opened.locator("#settings thead button", has_text="time per sample")
    column = head.evaluate("b => b.closest('th').cellIndex")
    head.focus()
    opened.keyboard.press("Enter")
    keys = opened.evaluate(
        "c => [...document.querySelectorAll('#settings tbody tr')].map(r => Number(r.cells[c].dataset.key))",
        column,
    )
    assert keys == sorted(keys)
    assert len(keys) > 10
    assert head.evaluate("b => b.closest('th').getAttribute('aria-sort')") == "ascending"


@pytest.mark.parametrize("opened", [("light", 1280)], indirect=True)
def test_a_tooltip_shows_the_values_of_a_point(opened):
    opened.locator("#figure-time [data-chart] svg .mark-symbol path").first.hover()
    assert "mean" in opened.locator("#tip").inner_text()
