"""The drawing page with a model that reads whole lines, beside one of characters."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import faults
from line_models import ALPHABET, write_line_model
from serve.strokes import DIGITS
from serve.visiting import body_of, draw, served, visit
from serving import write_model

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    models = (
        write_model(folder / "digits.onnx"),
        write_model(folder / "letters.onnx", 5, "abc"),
        write_line_model(folder / "numbers.onnx"),
    )
    with served(*models, runs=folder / "runs") as url:
        yield url


def _draw_line(page: Page) -> None:
    for place, name in enumerate(("4", "1", "7")):
        draw(page, DIGITS[name], left=20 + 65 * place)


def test_who_reads_a_line(browser: Browser, url: str) -> None:
    """A model of whole lines, if it knows what the chosen model knows."""
    with visit(browser, url) as page:
        expect(page.locator("#about-model")).to_contain_text("lines by numbers")
        with page.expect_response("**/v1/recognize?*") as response:
            draw(page, DIGITS["7"])
        assert response.value.json()["model"] == "digits"
        with page.expect_response("**/v1/read?*") as response:
            page.get_by_role("radio", name="A line").check()
        assert response.value.json()["model"] == "numbers"
        with page.expect_response("**/v1/read?*") as response:
            page.get_by_label("Model").select_option("letters")
        assert response.value.json()["model"] == "letters"
        page.get_by_role("radio", name="One character").check()
        with page.expect_response("**/v1/read?*") as response:
            page.get_by_label("Model").select_option("numbers")
        assert response.value.json()["model"] == "numbers"
        expect(page.get_by_role("radio", name="A line")).to_be_checked()
        with page.expect_response("**/v1/recognize?*") as response:
            page.get_by_role("radio", name="One character").check()
        assert response.value.json()["model"] == "digits"


def test_a_character_of_a_line_can_be_corrected(browser: Browser, url: str) -> None:
    character = {
        "label": "9", "probability": 0.6, "probabilities": {"9": 0.6, ",": 0.4},
        "box": [0, 0, 300, 400], "status": "ok", "split": False, "space_before": False,
    }  # fmt: skip
    line = {"text": "9", "status": "rejected", "probability": 0.4, "characters": [character]}
    answer = {"text": "9", "width": 1200, "height": 400, "lines": [line], "model": "numbers"}
    with visit(browser, url) as page:
        page.get_by_role("radio", name="A line").check()
        page.route("**/v1/read?*", lambda route: route.fulfill(json=answer))
        draw(page, DIGITS["7"])
        expect(page.locator("#certainty")).to_contain_text("1 character, not sure of the whole")
        page.locator(".chip").first.click()
        expect(page.locator(".bar.best .name")).to_have_text("9")
        names = page.locator("#other option").all_text_contents()
        assert set(names) >= set(ALPHABET)
        with page.expect_request("**/v1/corrections") as request:
            page.keyboard.press("7")
        kept = body_of(request)
        assert (kept["label"], kept["answer"]["model"]) == ("7", "numbers")
        assert base64.b64decode(kept["image"]).startswith(b"\x89PNG")
        expect(page.locator("#saved")).to_contain_text("saved as 7")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_line_is_whole_and_legible(browser: Browser, url: str, width: int) -> None:
    with visit(browser, url, viewport={"width": width, "height": 900}) as page:
        page.get_by_label("Model").select_option("numbers")
        _draw_line(page)
        page.locator(".chip").first.click()
        assert faults(page) == []


def test_a_service_of_line_models_alone(browser: Browser, tmp_path: Path) -> None:
    with (
        served(write_line_model(tmp_path / "numbers.onnx"), runs=tmp_path / "runs") as url,
        visit(browser, url) as page,
    ):
        expect(page.get_by_role("radio", name="One character")).to_be_disabled()
        with page.expect_response("**/v1/read?*") as response:
            draw(page, DIGITS["7"])
        assert response.value.json()["model"] == "numbers"
