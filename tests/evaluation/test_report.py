"""The report, opened in a real browser: nothing missing, nothing fetched, nothing cut off."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from helpers import small_config
from penstroke.workflow import finish, prepare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def report() -> Path:
    prepared = prepare(small_config(epochs=2), stem="<b>&amp;-run", name="run <i>&lt;one")
    for _ in prepared.train():
        pass
    return Path(finish(prepared)["report"])


def test_report_is_self_contained(report: Path) -> None:
    page = report.read_text()
    assert len(page) < 3_000_000
    assert "<script" not in page
    outside = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert [link for link in outside if "xlink" not in link] == []
    assert "run &lt;i&gt;&amp;lt;one" in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_in_a_browser(browser: Browser, report: Path, width: int, scheme: str) -> None:
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    troubles: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert troubles == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").inner_text() == "run <i>&lt;one"
    assert page.locator("svg").count() == 3
    assert page.locator("figure img").count() > 3
    loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert page.evaluate(loaded)
    ink, paper = page.evaluate(
        "[getComputedStyle(document.querySelector('svg text')).fill,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    assert ink != paper
    page.close()
