"""The report, opened in a real browser: nothing missing, nothing fetched, nothing cut off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browsing import opened
from helpers import small_config, trained_run


@pytest.fixture
def report() -> Path:
    run = trained_run(small_config(epochs=2), name="run <i>&lt;one", report=True)
    return Path(run.to_dict()["report"])


def test_report_is_self_contained(report: Path) -> None:
    page = report.read_text()
    assert len(page) < 3_000_000
    assert "<script" not in page
    outside = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert [link for link in outside if "xlink" not in link] == ['href="model-card.html"']
    assert "run &lt;i&gt;&amp;lt;one" in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_in_a_browser(browser: Browser, report: Path, width: int, scheme: str) -> None:
    with opened(browser, report, width, scheme) as page:
        assert page.locator("h1").inner_text() == "run <i>&lt;one"
        assert page.locator("svg.plot").count() == 4
        assert page.locator("figure img").count() > 3
        ink, paper = page.evaluate(
            "[getComputedStyle(document.querySelector('svg.plot text')).fill,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert ink != paper
