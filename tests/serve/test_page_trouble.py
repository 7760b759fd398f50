"""The drawing page when the server is silent, refuses, or asks for a token."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from serve.strokes import DIGITS
from serve.visiting import draw, reads, served, visit

pytestmark = [pytest.mark.mnist, pytest.mark.browser]

SEVEN = DIGITS["7"]


def test_a_silent_server_is_said_calmly_and_asked_again(browser: Browser, page_url: str) -> None:
    with visit(browser, page_url, expected=("Failed to load resource",)) as page:
        page.route("**/v1/recognize?*", lambda route: route.abort())
        draw(page, SEVEN)
        expect(page.locator("#notice")).to_contain_text("The server does not answer. Trying again")
        page.unroute("**/v1/recognize?*")
        page.get_by_role("button", name="Try now").click()
        reads(page, "7")
        expect(page.locator("#notice")).to_be_empty()


@pytest.mark.parametrize(("status", "is_tried_again"), [(429, True), (503, True), (413, False)])
def test_refusals_are_shown_as_the_server_words_them(
    browser: Browser, page_url: str, status: int, is_tried_again: bool
) -> None:
    body = {"error": {"code": "c", "message": f"words about {status}"}}
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=status, json=body, headers={"Retry-After": "1"})

    with visit(browser, page_url, expected=("Failed to load resource",)) as page:
        page.route("**/v1/recognize?*", refuse)
        draw(page, [[(50, 50)]])
        expect(page.locator("#notice")).to_contain_text(f"words about {status}")
        page.wait_for_timeout(200)
        assert len(asked) <= 2  # as the pen comes down, and when it is lifted
        if not is_tried_again:
            expect(page.locator("#spoken")).to_have_text("No answer.")
        page.unroute("**/v1/recognize?*")
        if is_tried_again:
            expect(page.locator("#notice")).to_be_empty()
        else:
            page.wait_for_timeout(1200)
            expect(page.locator("#notice")).not_to_be_empty()


def test_the_token_is_taken_from_the_address_and_hidden(browser: Browser, mnist_runs: Path) -> None:
    token = "a-long-token-for-the-test"
    with served(mnist_runs / "mnist-fast", runs=mnist_runs, token=token) as url:
        assert "#token=a-long-token" in url
        with visit(browser, url) as page:
            expect(page.locator("#model")).to_have_value("mnist-fast")
            assert "token" not in page.url
            page.get_by_role("link", name="Runs").click()
            expect(page.get_by_role("row", name="mnist-fast").first).to_be_visible()
        bare = url.split("#")[0]
        with visit(browser, bare, expected=("Failed to load resource",)) as page:
            expect(page.locator("#notice")).to_contain_text("token")
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Use it").click()
            expect(page.locator("#model")).to_have_value("mnist-fast")
            assert "token" not in page.url
