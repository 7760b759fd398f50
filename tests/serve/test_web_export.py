"""The exported page, in a real browser: it reads as Python does, and asks nobody."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from browsing import faults
from helpers import Outcome, drawn_digit, likeness, random_images
from penstroke.data.loading import load_dataset
from penstroke.errors import StorageError
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import InkSettings, Preprocessed, preprocess
from penstroke.serve.offline_export import export_web
from serve.strokes import DIGITS, placed
from serve.visiting import draw
from transparent import drawings, ink_of, sheets

pytestmark = [
    pytest.mark.mnist,
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here: it fetches the runtime"),
]
Pixels = npt.NDArray[np.uint8]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: a request each would be told."""


@pytest.fixture(scope="module")
def folder(mnist_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("page")
    export_web(mnist_runs / "mnist-fast", found)
    return found


@pytest.fixture(scope="module")
def page(folder: Path, browser: Browser) -> Iterator[Page]:
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    opened = browser.new_page(viewport={"width": 1100, "height": 800})
    troubles: list[str] = []
    opened.on("console", lambda message: troubles.append(message.text))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("requestfailed", lambda request: troubles.append(request.url))
    outside: list[str] = []
    opened.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:")) else outside.append(r.url),
    )
    opened.goto(address)
    expect(opened.locator("#model option")).to_have_count(1, timeout=60_000)
    yield opened
    assert troubles == []
    assert outside == []
    opened.close()
    server.shutdown()
    server.server_close()


def test_ten_digits_drawn_are_read(page: Page) -> None:
    canvas = page.locator("#canvas").bounding_box()
    assert canvas is not None
    read = {}
    for name, strokes in DIGITS.items():
        page.click("#clear", force=True)
        for stroke in placed(
            strokes, canvas["x"], canvas["y"], min(canvas["width"], canvas["height"])
        ):
            page.mouse.move(*stroke[0])
            page.mouse.down()
            for point in stroke[1:]:
                page.mouse.move(*point)
            page.mouse.up()
        expect(page.locator("#answer")).not_to_have_text("–")
        page.wait_for_timeout(250)
        read[name] = page.locator("#answer").inner_text()
    wrong = {name: answer for name, answer in read.items() if answer != name[0]}
    assert len(wrong) <= 1, wrong  # the network of seconds is not the best one


@pytest.mark.parametrize("width", [390, 1100])
def test_it_is_whole_and_legible(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert faults(page) == []


def test_what_needs_a_server_is_not_shown(page: Page) -> None:
    for place in ("nav", ".modes", ".corrections"):
        assert not page.locator(place).first.is_visible()
    draw(page, DIGITS["7"])
    bar = page.locator("#bars button").first
    expect(bar).to_be_disabled()
    expect(bar).to_have_accessible_name(re.compile(r"^\S+, (< )?[\d.]+ %$"))
    page.keyboard.press("7")
    expect(page.locator("#notice")).to_be_empty()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert "keep" not in page.locator("#help").inner_text()
    page.keyboard.press("Escape")


def images() -> dict[str, list[Image.Image]]:
    mnist = load_dataset("mnist").train.images[:40]
    light = np.linspace(0.4, 1, 300)
    return {
        "drawn": [Image.fromarray(drawn_digit(size)) for size in (24, 60, 200, 900)],
        "MNIST": [Image.fromarray(image) for image in mnist],
        "under a lamp": [
            Image.fromarray((drawn_digit(300) * light).astype(np.uint8)),
            Image.fromarray((drawn_digit(300) * light[:, None]).astype(np.uint8)),
        ],
        "clear": [
            Image.fromarray(np.dstack([np.zeros((200, 200, 3), np.uint8), 255 - drawn_digit()])),
            Image.fromarray(
                np.dstack([np.full((200, 200, 3), 255, np.uint8), 255 - drawn_digit()])
            ),
        ],
        **{
            f"transparent, {'dark' if dark else 'light'}": [
                image.convert("RGBA")
                for kind in (sheets, drawings)
                for image in kind(ink_of(mnist[0]), dark=dark).values()
            ]
            for dark in (True, False)
        },
        "colour": [
            Image.fromarray(np.dstack([drawn_digit(130), drawn_digit(130) // 2, drawn_digit(130)]))
        ],
        "blank": [Image.fromarray(np.full((50, 40), 200, np.uint8))],
        "side by side": [
            Image.fromarray(
                np.concatenate(
                    [np.pad(255 - image, 4, constant_values=255) for image in pair], axis=1
                )
            )
            for pair in (mnist[:2], mnist[2:5], mnist[[6, 6]])
        ],
    }


PREPROCESSED = """async ([files, settings]) => {
  const { preprocess } = await import(new URL("static/ink.js", location).href);
  const found = [];
  for (const file of files) {
    const blob = new Blob([Uint8Array.from(atob(file), (c) => c.charCodeAt(0))]);
    const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none" });
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const { pixels, characters } = preprocess(image, settings);
    found.push([characters, ...pixels]);
  }
  return found;
}"""


@pytest.mark.parametrize("settings", [InkSettings(), InkSettings(box_pixels=24, center="box")])
@pytest.mark.parametrize("kind", images())
def test_its_ink_is_that_of_python(page: Page, kind: str, settings: InkSettings) -> None:
    samples = images()[kind]
    files = [base64.b64encode(png(image)).decode() for image in samples]
    rows = np.array(page.evaluate(PREPROCESSED, [files, settings.to_dict()]))
    found = rows[:, 1:].reshape(-1, 28, 28)
    prepared = [preprocess(png(image), settings) for image in samples]
    wanted = np.stack([one.pixels for one in prepared])
    assert rows[:, 0].tolist() == [one.characters for one in prepared]
    if kind == "under a lamp":  # here the page has its threshold alone
        assert min(map(likeness, found, wanted)) > 0.7
        return
    # Sums in another order may round a grey level the other way.
    assert np.abs(found - wanted.astype(int)).max() <= 2
    assert (found == wanted).mean() > 0.99


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


ANSWERS = """async (images) => {
  const { open } = await import(new URL("static/recognizer.js", location).href);
  const model = await open();
  return Promise.all(images.map((pixels) => model.answer(Uint8Array.from(pixels))));
}"""


def test_its_answers_are_those_of_python(page: Page, mnist_runs: Path) -> None:
    images = load_dataset("mnist").train.images[:60]
    images = np.concatenate([images, random_images(20)])
    found: list[dict[str, Any]] = page.evaluate(ANSWERS, images.reshape(-1, 784).tolist())
    recognizer = Recognizer.load(mnist_runs / "mnist-fast")
    for answer, pixels in zip(found, images, strict=True):
        (wanted,) = recognizer.recognize_preprocessed([Preprocessed(pixels, is_blank=False)])
        assert (answer["status"], answer["label"]) == (wanted.status, wanted.label)
        assert answer["rejection_reason"] == wanted.rejection_reason
        assert answer["probabilities"] == pytest.approx(dict(wanted.probabilities), abs=1e-5)
        assert answer["ood_score"] == pytest.approx(wanted.ood_score, abs=1e-4)


def test_another_package_is_refused_and_nothing_written(mnist_runs: Path, tmp_path: Path) -> None:
    package = tmp_path / "other.tgz"
    package.write_bytes(b"something else")
    with pytest.raises(StorageError, match="its SHA-512 is another"):
        export_web(mnist_runs / "mnist-fast", tmp_path / "page", package)
    assert not (tmp_path / "page").exists()


def test_the_command(
    penstroke: Callable[..., Outcome],
    mnist_runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PENSTROKE_RUNS", str(mnist_runs))
    done = penstroke("export", "mnist-fast", "--to", "web", "-o", tmp_path / "page", "--json")
    told = json.loads(done.out)
    files = [path for path in (tmp_path / "page").rglob("*") if path.is_file()]
    assert told["size_bytes"] == sum(path.stat().st_size for path in files)
    assert (tmp_path / "page" / "index.html").exists()
