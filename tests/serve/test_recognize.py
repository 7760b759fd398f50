from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from helpers import drawn_digit
from penstroke.inference.recognizer import Recognizer
from serving import Running, ask, exchange, png

SEVEN = {"strokes": [[[60, 50], [140, 50, 0.5], [90, 160]]], "width": 200, "height": 200}


def test_the_answer_is_the_recognizers(client: TestClient, recognizer: Recognizer) -> None:
    image = png(drawn_digit())
    told = ask(client, image).json()
    expected = recognizer.recognize(image)
    assert (told["label"], told["status"]) == (expected.label, expected.status)
    assert told["probabilities"] == pytest.approx(dict(expected.probabilities), abs=1e-6)
    assert told["model"] == "small"
    assert told["occlusion_map"] is None
    assert told["elapsed_milliseconds"] > 0
    head, _, content = told["input_image"].partition(",")
    assert head == "data:image/png;base64"
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert np.array_equal(seen, expected.input_image)


def test_kinds_of_bodies_agree(client: TestClient) -> None:
    url = "/v1/recognize"
    image = png(drawn_digit())
    by_body = client.post(url, content=image, headers={"content-type": "image/png"}).json()
    by_form = client.post(url, files={"image": ("seven.png", image, "image/png")}).json()
    assert by_form["probabilities"] == by_body["probabilities"]
    jpeg = client.post(
        url, content=png(drawn_digit(), "JPEG"), headers={"content-type": "image/jpeg; q=1"}
    ).json()
    assert jpeg["probabilities"] == pytest.approx(by_body["probabilities"], abs=0.1)
    strokes = client.post(url, json=SEVEN).json()
    assert strokes["status"] in ("ok", "rejected")


def test_other_model_top_and_occlusion_map(client: TestClient) -> None:
    told = ask(client, png(drawn_digit()), model="letters", top=2, occlusion=1).json()
    assert told["model"] == "letters"
    assert len(told["probabilities"]) == 2
    assert set(told["probabilities"]) < set("abc")
    image = Image.open(io.BytesIO(base64.b64decode(told["occlusion_map"].partition(",")[2])))
    assert image.size == (28, 28)


def test_blank_paper(client: TestClient) -> None:
    told = ask(client, png(np.full((50, 50), 255, np.uint8)), occlusion=1).json()
    assert (told["status"], told["label"], told["probabilities"]) == ("empty", None, {})
    nothing = client.post("/v1/recognize", json={**SEVEN, "strokes": []}).json()
    assert nothing["status"] == "empty"


def test_lines(client: TestClient) -> None:
    page = np.hstack([drawn_digit(100), drawn_digit(100)])
    told = client.post("/v1/recognize/line", content=png(page),
        headers={"content-type": "image/png"},
    ).json()  # fmt: skip
    assert told["model"] == "small"
    assert len(told["lines"]) == 1
    drawn = client.post("/v1/recognize/line", json=SEVEN).json()
    assert "text" in drawn


def test_models_and_states(client: TestClient) -> None:
    models = client.get("/v1/models").json()["models"]
    assert [(m["name"], m["is_default"]) for m in models] == [("small", True), ("letters", False)]
    assert models[1]["classes"] == ["a", "b", "c"]
    assert models[0]["dataset"] == "d"
    for path in ("healthz", "readyz"):
        assert client.get(f"/{path}").status_code == 200


def test_metrics(client: TestClient) -> None:
    ask(client, png(drawn_digit()))
    text = client.get("/metrics").text
    assert 'penstroke_requests_total{route="/v1/recognize",status="200"}' in text
    assert 'penstroke_request_seconds_bucket{le="0.05",route="/v1/recognize"}' in text
    assert "penstroke_batch_images_count" in text
    assert "penstroke_queue_characters 0.0" in text
    assert 'penstroke_model_info{classes="10",name="small"' in text
    client.get("/nothing-like-it")
    assert "nothing-like-it" not in client.get("/metrics").text


def test_every_answer_is_strict(client: TestClient) -> None:
    for path in ("/", "/docs", "/nothing", "/v1/models", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_docs_are_a_page_of_our_own(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "POST /v1/recognize" in page
    assert "<script" not in page
    assert "http" not in page
    assert client.get("/static/docs.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("name", ["..%2fapp.py", "%2fetc%2fpasswd", "..", "../app.py", "", "a%00"])
def test_files_that_are_none_of_the_pages(running: Running, name: str) -> None:
    request = f"GET /static/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert exchange(running, request.encode()).startswith(b"HTTP/1.1 404 ")


BAD = [
    ("image/png", b"", 422, "bad_image"),
    ("image/png", b"no image", 422, "bad_image"),
    ("image/png", png(drawn_digit())[:-200], 422, "bad_image"),
    ("image/png", png(np.zeros((2001, 2000), np.uint8)), 422, "megapixels"),
    ("image/png", png(drawn_digit(), "GIF"), 422, "not an image that can be read"),
    ("text/plain", b"7", 415, "text/plain"),
    ("", b"7", 415, "(none)"),
    ("application/json", b"{", 400, "bad_json"),
    ("application/json", b"[" * 100_000, 400, "bad_json"),
    ("application/json", b'{"strokes": NaN}', 400, "bad_json"),
    ("application/json", b"[]", 422, "valid dictionary"),
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
    ("multipart/form-data; boundary=x", b"--x--\r\n", 422, "image: the form has 0"),
    ("multipart/form-data; boundary=x", b"nonsense", 400, "bad_form"),
    ("multipart/form-data", b"--x", 400, "bad_form"),
]


@pytest.mark.parametrize(("kind", "body", "status", "said"), BAD)
def test_what_is_refused(
    client: TestClient, kind: str, body: bytes, status: int, said: str
) -> None:
    found = client.post("/v1/recognize", content=body, headers={"content-type": kind})
    assert found.status_code == status, found.text
    assert set(found.json()["error"]) == {"code", "message"}
    assert said in found.text


def test_unknown_names_are_told_what_there_is(client: TestClient) -> None:
    found = ask(client, b"", model="smal")
    assert found.status_code == 404
    assert 'did you mean "small"' in found.json()["error"]["message"]
    assert ask(client, b"", top=0).status_code == 422
    assert client.get("/v1/recognize").status_code == 405
    assert client.get("/nothing").json()["error"]["code"] == "not_found"
