from __future__ import annotations

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from helpers import drawn_digit
from penstroke.inference.recognizer import Recognizer
from serving import Running, ask, exchange, png

SEVEN = {"strokes": [[[60, 50], [140, 50, 0.5], [90, 160]]], "width": 200, "height": 200}


def test_the_answer_is_the_recognizers(running: Running, recognizer: Recognizer) -> None:
    image = png(drawn_digit())
    told = ask(running, image).json()
    expected = recognizer.recognize(image)
    assert (told["label"], told["status"]) == (expected.label, expected.status)
    assert told["probabilities"] == pytest.approx(dict(expected.probabilities), abs=1e-6)
    assert told["model"] == "small"
    assert told["attention"] is None
    assert told["elapsed_milliseconds"] > 0
    head, _, content = told["input_image"].partition(",")
    assert head == "data:image/png;base64"
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert np.array_equal(seen, expected.input_image)


def test_kinds_of_bodies_agree(running: Running) -> None:
    url = f"{running.url}/v1/recognize"
    image = png(drawn_digit())
    by_body = httpx.post(url, content=image, headers={"content-type": "image/png"}).json()
    by_form = httpx.post(url, files={"image": ("seven.png", image, "image/png")}).json()
    assert by_form["probabilities"] == by_body["probabilities"]
    jpeg = httpx.post(
        url, content=png(drawn_digit(), "JPEG"), headers={"content-type": "image/jpeg; q=1"}
    ).json()
    assert jpeg["probabilities"] == pytest.approx(by_body["probabilities"], abs=0.1)
    strokes = httpx.post(url, json=SEVEN).json()
    assert strokes["status"] in ("ok", "rejected")


def test_other_model_top_and_explanation(running: Running) -> None:
    told = ask(running, png(drawn_digit()), model="letters", top=2, explain=1).json()
    assert told["model"] == "letters"
    assert len(told["probabilities"]) == 2
    assert set(told["probabilities"]) < set("abc")
    image = Image.open(io.BytesIO(base64.b64decode(told["attention"].partition(",")[2])))
    assert image.size == (28, 28)


def test_blank_paper(running: Running) -> None:
    told = ask(running, png(np.full((50, 50), 255, np.uint8)), explain=1).json()
    assert (told["status"], told["label"], told["probabilities"]) == ("empty", None, {})
    nothing = httpx.post(f"{running.url}/v1/recognize", json={**SEVEN, "strokes": []}).json()
    assert nothing["status"] == "empty"


def test_lines(running: Running) -> None:
    page = np.hstack([drawn_digit(100), drawn_digit(100)])
    told = httpx.post(
        f"{running.url}/v1/recognize/line", content=png(page),
        headers={"content-type": "image/png"}, timeout=20,
    ).json()  # fmt: skip
    assert told["model"] == "small"
    assert len(told["lines"]) == 1
    drawn = httpx.post(f"{running.url}/v1/recognize/line", json=SEVEN, timeout=20).json()
    assert "text" in drawn


def test_models_and_states(running: Running) -> None:
    models = httpx.get(f"{running.url}/v1/models").json()["models"]
    assert [(m["name"], m["is_default"]) for m in models] == [("small", True), ("letters", False)]
    assert models[1]["classes"] == ["a", "b", "c"]
    assert models[0]["dataset"] == "d"
    for path in ("healthz", "readyz"):
        assert httpx.get(f"{running.url}/{path}").status_code == 200


def test_metrics(running: Running) -> None:
    ask(running, png(drawn_digit()))
    text = httpx.get(f"{running.url}/metrics").text
    assert 'penstroke_requests_total{route="/v1/recognize",status="200"}' in text
    assert 'penstroke_request_seconds_bucket{le="0.05",route="/v1/recognize"}' in text
    assert "penstroke_batch_images_count" in text
    assert "penstroke_queue_characters 0.0" in text
    assert 'penstroke_model_info{classes="10",name="small"' in text
    httpx.get(f"{running.url}/nothing-like-it")
    assert "nothing-like-it" not in httpx.get(f"{running.url}/metrics").text


def test_every_answer_is_strict(running: Running) -> None:
    for path in ("/", "/docs", "/nothing", "/v1/models", "/healthz"):
        headers = httpx.get(f"{running.url}{path}").headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_docs_are_a_page_of_our_own(running: Running) -> None:
    page = httpx.get(f"{running.url}/docs").text
    assert "POST /v1/recognize" in page
    assert "<script" not in page
    assert "http" not in page.replace("No HTTP", "")
    assert (
        httpx.get(f"{running.url}/static/docs.css").headers["content-type"].startswith("text/css")
    )


@pytest.mark.parametrize("name", ["..%2fapp.py", "%2fetc%2fpasswd", "..", "../app.py", "", "a%00"])
def test_files_that_are_none_of_the_pages(running: Running, name: str) -> None:
    request = f"GET /static/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert exchange(running, request.encode()).startswith(b"HTTP/1.1 404 ")


BAD = [
    ("image/png", b"", 422, "bad_image"),
    ("image/png", b"no image", 422, "bad_image"),
    ("image/png", png(drawn_digit())[:-200], 422, "bad_image"),
    ("image/png", png(np.zeros((2001, 2000), np.uint8)), 422, "megapixels"),
    ("image/png", png(drawn_digit(), "GIF"), 422, "neither a PNG nor a JPEG"),
    ("text/plain", b"7", 415, "text/plain"),
    ("", b"7", 415, "none"),
    ("application/json", b"{", 400, "bad_json"),
    ("application/json", b"[" * 100_000, 400, "bad_json"),
    ("application/json", b'{"strokes": NaN}', 400, "bad_json"),
    ("application/json", b"[]", 422, "not an object"),
    ("application/json", b"{}", 422, "strokes"),
    ("application/json", b'{"strokes": [[[1, "a"]]], "width": 9, "height": 9}', 422, "strokes.0.0"),
    ("application/json", b'{"strokes": [[[1, 1e999]]], "width": 9, "height": 9}', 422, "strokes"),
    ("application/json", b'{"strokes": [], "width": 0, "height": 9}', 422, "width"),
    ("application/json", b'{"strokes": [], "width": 9, "height": 5000}', 422, "height"),
    ("application/json", b'{"strokes": [], "width": 9, "height": 9, "x": 1}', 422, "x: unknown"),
    (
        "application/json",
        b'{"width": 9, "height": 9, "strokes": [[' + b",".join([b"[1,2]"] * 10_001) + b"]]}",
        422,
        "strokes",
    ),
    ("multipart/form-data; boundary=x", b"--x--\r\n", 422, "image: 0 files"),
    ("multipart/form-data; boundary=x", b"nonsense", 400, "bad_form"),
    ("multipart/form-data", b"--x", 400, "bad_form"),
]


@pytest.mark.parametrize(("kind", "body", "status", "said"), BAD)
def test_what_is_refused(running: Running, kind: str, body: bytes, status: int, said: str) -> None:
    found = httpx.post(f"{running.url}/v1/recognize", content=body, headers={"content-type": kind})
    assert found.status_code == status, found.text
    assert set(found.json()["error"]) == {"code", "message"}
    assert said in found.text


def test_unknown_names_are_told_what_there_is(running: Running) -> None:
    found = ask(running, b"", model="smal")
    assert found.status_code == 404
    assert 'did you mean "small"' in found.json()["error"]["message"]
    assert ask(running, b"", top=0).status_code == 422
    assert httpx.get(f"{running.url}/v1/recognize").status_code == 405
    assert httpx.get(f"{running.url}/nothing").json()["error"]["code"] == "not_found"
