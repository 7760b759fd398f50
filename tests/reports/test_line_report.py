"""The report of a line reader: figures, and the worst lines with characters under their columns."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser

from browsing import faults, opened
from line_runs import line_evaluation, lines_read_as, made_line_run
from penstroke.reports.line_report import line_mistake, write_line_report
from penstroke.runs.run import RunSummary

VALIDATION = lines_read_as([
    ("12,50", "12.50"), ("100", "100"), ("7", "1"), ("2026", "206"), ("9 <", "<<"), ("45", ""),
    ("1" * 60, "1" * 59 + "7"), *(("33", "33") for _ in range(60)),
])  # fmt: skip


def test_characters_are_under_their_columns() -> None:
    """Of 12,50 read as 12.50 each in the middle of its columns, at two pixels for one."""
    mistake = line_mistake(VALIDATION, 0)
    assert mistake.width == 2 * mistake.image.shape[1]
    assert [(c.text, c.predicted) for c in mistake.characters if c.differs] == [(",", ".")]
    assert [c.center for c in mistake.characters] == [4 * 2 * (2.5 + 5 * k) for k in range(5)]


def test_a_missed_character_is_between_its_neighbours() -> None:
    _, zero, missed, six = line_mistake(VALIDATION, 3).characters
    assert (missed.text, missed.predicted) == ("2", "")
    assert zero.center < missed.center < six.center
    assert missed.center == pytest.approx((zero.center + six.center) / 2)
    missed, *_ = line_mistake(VALIDATION, 5).characters  # of two, nothing is read
    assert 0 < missed.center < 2 * VALIDATION.lines.widths[5]


def test_the_report_shows_validation_lines_and_figures_of_the_test() -> None:
    test = lines_read_as([("88", "88"), ("89", "88")])
    run = made_line_run("run <i>lines", test)
    page = write_line_report(
        run, line_evaluation(validation=VALIDATION, test=test), RunSummary()
    ).read_text()
    assert "50.00 %" in page  # exact match on the test
    assert page.count('<figure class="line">') == 6
    assert "The 6 misread validation lines" in page
    assert re.search("<td>,</td><td>.</td><td class=.text.>substitution</td><td>1</td>", page)
    assert "run &lt;i&gt;lines" in page
    assert "<b>&lt;</b>" in page  # a character of the alphabet
    assert "<script" not in page
    only_test = write_line_report(run, line_evaluation(test=test), RunSummary()).read_text()
    assert "The 1 misread test lines" in only_test


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_in_a_browser(browser: Browser, width: int) -> None:
    run = made_line_run("lines", VALIDATION)
    evaluation = line_evaluation(validation=VALIDATION, test=VALIDATION)
    page_path = write_line_report(run, evaluation, RunSummary())
    with opened(browser, page_path, width, "dark") as page:
        assert faults(page) == []
        assert page.locator("svg.plot").count() == 2
        image = page.locator("figure.line img").first.bounding_box()
        letters = page.locator("figure.line").first.locator("span b").first.bounding_box()
        assert image is not None
        assert letters is not None
        assert letters["y"] >= image["y"] + image["height"]
