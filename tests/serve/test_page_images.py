"""The drawing page: corrections that are kept, images that arrive, lines."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import string
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from penstroke.data.collected import split_of
from penstroke.runs.run import find_run
from serve.strokes import DIGITS
from serve.visiting import (
    body_of,
    clear,
    collected,
    draw,
    eventually,
    reads,
    served,
    strokes_asked,
    visit,
)
from serving import write_model

pytestmark = [pytest.mark.mnist, pytest.mark.browser]

SEVEN = DIGITS["7"]


def test_corrections_of_a_bundled_model_fine_tune_it(browser: Browser, tmp_path: Path) -> None:
    with served(find_run("digits").path, runs=tmp_path) as url, visit(browser, url) as page:
        expect(page.locator("#command")).to_have_text(
            "penstroke train --init-from digits --dataset collected"
        )


def test_one_key_corrects_and_one_click_takes_it_back(browser: Browser, page_url: str) -> None:
    with visit(browser, page_url) as page:
        before = collected(page)
        draw(page, DIGITS["9"])
        reads(page, "9")
        page.keyboard.press("4")
        expect(page.locator("#saved")).to_contain_text("saved as 4")
        assert collected(page) == {**before, "4": before.get("4", 0) + 1}
        expect(page.locator("#command")).to_have_text("penstroke train --dataset mnist+collected")
        page.locator(".bar").nth(5).click()  # no, it was a 5: that takes the place of the 4
        expect(page.locator("#saved")).to_contain_text("saved as 5")
        assert collected(page) == {**before, "5": before.get("5", 0) + 1}
        page.locator("#saved").get_by_role("button", name="undo").click()
        expect(page.locator("#saved")).to_contain_text("not kept as 5 any more")
        assert collected(page) == before


def test_corrections_are_listed_and_removed(browser: Browser, tmp_path: Path) -> None:
    model = write_model(tmp_path / "nothing.onnx")
    with served(model, runs=tmp_path) as url, visit(browser, url) as page:
        expect(page.locator("#kept")).to_be_hidden()
        for name in "347":
            draw(page, DIGITS[name])
            expect(page.locator(".bar.best")).to_be_enabled()
            page.keyboard.press(name)
            expect(page.locator("#saved")).to_contain_text(f"saved as {name}")
        page.locator("#kept summary").click()
        items = page.locator("#kept li")
        expect(items).to_have_text([re.compile(f"{label}.*remove") for label in "743"])
        assert items.nth(0).locator("img").evaluate("image => image.naturalWidth") == 28
        items.nth(1).get_by_role("button").click()
        expect(items).to_have_count(2)
        assert collected(page) == {"3": 1, "7": 1}
        items.nth(0).get_by_role("button").click()  # the last that was kept
        expect(page.locator("#saved")).to_be_hidden()
        expect(page.locator("#count")).to_have_text("1 image")


def test_what_was_corrected_is_trained_on(browser: Browser, tmp_path: Path) -> None:
    """From a network that has learned nothing, by the command the page shows, to one that reads."""
    model = write_model(tmp_path / "nothing.onnx", dataset="digits")
    taught: list[str] = []
    with served(model, runs=tmp_path) as url, visit(browser, url) as page:
        # An image's name, which is drawn at random, decides which split it is of.
        for name in itertools.cycle(DIGITS):
            names = [path.stem for path in (tmp_path / ".data").rglob("[!.]*.json")]
            if len(taught) >= 4 and "train" in map(split_of, names):
                break
            taught.append(name)
            draw(page, DIGITS[name])
            expect(page.locator(".bar.best")).to_be_enabled()
            page.keyboard.press(name[0])
            expect(page.locator("#saved")).to_contain_text(f"saved as {name[0]}")
        eventually(page, lambda: sum(collected(page).values()) == len(taught))
        command = page.locator("#command").inner_text().split()
    trained = subprocess.run(
        [sys.executable, "-m", *command, "fast", "--set", "train.min_steps=150", "--no-report",
         "--json"],
        env={**os.environ, "PENSTROKE_DATA": str(tmp_path / ".data"), "OMP_NUM_THREADS": "1"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    figures = json.loads(trained.stdout)
    facts = tomllib.loads((Path(figures["run"]) / "run.toml").read_text())["data"]
    images = [facts[f"{split}_images"] for split in ("train", "validation", "test")]
    assert command[-1] == "digits+collected"
    assert sum(images) == 1797 + len(taught)
    with served(Path(figures["run"]), runs=tmp_path) as url, visit(browser, url) as page:
        draw(page, DIGITS["3"])
        reads(page, "3")


def test_of_many_classes_each_can_be_chosen(browser: Browser, tmp_path: Path) -> None:
    """Sixty-two have no bars of their own: the likeliest do, and a list has them all."""
    model = write_model(tmp_path / "letters.onnx", classes=string.digits + string.ascii_letters)
    with served(model, runs=tmp_path) as url, visit(browser, url) as page:
        draw(page, SEVEN)
        expect(page.locator(".bar.best")).to_be_enabled()
        assert page.locator(".bar").count() == 10
        page.get_by_label("another character").select_option("Q")
        expect(page.locator("#saved")).to_contain_text("saved as Q")
        page.keyboard.press("q")
        expect(page.locator("#saved")).to_contain_text("saved as q")
        assert collected(page) == {"q": 1}


def test_what_is_kept_holds_the_strokes_and_the_answer(browser: Browser, page_url: str) -> None:
    with visit(browser, page_url) as page:
        draw(page, SEVEN)
        reads(page, "7")
        page.wait_for_timeout(200)
        with page.expect_request("**/v1/corrections") as request:
            page.keyboard.press("1")
        kept = body_of(request)
        assert (kept["label"], kept["answer"]["label"], kept["image"]) == ("1", "7", None)
        assert kept["answer"]["model"] == "mnist-fast"
        assert len(kept["strokes"]["strokes"]) == 1
        assert (kept["strokes"]["width"], kept["strokes"]["pen_width"]) == (400, 28)
        expect(page.locator("#saved")).to_be_visible()
        # The next stroke begins the next drawing; undo brings the one that was kept back.
        strokes_asked(page, lambda: draw(page, DIGITS["1"]), lambda strokes: len(strokes) == 1)
        page.keyboard.press("Control+z")
        reads(page, "7")


def test_a_image_is_chosen_pasted_or_dropped(
    browser: Browser, page_url: str, image_of_seven: bytes
) -> None:
    file = FilePayload(name="s.png", mimeType="image/png", buffer=image_of_seven)
    with visit(browser, page_url) as page:
        arrivals: dict[str, Callable[[], object]] = {
            "chosen": lambda: page.set_input_files("#chooser", file),
            "pasted": lambda: arrive(page, "paste", "clipboardData", image_of_seven),
            "dropped": lambda: arrive(page, "drop", "dataTransfer", image_of_seven),
        }
        expect(page.locator("#model")).to_have_value("mnist-fast")
        for way, arrival in arrivals.items():
            with page.expect_request("**/v1/recognize?*") as request:
                arrival()
            assert request.value.headers["content-type"] == "image/png", way
            reads(page, "7")
            expect(page.locator("#source")).to_have_text("s.png, 200 × 200")
            draw(page, DIGITS["1"])  # a touch does not wipe an image away
            reads(page, "7")
            clear(page)


def test_what_is_no_image_is_refused_in_words(browser: Browser, page_url: str) -> None:
    text = FilePayload(name="notes.png", mimeType="image/png", buffer=b"no image")
    with visit(browser, page_url) as page:
        page.set_input_files("#chooser", text)
        expect(page.locator("#notice")).to_contain_text("notes.png is not an image")
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#notice")).to_be_empty()


def test_a_large_photo_is_made_small_enough(browser: Browser, page_url: str) -> None:
    """2500×2000: over the 4 megapixels that the service keeps; with noise, 15 MB as PNG."""
    make = """async (noise) => {
      const canvas = new OffscreenCanvas(2500, 2000), context = canvas.getContext("2d");
      const pixels = context.createImageData(2500, 2000);
      for (let i = 0; noise && i < pixels.data.length; i += 65536)
        crypto.getRandomValues(pixels.data.subarray(i, i + 65536));
      if (noise) context.putImageData(pixels, 0, 0);
      else {
        context.fillStyle = "#fff", context.fillRect(0, 0, 2500, 2000);
        context.fillStyle = "#000", context.fillRect(1200, 500, 100, 1000);
      }
      const files = new DataTransfer();
      files.items.add(new File([await canvas.convertToBlob()], "photo.png", {type: "image/png"}));
      document.getElementById("chooser").files = files.files;
      document.getElementById("chooser").dispatchEvent(new Event("change"));
    }"""
    with visit(browser, page_url) as page:
        with page.expect_response("**/v1/recognize?*") as response:
            page.evaluate(make, True)
        assert response.value.ok
        assert response.value.request.headers["content-type"] == "image/jpeg"
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("radio", name="A line").check()
        with page.expect_response("**/v1/read?*") as response:
            page.evaluate(make, False)
        answer = response.value.json()
        assert 3_990_000 < answer["width"] * answer["height"] <= 4_000_000


def test_a_line_is_read_with_a_box_a_character(browser: Browser, page_url: str) -> None:
    with visit(browser, page_url) as page:
        page.get_by_role("radio", name="A line").check()
        for place, name in enumerate(("4", "1", "7")):
            draw(page, DIGITS[name], left=20 + 65 * place)
        reads(page, "417")
        boxes = page.locator("#boxes rect")
        expect(boxes).to_have_count(3)
        # In one step: an answer that comes once more draws them anew.
        left = boxes.evaluate_all("all => all.map((one) => one.getBoundingClientRect().left)")
        assert left == sorted(left)
        page.locator(".chip").nth(2).click()
        expect(page.locator(".bar.best .name")).to_have_text("7")
        with page.expect_request("**/v1/corrections") as request:
            page.keyboard.press("1")
        kept = body_of(request)
        assert (kept["label"], kept["strokes"]) == ("1", None)
        assert base64.b64decode(kept["image"]).startswith(b"\x89PNG")
        expect(page.locator("#saved")).to_contain_text("saved as 1")
        page.get_by_role("radio", name="One character").check()
        strokes_asked(page, lambda: page.keyboard.press("]"), lambda strokes: len(strokes) == 4)


ARRIVE = """([type, property, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "s.png", { type: "image/png" }));
  const event = new Event(type, { bubbles: true, cancelable: true });
  Object.defineProperty(event, property, { value: transfer });
  document.body.dispatchEvent(event);
}"""


def arrive(page: Page, event: str, where: str, image: bytes) -> None:
    page.evaluate(ARRIVE, [event, where, base64.b64encode(image).decode()])
