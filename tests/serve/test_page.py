"""The drawing page in a real browser: what is drawn is read, while it is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serve.strokes import DIGITS
from serve.visiting import (
    asks_nothing,
    body_of,
    clear,
    draw,
    eventually,
    on_sheet,
    reads,
    strokes_asked,
    visit,
)

pytestmark = [pytest.mark.mnist, pytest.mark.browser]

SEVEN = DIGITS["7"]


@pytest.fixture(scope="module")
def desk(browser: Browser, page_url: str) -> Iterator[Page]:
    """One tab for all tests that only draw."""
    with visit(browser, page_url) as page:
        expect(page.locator("#model")).to_have_value("mnist-fast")
        yield page


@pytest.mark.parametrize("name", DIGITS)
def test_a_digit_that_is_drawn_is_read(desk: Page, name: str) -> None:
    clear(desk)
    draw(desk, DIGITS[name])
    reads(desk, name[0])
    best = desk.locator(".bar.best")
    assert best.locator(".name").inner_text() == name[0]
    assert float(best.locator(".share").inner_text().strip("<> %")) > 50


def test_the_answer_comes_before_the_pen_is_lifted(desk: Page) -> None:
    clear(desk)
    (stroke,) = on_sheet(desk, DIGITS["1"])
    desk.mouse.move(*stroke[0])
    desk.mouse.down()
    for point in stroke[1:]:
        desk.mouse.move(*point, steps=3)
    reads(desk, "1")
    desk.mouse.up()


def test_undo_redo_and_clear_walk_along_the_strokes(desk: Page) -> None:
    clear(desk)
    draw(desk, DIGITS["4"])
    reads(desk, "4")
    undo = desk.get_by_role("button", name="Undo")
    strokes_asked(desk, undo.click, lambda strokes: len(strokes) == 1)
    assert asks_nothing(desk, lambda: desk.keyboard.press("Control+z"))
    reads(desk, "")
    strokes_asked(desk, lambda: desk.keyboard.press("Control+y"), lambda strokes: len(strokes) == 1)
    redo = desk.get_by_role("button", name="Redo")
    strokes_asked(desk, redo.click, lambda strokes: len(strokes) == 2)
    reads(desk, "4")
    desk.get_by_role("button", name="Clear").click()
    reads(desk, "")
    desk.keyboard.press("Control+z")
    reads(desk, "4")


def test_a_thicker_pen_is_asked_about_at_once(desk: Page) -> None:
    clear(desk)
    draw(desk, SEVEN)
    with desk.expect_request("**/v1/recognize?*") as thicker:
        desk.keyboard.press("]")
    with desk.expect_request("**/v1/recognize?*") as thinner:
        desk.locator("#pen").fill("12")
    assert [body_of(one)["pen_width"] for one in (thicker, thinner)] == [30, 12]
    thin = sum(ink_by_thirds(desk))
    desk.locator("#pen").fill("28")
    assert sum(ink_by_thirds(desk)) == pytest.approx(thin * 28 / 12, rel=0.15)


def test_a_window_of_another_size_keeps_the_strokes(browser: Browser, page_url: str) -> None:
    with visit(browser, page_url, device_scale_factor=2) as page:
        draw(page, SEVEN)
        reads(page, "7")
        before = ink_by_thirds(page)
        page.set_viewport_size({"width": 420, "height": 900})
        eventually(page, lambda: ink_by_thirds(page) == pytest.approx(before, abs=0.002))
        canvas = page.locator("#canvas")
        width = canvas.evaluate("canvas => canvas.width / canvas.clientWidth")
        assert width == pytest.approx(2, abs=0.01)


def test_an_occlusion_map_is_shown_when_asked_for(desk: Page) -> None:
    clear(desk)
    draw(desk, SEVEN)
    reads(desk, "7")
    assert colours_of_input(desk) == {"grey"}
    desk.get_by_label("occlusion map").check()
    eventually(desk, lambda: colours_of_input(desk) == {"colour"})
    desk.get_by_label("occlusion map").uncheck()
    eventually(desk, lambda: colours_of_input(desk) == {"grey"})


def test_an_answer_to_what_was_cleared_is_not_shown(desk: Page) -> None:
    clear(desk)

    def answer_late(route: Route) -> None:
        desk.wait_for_timeout(300)
        route.continue_()

    desk.route("**/v1/recognize?*", answer_late)
    draw(desk, SEVEN)
    desk.keyboard.press("Delete")
    desk.wait_for_timeout(800)
    reads(desk, "")
    desk.unroute("**/v1/recognize?*")


def test_unsure_and_empty_are_said(browser: Browser, page_url: str) -> None:
    shares = {str(digit): 0.02 for digit in range(10)} | {"4": 0.44, "9": 0.4}
    rejected = {"status": "rejected", "label": None, "probability": 0, "probabilities": shares}
    empty: dict[str, Any] = {
        "status": "empty",
        "label": None,
        "probability": 0,
        "probabilities": {},
    }
    with visit(browser, page_url) as page:
        rest = {"model": "mnist-fast", "input_image": BLANK, "occlusion_map": None}
        page.route("**/v1/recognize?*", lambda route: route.fulfill(json={**rejected, **rest}))
        draw(page, DIGITS["1"])
        reads(page, "?")
        expect(page.locator("#certainty")).to_have_text("not sureperhaps 4 (44 %) or 9 (40 %)")
        expect(page.locator("#spoken")).to_have_text("not sure, perhaps 4 (44 %) or 9 (40 %)")
        several = {**rejected, "rejection_reason": "several_characters"}
        page.route("**/v1/recognize?*", lambda route: route.fulfill(json={**several, **rest}))
        draw(page, DIGITS["1"])
        said = "several characters, one at a time, or as a line"
        expect(page.locator("#spoken")).to_have_text(said)
        page.route("**/v1/recognize?*", lambda route: route.fulfill(json={**empty, **rest}))
        draw(page, DIGITS["1"])
        expect(page.locator("#certainty")).to_have_text("no ink found")
        assert page.locator(".bar:enabled").count() == 0
        page.keyboard.press("9")
        assert page.locator("#saved").is_hidden()


def test_the_answer_is_said_when_the_drawing_rests(desk: Page) -> None:
    clear(desk)
    expect(desk.locator("#spoken")).to_have_text("The sheet is empty.")
    draw(desk, SEVEN)
    expect(desk.locator("#spoken")).to_contain_text("7, ")
    assert desk.locator("#spoken").get_attribute("aria-live") == "polite"


def test_answers_never_come_out_of_order(browser: Browser, page_url: str) -> None:
    """Answers are held back at random: there is one question at a time, and the last one counts."""
    asked: list[int] = []
    open_now: list[int] = []

    def hold_back(route: Route) -> None:
        asked.append(len(asked))
        open_now.append(asked[-1])
        assert len(open_now) == 1
        page.wait_for_timeout((100, 10, 40)[len(asked) % 3])
        open_now.pop()
        probabilities = {str(digit): 0.0 for digit in range(10)}
        label = str(asked[-1] % 10)
        route.fulfill(json={
            "model": "mnist-fast", "status": "ok", "label": label, "probability": 1.0,
            "probabilities": probabilities | {label: 1.0}, "input_image": BLANK,
            "occlusion_map": None,
        })  # fmt: skip

    with visit(browser, page_url) as page:
        page.route("**/v1/recognize?*", hold_back)
        for name in ("4", "5", "1 with a flag"):
            draw(page, DIGITS[name])
        answer = page.locator("#answer")
        eventually(
            page,
            lambda: len(asked) > 2 and not open_now and answer.inner_text() == str(asked[-1] % 10),
        )


BLANK = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAA"
    "AABJRU5ErkJggg=="
)


COLOURED = """(() => {
  const context = document.getElementById("input-image").getContext("2d");
  const { data } = context.getImageData(0, 0, 28, 28);
  return data.some((value, i) => i % 4 === 0 && value - data[i + 2] > 40);
})()"""


def ink_by_thirds(page: Page) -> list[float]:
    """Return how much of the canvas is ink in each third, from left to right."""
    thirds = page.evaluate("""() => new Promise((resolve) => requestAnimationFrame(() => {
      const canvas = document.getElementById("canvas"), { width, height } = canvas;
      const settings = { willReadFrequently: true };
      const copy = new OffscreenCanvas(width, height).getContext("2d", settings);
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, width, height);
      const thirds = [0, 0, 0];
      for (let i = 0; i < width * height; i++)
        thirds[Math.floor((3 * (i % width)) / width)] += data[4 * i + 3] / 255 / width / height;
      resolve(thirds);
    }))""")
    return list(thirds)


def colours_of_input(page: Page) -> set[str]:
    return {"colour" if page.evaluate(COLOURED) else "grey"}
