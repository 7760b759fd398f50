from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from browsing import opened
from helpers import drawn_digit
from penstroke.inference.overlay import overlay_svg
from penstroke.inference.readings import CharacterReading, LineReading, PageReading
from penstroke.inference.segments import Box
from penstroke.preprocessing.decoding import ImageLike
from penstroke.preprocessing.ink import DEFAULT_INK

SVG = "{http://www.w3.org/2000/svg}"


def page_of(*labels: str, size: int = 200) -> PageReading:
    characters = tuple(
        CharacterReading(
            label, 0.9 - 0.4 * (k % 2), {label: 0.9, "other": 0.1},
            Box(20 * k, 40, 20 * k + 18, 80),
            "rejected" if k % 2 else "ok", split=bool(k % 2), space_before=False,
        )
        for k, label in enumerate(labels)
    )  # fmt: skip
    return PageReading((LineReading(characters, Box(0, 0, size, size), 0.8),), size, size)


def parsed(page: PageReading, image: ImageLike) -> ElementTree.Element:
    return ElementTree.fromstring(overlay_svg(page, image, DEFAULT_INK))


def test_a_box_and_a_label_each() -> None:
    root = parsed(page_of("4", "7", "1"), drawn_digit())
    assert [t.text for t in root.iter(f"{SVG}text")] == ["4", "7", "1"]
    rects = list(root.iter(f"{SVG}rect"))
    assert [rect.get("x") for rect in rects] == ["0", "20", "40"]
    assert {(rect.get("width"), rect.get("height")) for rect in rects} == {("18", "40")}
    assert [rect.get("stroke-dasharray") is None for rect in rects] == [True, False, True]
    assert (root.get("width"), root.get("viewBox")) == ("200", "0 0 200 200")


@pytest.mark.parametrize("label", ["<&>", "\"'", "]]>", "\x00\x1b", "\ud800", "字", "</svg>"])
def test_labels_are_escaped(label: str) -> None:
    root = parsed(page_of(label), drawn_digit())
    (text,) = root.iter(f"{SVG}text")
    assert text.text == re.sub("[\x00\x1b\ud800]", "\ufffd", label)


def embedded(embedded_image: ImageLike) -> Image.Image:
    (image,) = parsed(page_of("1"), embedded_image).iter(f"{SVG}image")
    kind, _, content = (image.get("href") or "").partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_the_image_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    Image.fromarray(drawn_digit()).save(path)
    for image in (path, path.read_bytes(), Image.open(path), drawn_digit()):
        assert np.array_equal(np.asarray(embedded(image)), drawn_digit())


def test_it_is_upright_and_any_mode_goes(tmp_path: Path) -> None:
    wide = Image.fromarray(drawn_digit()[:100])
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    wide.transpose(Image.Transpose.ROTATE_90).convert("CMYK").save(path, exif=exif)
    assert embedded(path).size == wide.size
    for mode in ("1", "P", "F", "I", "RGBA", "LAB"):
        assert (
            embedded(wide.convert("RGB" if mode == "LAB" else "L").convert(mode)).size == wide.size
        )


@pytest.mark.browser
def test_a_browser_shows_it(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        f"<!doctype html><title>overlay</title><body style='margin:0'>"
        f"{overlay_svg(page_of('4', '<b>'), drawn_digit(), DEFAULT_INK)}"
    )
    with opened(browser, path, 400, "light") as shown:
        assert shown.locator("svg text").all_text_contents() == ["4", "<b>"]
        box = shown.locator("svg rect").first.bounding_box()
        assert box is not None
        assert box["height"] == pytest.approx(40, abs=3)
