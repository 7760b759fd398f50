"""The drawing page under fingers, pens and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from serve.strokes import DIGITS
from serve.visiting import collected, on_sheet, reads, strokes_asked, visit

pytestmark = [pytest.mark.mnist, pytest.mark.browser]

SEVEN = DIGITS["7"]


def test_everything_is_done_with_the_keyboard_alone(
    browser: Browser, page_url: str, tmp_path: Path, image_of_seven: bytes
) -> None:
    (tmp_path / "seven.png").write_bytes(image_of_seven)
    with visit(browser, page_url) as page:
        reached = tab_through(page, 40)
        for name in ("Draw", "Runs", "One character", "Sheet to draw on", "Image …", "Pen",
                     "occlusion map", "Keyboard shortcuts"):  # fmt: skip
            assert any(name in text for text in reached), name
        # A 1, drawn with arrows.
        page.locator("#canvas").focus()
        page.keyboard.press("Space")
        for _ in range(24):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        reads(page, "1")
        page.keyboard.press("Backspace")
        reads(page, "")
        page.on("filechooser", lambda _: None)  # Chromium must know beforehand that we answer it
        page.get_by_role("button", name="Image").focus()
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(tmp_path / "seven.png")
        reads(page, "7")
        before = collected(page)
        page.keyboard.press("1")
        expect(page.locator("#saved")).to_contain_text("saved as 1")
        page.locator("#saved button").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#saved")).to_contain_text("not kept")
        assert collected(page) == before
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("Ctrl Z")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_draws_with_a_finger_and_does_not_scroll(
    browser: Browser, page_url: str, scheme: Any
) -> None:
    phone = {"width": 360, "height": 640}
    settings = {"viewport": phone, "has_touch": True, "is_mobile": True, "color_scheme": scheme}
    with visit(browser, page_url, **settings) as page:
        touch(page, on_sheet(page, SEVEN)[0])
        reads(page, "7")
        assert page.evaluate("scrollY") == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.get_by_role("radio", name="A line").check()
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_second_finger_draws_nothing(browser: Browser, page_url: str) -> None:
    with visit(browser, page_url, has_touch=True) as page:
        (stroke,) = on_sheet(page, SEVEN)
        x, y = stroke[0]
        touch(page, stroke, palm=(x + 40, y + 250))
        reads(page, "7")
        strokes_asked(page, lambda: page.keyboard.press("]"), lambda strokes: len(strokes) == 1)


def test_a_pen_presses_and_the_palm_beside_it_draws_nothing(
    browser: Browser, page_url: str
) -> None:
    with visit(browser, page_url) as page:
        (stroke,) = on_sheet(page, SEVEN)
        (points,) = strokes_asked(
            page,
            lambda: page.evaluate(PEN, [list(p) for p in stroke]),
            lambda strokes: len(strokes[0]) == 2 * len(stroke) - 1,  # with the coalesced ones
        )
        assert {point[2] for point in points} == {0.25, 0.75}


PEN = """points => {
  const canvas = document.getElementById("canvas");
  canvas.setPointerCapture = () => {};
  const made = (type, [clientX, clientY], more) =>
    new PointerEvent(type, { clientX, clientY, button: 0, ...more });
  const send = (type, point, more, coalesced = []) => {
    const event = made(type, point, more);
    event.getCoalescedEvents = () => coalesced.map((one) => made(type, one, more));
    canvas.dispatchEvent(event);
  };
  const between = ([x, y], [u, v]) => [(x + u) / 2, (y + v) / 2];
  const pen = { pointerId: 7, pointerType: "pen", pressure: 0.25 };
  const palm = { pointerId: 8, pointerType: "touch", pressure: 0.5 };
  send("pointerdown", points[0], pen);
  send("pointerdown", [points[0][0], points[0][1] + 60], palm);
  points.slice(1).forEach((point, i) =>
    send("pointermove", point, { ...pen, pressure: 0.75 }, [between(points[i], point), point]));
  send("pointermove", [points[0][0] + 30, points[0][1] + 60], palm);
  send("pointerup", points.at(-1), pen);
  send("pointerup", points[0], palm);
  send("pointerdown", points[0], palm);
  send("pointermove", points.at(-1), palm);
  send("pointerup", points.at(-1), palm);
}"""


def touch(
    page: Page, stroke: list[tuple[float, float]], palm: tuple[float, float] | None = None
) -> None:
    """Draw with a finger, as the browser itself would hear of it; `palm` lies there as well."""
    session = page.context.new_cdp_session(page)
    beside = [{"x": palm[0], "y": palm[1], "id": 1}] if palm else []

    def send(kind: str, *points: dict[str, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    fingers = [{"x": x, "y": y, "id": 0} for x, y in stroke]
    send("touchStart", fingers[0])
    if beside:
        send("touchStart", fingers[0], *beside)
    for finger in fingers[1:]:
        send("touchMove", finger, *[{**one, "y": finger["y"] + 60} for one in beside])
    send("touchEnd")


def tab_through(page: Page, count: int) -> list[str]:
    """Return the names of what Tab reaches, each of which must show that it is focused."""
    reached = []
    for _ in range(count):
        page.keyboard.press("Tab")
        name, is_shown = page.evaluate("""() => {
          const at = document.activeElement, box = at.closest(".sheet") ?? at;
          const label = at.labels?.[0]?.textContent ?? at.ariaLabel ?? at.textContent;
          const isOutlined = (one) => one && getComputedStyle(one).outlineStyle !== "none";
          const shown = [box, at.nextElementSibling].some(isOutlined);
          return [label.trim(), shown || at === document.body];
        }""")
        assert is_shown, name
        reached.append(name)
    return reached
