"""The interactive figure in a real browser: drawing, filters, tooltips, no requests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wattlaw.accelerators.catalogue.catalogue import (
    CatalogueFilter,
    built_in,
    representative,
    select,
)
from wattlaw.accelerators.catalogue.entry import SEGMENTS
from wattlaw.accelerators.catalogue.survey import edition
from wattlaw.accelerators.figures.scatter import plot
from wattlaw.accelerators.figures.style import write

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]


def test_the_page_draws_filters_and_explains_without_the_network(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "a.html"
    write(plot(edition(2025)), path)
    messages: list[str] = []
    requests: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on(
            "console", lambda m: messages.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda e: messages.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_selector(
            "#vega-chart canvas, #vega-chart svg, .vega-embed canvas, .vega-embed svg"
        )
        menus = page.locator("select")
        assert menus.count() == 2
        before = page.screenshot()
        page.locator("select[name^=use_shown]").select_option(label="training")
        page.wait_for_timeout(300)
        assert page.screenshot() != before
        box = page.locator(".vega-embed canvas, .vega-embed svg").first.bounding_box()
        assert box
        shown = ""
        for across in range(200, 900, 6):
            page.mouse.move(box["x"] + across, box["y"] + 300)
            shown = (
                page.locator("#vg-tooltip-element").inner_text()
                if page.locator("#vg-tooltip-element.visible").count()
                else ""
            )
            if shown:
                break
        assert "peak performance" in shown
        browser.close()
    assert messages == []
    assert requests == [path.as_uri()]


TEXTS = """() => [...document.querySelectorAll("g.mark-text text")].map(text => {
    const box = text.getBoundingClientRect()
    return [text.textContent, box.left + 0.5, box.top + 1.5, box.right - 0.5, box.bottom - 1.5,
            (text.getAttribute("transform") || "").includes("rotate")]
})"""


@pytest.mark.parametrize("zoom", ["", *(s.name for s in SEGMENTS)])
def test_no_text_of_the_figure_covers_another_in_the_browser(tmp_path: Path, zoom: str) -> None:
    from playwright.sync_api import sync_playwright

    today = representative(select(built_in().entries, CatalogueFilter(years=(2019, 2026))))
    write(plot(today, zoom=zoom), tmp_path / "a.svg")
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_content((tmp_path / "a.svg").read_text(encoding="utf-8"))
        texts = {tuple(t) for t in page.evaluate(TEXTS)}
        browser.close()
    upright = sorted(t for t in texts if not t[5])
    assert len(upright) > 20
    assert [
        (a[0], b[0])
        for i, a in enumerate(upright)
        for b in upright[:i]
        if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]
    ] == []
